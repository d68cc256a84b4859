# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""recipe/preflight/samples.py: samples are read, faults named, lost objects counted."""

from collections import Counter
from types import SimpleNamespace

import image_files
import pytest
from mmcv.transforms import LoadImageFromFile

from mmconvnext.recipe.preflight.samples import (
    CERTAIN,
    MORE,
    Samples,
    check_batches,
    check_samples,
    read_samples,
)

from .conftest import image

TRAIN, VAL = 'train_dataloader', 'val_dataloader'


class Crop:
    """Loses all objects of the images whose number is listed."""

    def __init__(self, lost):
        self.lost = lost

    def __call__(self, results):
        if int(results['img_path'][:-4]) in self.lost:
            results['gt_ignore_flags'][:] = True
        return results


def texts(found, **options):
    return [(finding.check, finding.text) for finding in check_samples(found, **options)]


def test_what_is_read_is_spread_over_the_data(dataset):
    seen = []

    class Note:
        def __call__(self, results):
            seen.append(results['img_path'])
            return results

        def __deepcopy__(self, memo):
            return self

    found = read_samples(dataset([image(i) for i in range(60)], Note()), TRAIN, count=4)
    assert seen == ['0.png', '15.png', '30.png', '45.png']
    assert (found.name, found.read, found.listed, found.objects) == ('train', 4, 8, 8)
    assert (found.low, found.high, found.channels, found.fault) == (200, 200, 3, '')
    assert texts(found) == []


def test_samples_that_may_fail(dataset):
    """Of a run to resume, which puts others in their place."""

    class Fail:
        def __call__(self, results):
            if results['img_path'] in ('0.png', '3.png'):
                raise ValueError('x')
            return results

    def rows():
        return [image(i) for i in range(9)]

    found = read_samples(dataset(rows(), Fail()), TRAIN, count=9, skips=True)
    assert (found.read, found.fault) == (7, '')
    assert '0.png' in read_samples(dataset(rows(), Fail()), TRAIN, count=9).fault


def test_all_of_a_small_dataset_once(dataset):
    assert read_samples(dataset([image(i) for i in range(3)]), TRAIN, count=8).read == 3


def test_time_ends_it_after_one_sample_at_least(dataset):
    assert read_samples(dataset([image(i) for i in range(9)]), TRAIN, seconds=0).read == 1


def test_a_fault_names_sample_file_and_transform(dataset):
    class Resize:
        def transform(self, results):
            raise ValueError(f'cannot\nresize {results["img_path"]}')

    class Choose:
        def transform(self, results):
            return Resize().transform(results)

        def __call__(self, results):
            return self.transform(results)

    found = read_samples(dataset([image(3)], Choose()), VAL)
    ((check, text),) = texts(found)
    assert check == 'samples' and text == (
        'val_dataloader: sample 0 (3.png) fails in Choose (Resize): ValueError: cannot resize 3.png'
    )


def test_mmcv_does_not_say_why_an_image_is_not_loaded(dataset, tmp_path):
    file = image_files.write(tmp_path / '3.png', image_files.png_of(bytes(50)))
    found = read_samples(dataset([dict(image(3), img_path=str(file))], LoadImageFromFile()), TRAIN)
    assert f'AssertionError: failed to load image: {file}: broken data stream' in found.fault


def test_a_fault_outside_of_the_transforms():
    class Broken(list):
        def __getitem__(self, index):
            raise KeyError('image')

    found = read_samples(Broken([1]), TRAIN)
    assert found.fault == "sample 0 fails in the dataset: KeyError: 'image'"


def test_a_pipeline_that_discards_everything(dataset):
    class Filter:
        def __call__(self, results):
            return None

    found = read_samples(dataset([image(i) for i in range(5)], Filter()), TRAIN)
    ((check, text),) = texts(found)
    assert check == 'samples' and 'Filter discards every sample: of the last 20 none' in text


def test_all_objects_lost_is_refused_once_more_were_read(dataset):
    images = [image(i, objects=3) for i in range(40)]
    found = read_samples(dataset(images, Crop(range(40))), TRAIN, count=2)
    assert (found.read, found.listed, found.objects) == (2 * MORE, 6 * MORE, 0)
    ((check, text),) = texts(found)
    assert check == 'samples'
    assert text.endswith('0 of 18 instances in 6 samples is usable after the pipeline: Crop loses '
                         'the last ones; correct it, or look at the annotations')  # fmt: skip


def test_chance_is_no_refusal(dataset):
    """Only the first samples lose theirs; and few objects may all be lost by chance."""
    images = [image(i, objects=2) for i in range(6)]
    found = read_samples(dataset(images, Crop([0, 3])), TRAIN, count=2)
    assert found.read == 3 and found.objects == 2
    found = Samples(TRAIN, read=9, listed=CERTAIN - 1, objects=0, emptied=9)
    ((check, text),) = texts(found)
    assert check == '' and f'0 of {CERTAIN - 1} instances' in text
    found.listed = CERTAIN
    assert texts(found)[0][0] == 'samples'


def test_masks_that_need_another_setting():
    found = Samples(TRAIN, read=8, listed=27, objects=0, emptied=8)
    found.lost_by = Counter(LoadAnnotations=8)
    ((_, text),) = texts(found, poly2mask=False)
    assert '0 of 27 instances in 8 samples is usable' in text
    assert text.endswith('RLE masks need poly2mask=True in LoadAnnotations')
    ((_, text),) = texts(found)
    assert 'poly2mask' not in text and 'LoadAnnotations loses' in text


def test_images_without_objects_are_no_fault(dataset):
    found = read_samples(dataset([image(i, objects=0, crowds=1) for i in range(4)]), TRAIN)
    assert (found.listed, found.objects, found.emptied) == (0, 0, 0) and texts(found) == []


@pytest.mark.parametrize(('lost', 'warned'), [(4, False), (5, True)])
def test_many_samples_left_without_an_object(dataset, lost, warned):
    found = read_samples(dataset([image(i) for i in range(8)], Crop(range(lost))), TRAIN)
    assert (found.read, found.emptied) == (8, lost)
    expected = f'leave {lost} of 8 samples without an object to learn (Crop)'
    assert [check for check, text in texts(found) if expected in text] == [''] * warned


def test_validation_may_have_none():
    assert texts(Samples(VAL, read=1, listed=30, objects=0, emptied=1)) == []


def test_labels_that_are_all_ignored():
    found = Samples(TRAIN, read=8, objects=0, emptied=8, lost_by=Counter(RandomCrop=8))
    ((check, text),) = texts(found)
    assert check == 'samples' and 'no labelled pixel in 8 samples is usable' in text


class Loader:
    def __init__(self, images, batches):
        self.dataset, self.batches = [0] * images, batches

    def __len__(self):
        return self.batches


def test_a_loader_without_a_batch():
    ((text, check),) = check_batches(Loader(3, 0))
    assert check == 'samples' and 'gives no batch: it has 3 images' in text
    assert list(check_batches(Loader(3, 1))) == []


def test_samples_of_no_known_kind(dataset):
    found = read_samples([SimpleNamespace(), dict(inputs=[1])], TRAIN)
    assert (found.read, found.objects, found.low) == (2, None, float('inf')) and not texts(found)
