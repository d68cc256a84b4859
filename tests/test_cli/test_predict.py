# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""cli/predict.py: predictions are those of tools/test.py, drawn and written."""

import json
import pickle
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from mmengine.config import Config
from PIL import Image

from mmconvnext.cli import test as tested
from mmconvnext.cli.predict import _values, main
from mmconvnext.inference import coco_files
from mmconvnext.inference.outputs import Outputs
from mmconvnext.inference.records import Records
from mmconvnext.recipe.errors import RecipeError


def predict(*argv) -> None:
    main([*map(str, argv), '--out', 'out', '--device', 'cpu'])


def evaluate(run, out):
    tested.main(
        [run.config, run.checkpoint, '--toy', '--work-dir', 'tested', '--out', out, '--cfg-options']
        + list(run.options)
    )


def test_a_detector_finds_what_tools_test_finds(detector_run, workplace, toy_root, capsys):
    images = toy_root / 'coco/val2017'
    truth = toy_root / 'coco/annotations/instances_val2017.json'
    score = '0.01'
    predict(detector_run.work_dir, images, '--json', '--score', score, '--ids-of', truth)
    said = capsys.readouterr().out
    number = len([*images.iterdir()])
    assert f'{number} images; ' in said and 'written: out/pictures, out/predictions.json' in said
    assert len([*Path('out/pictures').iterdir()]) == number
    evaluate(detector_run, 'out.pkl')
    with open('out.pkl', 'rb') as file:
        expected = {Path(one['img_path']).name: one for one in pickle.load(file)}
    rows = json.loads(Path('out/predictions.json').read_text())
    ids = {one['file_name']: one['id'] for one in json.loads(truth.read_text())['images']}
    categories = [one['id'] for one in json.loads(truth.read_text())['categories']]
    assert rows
    for name, one in expected.items():
        found = one['pred_instances']
        kept = found['scores'] >= float(score)
        ours = [row for row in rows if row['image_id'] == ids[name]]
        scores = [row['score'] for row in ours]
        assert scores == pytest.approx(sorted(found['scores'][kept].tolist())[::-1], abs=1e-5)
        for row, i in zip(ours, found['scores'].argsort(descending=True, stable=True)):
            x, y, w, h = row['bbox']
            assert [x, y, x + w, y + h] == pytest.approx(found['bboxes'][i].tolist(), abs=0.02)
            assert row['category_id'] == categories[found['labels'][i]]


def test_a_segmentors_label_maps_are_those_of_tools_test(
    segmentor_run, workplace, toy_root, capsys
):
    images = toy_root / 'ade/images/validation'
    predict(segmentor_run.work_dir, images, '--label-pngs', '--no-pictures')
    told = 'values in the label maps: 1 background, 2 disc, 3 square, 4 triangle, 5 star; all in '
    assert f'{told}out/labels/labels.csv\n' in capsys.readouterr().out
    evaluate(segmentor_run, 'maps')
    names = sorted(path.name for path in Path('maps').glob('*.png'))
    assert names == sorted(path.name for path in Path('out/labels').glob('*.png')) and names
    for name in names:
        ours, theirs = (np.asarray(Image.open(Path(f, name))) for f in ('out/labels', 'maps'))
        assert (ours == theirs).mean() > 0.999
    assert Path('out/labels/labels.csv').read_text().startswith('value,class')
    assert not Path('out/pictures').exists()


@pytest.mark.parametrize(
    ('count', 'ending'), [(5, '3 c, 4 d, 5 e; all in'), (7, '4 d, 5 e, and 2 more; all in')]
)
def test_values_of_many_classes_are_cut(count, ending):
    own_data = dict(ids=[*range(1, count + 1)])
    model = SimpleNamespace(cfg=Config(dict(own_data=own_data)), classes='abcdefg'[:count])
    assert f'{ending} x/labels/labels.csv' in _values(model, Path('x'))


@pytest.fixture
def here(workplace, toy_root):
    """Two of the toy images and a broken one, in the working folder."""
    Path('in').mkdir()
    for file in sorted((toy_root / 'coco/val2017').iterdir())[:2]:
        shutil.copy(file, 'in')
    Path('in/broken.png').write_bytes(b'')


def test_bad_files_are_listed_and_retried(detector_run, here, capsys):
    for _ in range(2):
        with pytest.raises(SystemExit) as end:
            predict(detector_run.work_dir, 'in', '--json')
        assert end.value.code == 1
        said = capsys.readouterr().out
        assert '2 images, 1 bad file' in said and 'broken.png: it is empty' in said
        assert Path('out/bad_files.txt').read_text().endswith('broken.png: it is empty\n')
    assert ', 2 of them from an earlier start' in said
    Path('in/broken.png').unlink()
    predict(detector_run.work_dir, 'in', '--json')
    assert not Path('out/bad_files.txt').exists()
    with pytest.raises(RecipeError, match=r'score: 0\.3 there, 0\.4 here'):
        predict(detector_run.work_dir, 'in', '--json', '--score', '0.4')


