# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""inference/model.py: from images of any kind to results, in batches, in tiles, with errors."""

import threading

import numpy as np
import pytest
import torch

from mmconvnext.inference.result import Result


def bright(height=30, width=40, box=(8, 6, 20, 16)) -> np.ndarray:
    image = np.full((height, width, 3), 20, np.uint8)
    image[box[1] : box[3], box[0] : box[2]] = 250
    return image


def test_one_image_gives_a_result(model_of, photo):
    model = model_of()
    for image in (photo, str(photo), bright()):
        result = model(image)
        assert isinstance(result, Result) and result.boxes.tolist() == [[8, 6, 20, 16]]
        assert result.names == ['dog'] and result.masks[0].sum() == 120
        assert (result.image == bright()).all() and (result.height, result.width) == (30, 40)
    assert model(photo).path == str(photo) and model(bright()).path == ''


def test_a_list_gives_a_list_whose_images_are_loaded_when_they_are_drawn(model_of, photo):
    results = model_of()([photo, bright(), str(photo)], batch=2)
    assert [len(result) for result in results] == [1, 1, 1]
    assert callable(results[0]._image) and not callable(results[1]._image)
    assert (results[0].image == bright()).all()
    assert results[0].draw().size == results[1].draw().size
    assert model_of()([]) == []


def test_no_object_and_objects_below_the_score(model_of):
    assert len(model_of()(np.zeros((5, 6, 3), np.uint8))) == 0
    assert len(model_of(score=0.75)(bright())) == 1 and len(model_of(score=0.76)(bright())) == 0


def test_a_label_map(model_of):
    result = model_of('map')(bright())
    assert result.label_map.shape == (30, 40) and result.counts == dict(cat=1080, dog=120)


def test_a_generator_takes_no_more_than_it_needs(model_of):
    taken = []

    def images():
        for i in range(100):
            taken.append(i)
            yield bright()

    results = model_of().predict(images(), batch=2)
    assert len(next(results)) == 1 and len(taken) <= 6
    results.close()


def test_only_images_with_the_same_padding_share_a_batch(model_of):
    model = model_of()
    images = [bright(30, 40), bright(32, 33), bright(30, 48), bright(25, 40)]
    assert [result.height for result in model(images, batch=4)] == [30, 32, 30, 25]
    shapes = sorted(model.net.batches)
    assert shapes == [[(3, 30, 40), (3, 32, 33), (3, 25, 40)], [(3, 30, 48)]]
    segmentor = model_of('map')  # mmseg pads nothing
    segmentor(images[:2], batch=2)
    assert sorted(segmentor.net.batches) == [[(3, 30, 40)], [(3, 32, 33)]]


def test_a_bad_image_raises_or_is_a_result_of_its_own(model_of, photo, tmp_path):
    images = [photo, tmp_path / 'none.jpg', photo]
    with pytest.raises(ValueError, match=r'none\.jpg: there is no such file'):
        model_of()(images, batch=3)
    attempts = [*model_of().attempts(images, batch=3)]
    assert [image for image, _, _ in attempts] == images
    assert [type(result) for _, result, _ in attempts] == [Result, ValueError, Result]


def test_an_image_that_the_model_cannot_take_does_not_harm_its_batch(model_of, monkeypatch):
    model = model_of()
    step = model.net.test_step

    def fail(data):
        if any(image.float().max() < 100 for image in data['inputs']):
            raise torch.cuda.OutOfMemoryError('CUDA out of memory')
        return step(data)

    monkeypatch.setattr(model.net, 'test_step', fail)
    dark = np.zeros((30, 40, 3), np.uint8)
    found = [result for _, result, _ in model.attempts([bright(), dark, bright()], 3)]
    assert [isinstance(one, Result) for one in found] == [True, False, True]


LARGE = bright(200, 300, (60, 40, 170, 110))


