# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""cli/analyze.py: the figures are those that the run logs; what cannot be looked at is refused."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from fixtures import MASK_RCNN, ROOT, UPERNET, write_image
from mmengine.config import Config
from PIL import Image

from mmconvnext.cli import analyze as module
from mmconvnext.cli.analyze import main, reader
from mmconvnext.recipe.errors import RecipeError


def analyze(run, *argv):
    flags = ['--toy', '--out', 'out', '--worst', '2', *argv, '--cfg-options', *run.options]
    return main([run.config, run.checkpoint, *flags])


@pytest.fixture
def blank(monkeypatch):
    """Charts that are not drawn; they have tests of their own."""
    for page in (module.objects_page, module.label_maps_page):
        picture = np.zeros((2, 3, 3), np.uint8)
        monkeypatch.setattr(page, 'chart_picture', lambda figure, picture=picture: picture)


def test_a_detector(detector_run, workplace, toy_root, blank, capsys):
    file = analyze(detector_run, '--score', '0.1')
    assert file == Path('out/index.html') and file.is_file()
    content = json.loads(Path('out/analysis.json').read_text(encoding='utf-8'))
    logged = detector_run.runner.message_hub
    for kind in ('bbox', 'segm'):
        value = logged.get_scalar(f'val/coco/{kind}_mAP').current()
        assert (content['metrics'][kind]['AP'] or 0) == pytest.approx(value, abs=6e-4)
    images = {Path(image['file']).name for image in content['images']}
    assert images == {path.name for path in (toy_root / 'coco/val2017').iterdir()}
    truth = json.loads((toy_root / 'coco/annotations/instances_val2017.json').read_text())
    objects = [one for one in truth['annotations'] if not one['iscrowd']]
    assert sum(row['objects'] for row in content['classes']) == len(objects)
    assert content['score'] == 0.1
    out = capsys.readouterr().out
    assert 'page: out/index.html\nfigures: out/analysis.json\n' in out and '\nmasks: AP ' in out
    pictures = [path.name for path in Path('out/pictures').glob('image_*')]
    assert len(pictures) <= 2
    assert sorted(path.name for path in Path('out').iterdir()) == [
        'analysis.json', 'index.html', 'pictures',
    ]  # fmt: skip


def test_a_segmentor(segmentor_run, workplace, blank, capsys):
    analyze(segmentor_run)
    content = json.loads(Path('out/analysis.json').read_text(encoding='utf-8'))
    logged = segmentor_run.runner.message_hub.get_scalar('val/mIoU').current()
    assert 100 * content['metrics']['mIoU'] == pytest.approx(logged, abs=0.006)
    assert len(content['images']) == 3
    assert len(list(Path('out/pictures').glob('image_*'))) == 2
    assert f'mIoU {logged:.2f}%' in capsys.readouterr().out


def test_a_folder_that_is_used_is_refused_before_anything_else(tmp_path):
    (tmp_path / 'a').touch()
    with pytest.raises(RecipeError, match='--out: .* is not empty'):
        main(['none.py', 'none.pth', '--out', str(tmp_path)])


@pytest.fixture
def prepared(monkeypatch, workplace):
    """A function that returns the config that the runner would get."""

    class Stop(Exception):
        pass

    def stop(cfg):
        raise Stop(cfg)

    monkeypatch.setattr(module, 'testing_runner', stop)

    def build(config, *argv):
        Path('x.pth').touch()
        with pytest.raises(Stop) as stopped:
            main([config, 'x.pth', '--toy', '--out', 'out', *argv])
        return stopped.value.args[0]

    return build


@pytest.mark.parametrize('split', ['val', 'test'])
def test_the_data_of_a_split(prepared, split):
    options = ['val_dataloader.batch_size=3', 'test_dataloader.batch_size=2']
    options.append('test_evaluator.output_dir=mine')
    cfg = prepared(UPERNET, '--split', split, '--cfg-options', *options)
    assert cfg.test_dataloader.batch_size == {'val': 3, 'test': 2}[split]
    assert cfg.load_from == 'x.pth' and 'output_dir' not in cfg.test_evaluator
    assert not Path('mine').exists()


@pytest.mark.parametrize(
    ('config', 'options', 'message'),
    [
        (MASK_RCNN, ['val_evaluator.metric=proposal'], "measures with CocoMetric; .*'bbox' or "),
        (MASK_RCNN, ['val_evaluator.type=VOCMetric'], 'measures with VOCMetric; tools/analyze'),
        (UPERNET, ['val_evaluator.type=CityscapesMetric'], 'measures with CityscapesMetric; '),
        (UPERNET, ['val_evaluator.format_only=True'], '--split val: IoUMetric has format_only=T'),
        (UPERNET, ['val_dataloader=None'], '--split val: the config has no val_dataloader'),
    ],
    ids=['proposals', 'VOC', 'Cityscapes', 'no labels', 'no data'],
)
def test_what_cannot_be_looked_at(config, options, message, workplace):
    Path('x.pth').touch()
    with pytest.raises(RecipeError, match=message):
        main([config, 'x.pth', '--toy', '--out', 'out', '--cfg-options', *options])
    assert not list(Path('out').iterdir())