def test_outlines_are_another_setting(detector_run, here):
    Path('in/broken.png').unlink()
    command = (detector_run.work_dir, 'in', '--score', '0.05')
    predict(*command)
    with pytest.raises(RecipeError, match='outline: False there, True here'):
        predict(*command, '--outline')
    main([*map(str, command), '--out', 'lines', '--device', 'cpu', '--outline'])
    for file in Path('out/pictures').iterdir():
        assert file.read_bytes() != Path('lines/pictures', file.name).read_bytes()


def test_nothing_is_lost_by_interruptions(detector_run, here, toy_root, monkeypatch, capsys):
    Path('in/broken.png').unlink()
    for number, file in enumerate(sorted((toy_root / 'coco/val2017').iterdir())[:2]):
        shutil.copy(file, f'in/more_{number}.jpg')
    command = (detector_run.work_dir, 'in', '--json', '--crops', '--score', '0.05')
    main([*map(str, command), '--out', 'whole', '--device', 'cpu'])

    def interrupted(owner, name, at):
        """Stop at the call of a method with this number, when its work is half done."""
        method, calls = getattr(owner, name), []

        def stop(*args, **kwargs):
            calls.append(args)
            if len(calls) == at:
                raise KeyboardInterrupt
            return method(*args, **kwargs)

        with monkeypatch.context() as patch:
            patch.setattr(owner, name, stop)
            with pytest.raises(SystemExit, match='130'):
                predict(*command)
        assert 'stopped; the same command continues' in capsys.readouterr().err
        assert not [*Path('out').rglob('*.part')]

    interrupted(Outputs, '_crop', 2)  # a picture is there, its crops are not
    interrupted(Image.Image, 'save', 2)
    interrupted(Records, 'add', 1)  # all is written, but not noted
    interrupted(coco_files, '_write_list', 2)
    predict(*command)
    assert ' from an earlier start' in capsys.readouterr().out
    for file in Path('whole').rglob('*'):
        other = Path('out', file.relative_to('whole'))
        if file.is_file() and file.name != 'records.jsonl':
            assert other.read_bytes() == file.read_bytes()
    assert len([*Path('out').rglob('*')]) == len([*Path('whole').rglob('*')])


def test_an_interruption_says_how_to_continue(detector_run, here, monkeypatch, capsys):
    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr('mmconvnext.inference.run.Run.images', stop)
        with pytest.raises(SystemExit) as end:
            predict(detector_run.work_dir, 'in')
    assert end.value.code == 130
    assert 'stopped; the same command continues' in capsys.readouterr().err


def test_a_full_disk_is_an_error_that_says_how_to_continue(detector_run, here, monkeypatch):
    def full(*_):
        raise OSError(28, 'No space left on device', 'out/pictures/x.png')

    for place in ('outputs.Outputs.write', 'coco_files._write_list'):
        with monkeypatch.context() as patch:
            patch.setattr(f'mmconvnext.inference.{place}', full)
            with pytest.raises(RecipeError, match=r'x\.png cannot be written: No space.*same comm'):
                predict(detector_run.work_dir, 'in', '--json')


@pytest.mark.parametrize(
    ('argv', 'fault'),
    [
        (['.'], 'give CONFIG CHECKPOINT INPUT..., or WORK_DIR INPUT'),
        (['a.py', 'x.pth'], 'give CONFIG CHECKPOINT INPUT'),
        (['.', 'in', '--no-pictures'], '--no-pictures: nothing would be written'),
        (['.', 'none'], "there is no 'none'; an input is"),
        (['.', 'a' * 5000], "there is no 'aaa.*aaa'; an input is"),
        (['.', 'camera:999999999999'], 'give the number of the camera, 0 to 99'),
        (['a' * 5000, 'x.pth', 'in'], 'neither a file nor the name of published weights'),
        (['', 'x.pth', 'in'], "config='': give a config file, the folder of a run"),
        (['~nobody-of-this-name', 'in'], 'give CONFIG CHECKPOINT INPUT'),
        (['.', 'in'], 'holds no config'),
        (['a.py', 'x.pth', 'in', '--score', '2'], r'score=2\.0: choose'),
    ],
)
def test_mistakes_are_told_before_anything_is_loaded(here, argv, fault):
    with pytest.raises(ValueError, match=fault):
        predict(*argv)
    assert not Path('out').exists()


def test_outputs_that_a_model_cannot_give_are_refused(detector_run, segmentor_run, here):
    with pytest.raises(RecipeError, match='--json: this model predicts no objects; label maps are'):
        predict(segmentor_run.work_dir, 'in', '--json')
    with pytest.raises(RecipeError, match='--label-pngs: this model predicts no label maps'):
        predict(detector_run.work_dir, 'in', '--label-pngs')
    assert not Path('out').exists()