def test_tiles_find_an_object_that_they_cut(model_of):
    model = model_of(tiles=64)
    result = model(LARGE)
    assert result.boxes.tolist() == [[60, 40, 170, 110]] and result.masks.sum() == 110 * 70
    assert len(model.net.batches) == 6 * 4  # of 64 pixels, each 48 further or less
    assert (model_of('map', tiles=64)(LARGE).label_map == (LARGE[..., 0] > 200)).all()


def test_auto_cuts_only_images_that_would_be_shrunk_to_less_than_half(model_of, monkeypatch):
    for factor, tiles in ((0.5, 1), (0.49, 24)):
        model = model_of(tiles=64, large_only=True)
        pack = model.pipeline.pack

        def shrinking(loaded, tile=None, pack=pack, factor=factor):
            data = pack(loaded, tile)
            data['data_samples'].set_metainfo(dict(scale_factor=(1, 1) if tile else (1, factor)))
            return data

        monkeypatch.setattr(model.pipeline, 'pack', shrinking)
        ((_, result, shrunk),) = model.attempts([LARGE])
        assert result.boxes.tolist() == [[60, 40, 170, 110]]
        assert len(model.net.batches) == tiles and shrunk == (2 if tiles == 1 else 1)


def test_the_palette_or_distinct_colours(model_of):
    assert model_of(palette=[(1, 2, 3)] * 3).colours == [(1, 2, 3)] * 3
    assert len(set(model_of().colours)) == 3


def test_a_threshold_for_one_call(model_of):
    model = model_of(score=0.5)  # the net's objects have 0.75
    assert [len(model(bright(), score=s)) for s in (None, 0.5, np.float32(0.75), 0.76)] == [
        1, 1, 1, 0,
    ]  # fmt: skip
    assert [len(one) for one in model([bright()] * 2, score=0.8)] == [0, 0]
    with pytest.raises(ValueError, match=r'score=0\.4: .* below 0\.5.*load\(\.\.\., score=0\.4\)'):
        model(bright(), score=0.4)
    for score in ('0.5', float('nan'), 2):
        with pytest.raises(ValueError, match='score=.*: choose a number from 0 to 1'):
            model(bright(), score=score)


def test_what_draws_random_numbers_does_not_run_beside_the_caller(model_of, monkeypatch):
    for drawing in (False, True):
        model, threads = model_of(), []
        model.pipeline.random, load = drawing, model.pipeline.load

        def noting(image, load=load, threads=threads):
            threads.append(threading.current_thread())
            return load(image)

        monkeypatch.setattr(model.pipeline, 'load', noting)
        attempts = [*model.attempts([bright(), 'none.jpg'], 2)]
        assert [isinstance(found, Result) for _, found, _ in attempts] == [True, False]
        assert [one is threading.current_thread() for one in threads] == [drawing] * 2


@pytest.mark.parametrize('images', ['photo.jpg', bright(), torch.zeros(3, 4, 5), None, 7, b'a'])
def test_one_image_is_no_list(model_of, images):
    with pytest.raises(ValueError, match=r'give a list of images; for one .* model\(image\)'):
        next(model_of().predict(images))


def test_arrays_of_several_images_can_be_walked_through(model_of, photo):
    several = np.stack([bright(), bright()])
    assert [len(result) for result in model_of().predict(several)] == [1, 1]
    assert [len(result) for result in model_of().predict(np.array([str(photo)]))] == [1]


@pytest.mark.parametrize('batch', [np.int64(2), np.uint8(1)])
def test_a_batch_may_be_a_number_of_numpy(model_of, batch):
    assert len(model_of()([bright()] * 3, batch=batch)) == 3


@pytest.mark.parametrize('batch', [0, -1, 2.0, True, '2'])
def test_a_batch_of_no_images_is_refused(model_of, batch):
    with pytest.raises(ValueError, match='batch=.*: choose a whole number from 1 on'):
        model_of()([bright()], batch=batch)


def test_arrays_in_the_other_order_are_refused(model_of):
    for image in (bright().transpose(2, 0, 1), torch.from_numpy(bright())):
        with pytest.raises(ValueError, match='an array of .* channels .* as height, width'):
            model_of()(image)