@pytest.mark.parametrize(
    ('best', 'flags', 'line'),
    [
        (0.45678, [], "'my run' IMAGES --score 0.456 --out 'my run/predictions'"),
        (0.0004, [], "'my run' IMAGES --score 0 --out 'my run/predictions'"),
        (None, [], None),
        (0.4, ['--toy'], None),  # tools/predict.py has none of these
        (0.4, ['--lenient'], None),
        (0.4, ['--cfg-options', 'a=1'], None),
    ],
)
def test_the_last_line_predicts_with_the_best_threshold(
    best, flags, line, monkeypatch, workplace, capsys
):
    class Found(module.ObjectAnalysis):
        def __init__(self):
            pass

        def best(self):
            return best and dict(score=best)

        def summary(self):
            return []

        to_json = summary

    cfg = Config(dict(default_scope='mmdet', test_dataloader=dict(dataset=dict(data_root='x'))))
    monkeypatch.setattr(module, 'prepare_config', lambda *_, **__: cfg)
    monkeypatch.setattr(module, 'testing_runner', lambda cfg: None)
    monkeypatch.setattr(module, '_analyze_objects', lambda *_: (Found(), lambda page: None))
    Path('my run').mkdir()
    for name in ('a.py', 'best_x.pth'):
        Path('my run', name).touch()
    main(['my run', '--out', 'my run/out', *flags])
    last = capsys.readouterr().out.splitlines()[-1]
    expected = f'predict with it: python tools/predict.py {line}'
    assert last == (expected if line else 'figures: my run/out/analysis.json')


@pytest.mark.parametrize(
    ('run', 'split', 'line', 'told'),
    [
        (['run'], 'val', 'run IMAGES', 'the validation data (--split test for the test data)'),
        (['run/a.py', 'run'], 'test', 'run/a.py run/x.pth IMAGES', 'the test data'),
    ],
)
def test_label_maps_are_predicted_without_a_threshold(
    run, split, line, told, monkeypatch, workplace, capsys
):
    cfg = Config(dict(default_scope='mmseg', test_dataloader=dict(dataset=dict(data_root='x'))))
    monkeypatch.setattr(module, 'prepare_config', lambda *_, **__: cfg)
    monkeypatch.setattr(module, 'testing_runner', lambda cfg: None)
    found = SimpleNamespace(summary=lambda: [], to_json=lambda: [])
    monkeypatch.setattr(module, '_analyze_label_maps', lambda *_: (found, lambda page: None))
    Path('run').mkdir()
    for name in ('a.py', 'x.pth'):
        Path('run', name).touch()
    Path('run/last_checkpoint').write_text('run/x.pth')
    main([*run, '--out', 'out', '--split', split])
    first, *_, last = capsys.readouterr().out.splitlines()
    assert first.startswith(f'measured on {told}')
    assert last == f'predict with it: python tools/predict.py {line} --out predictions'


def test_panoptic_segmentation_is_refused(workplace):
    metrics = [dict(type='CocoPanopticMetric'), dict(type='CocoMetric', metric='bbox')]
    Path('panoptic.py').write_text(
        f'_base_ = {MASK_RCNN!r}\nval_evaluator = dict(_delete_=True, metrics={metrics})\n'
    )
    Path('x.pth').touch()
    with pytest.raises(RecipeError, match='with CocoPanopticMetric, CocoMetric; tools/analyze.py'):
        main(['panoptic.py', 'x.pth', '--out', 'out'])


def test_a_full_disk_is_no_traceback(monkeypatch, prepared, tmp_path):
    def full(*_):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(module, 'testing_runner', lambda cfg: None)
    monkeypatch.setattr(module, '_analyze_objects', lambda *_: (None, None))
    monkeypatch.setattr(module, '_write', full)
    Path('x.pth').touch()
    with pytest.raises(RecipeError, match='--out: out cannot be written: .*No space left'):
        main([MASK_RCNN, 'x.pth', '--toy', '--out', 'out'])


def config(scope, *steps) -> Config:
    dataset = dict(type='x', data_root='', pipeline=[*steps, dict(type='Resize', scale=(8, 8))])
    return Config(dict(default_scope=scope, test_dataloader=dict(dataset=dataset)))


@pytest.mark.parametrize('scope', ['mmdet', 'mmseg'])
def test_images_are_read_as_the_pipeline_loads_them(scope, tmp_path):
    image = np.zeros((6, 10, 3), np.uint8)
    image[:, :4] = (200, 100, 0)
    file = tmp_path / 'a b \u00e4#%.png'
    write_image(file, image)
    read = reader(config(scope, dict(type='LoadImageFromFile')))
    np.testing.assert_array_equal(read(str(file)), image)
    grey = tmp_path / 'grey.png'
    write_image(grey, image[..., 0])
    assert read(str(grey)).shape == (6, 10, 3)


@pytest.mark.parametrize('turned', [True, False])
def test_images_are_turned_if_the_pipeline_turns_them(turned, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new('RGB', (10, 6)).save(tmp_path / 'a.jpg', exif=exif)
    step = {} if turned else dict(color_type='color_ignore_orientation')
    read = reader(config('mmdet', dict(type='LoadImageFromFile', **step)))
    assert read(str(tmp_path / 'a.jpg')).shape[:2] == ((10, 6) if turned else (6, 10))


def test_sixteen_bits_and_many_channels_become_pictures(tmp_path):
    deep = np.linspace(0, 4095, 60).reshape(6, 10).astype(np.uint16)
    Image.fromarray(deep).save(tmp_path / 'deep.png')
    read = reader(config('mmseg', dict(type='mmconvnext.LoadImage', bits=12)))
    picture = read(str(tmp_path / 'deep.png'))
    assert picture.dtype == np.uint8 and (picture.min(), picture.max()) == (0, 255)
    many = np.zeros((6, 10, 5), np.uint8)
    many[..., 0], many[..., 4] = 200, 90
    np.save(tmp_path / 'many.npy', many)
    read = reader(config('mmseg', dict(type='mmconvnext.LoadImage', color_type='unchanged')))
    np.testing.assert_array_equal(read(str(tmp_path / 'many.npy')), many[..., :3])


def test_the_tool_is_there():
    assert (ROOT / 'tools/analyze.py').is_file()
