# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""cli/test.py: evaluation gives the run's own metrics and writes only what was requested."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from fixtures import MASK_RCNN, UPERNET, write_coco_file
from mmengine.config import Config
from PIL import Image

from mmconvnext.checkpoint.errors import CheckpointNotFound
from mmconvnext.cli import runner
from mmconvnext.cli import test as module
from mmconvnext.cli.test import main
from mmconvnext.models import ConvNeXt
from mmconvnext.recipe.errors import RecipeError
from mmconvnext.recipe.load import load_config
from mmconvnext.toy import ADE_CLASSES


def test_the_stack_is_checked_and_formats_are_installed_first(monkeypatch, tmp_path):
    calls = []
    (tmp_path / 'w.pth').touch()
    for name in ('require_stack', 'install'):
        monkeypatch.setattr(module, name, lambda name=name: calls.append(name))

    def prepare_config(*args, **options):
        raise RecipeError(f'so far: {args[0]}')

    monkeypatch.setattr(module, 'prepare_config', prepare_config)
    with pytest.raises(RecipeError, match='so far'):
        main([MASK_RCNN, str(tmp_path)])
    assert calls == ['require_stack', 'install']


def evaluate(run, *argv):
    return main(
        [
            run.config,
            run.checkpoint,
            '--toy',
            '--work-dir',
            'tested',
            *argv,
            '--cfg-options',
            *run.options,
        ]
    )


@pytest.fixture
def built(monkeypatch, workplace):
    """A function that returns the config that the runner would get."""

    class Fake:
        model = torch.nn.Sequential(ConvNeXt(dict(depths=[1], channels=[8])))

        @classmethod
        def from_cfg(cls, cfg):
            Fake.cfg, Fake.hooks = cfg, []
            return cls()

        def register_hook(self, hook):
            self.hooks.append(hook)

        def test(self):
            loading, classes = self.hooks
            assert (loading.purpose, classes.loader, classes.only_warn) == (
                ('test', 'test_dataloader', False)
            )
            self.cfg.shown_lenient = loading.lenient
            return {}

    def build(*argv):
        Path('x.pth').touch()
        main([argv[0], 'x.pth', '--toy', *argv[1:]])
        assert Fake.model[0].stages[0][0]._folded is not None, 'fuse() was not called'
        return Fake.cfg

    monkeypatch.setattr(runner, 'Runner', Fake)
    monkeypatch.setattr(runner, 'start', lambda cfg: False)  # the processes need not meet
    return build


@pytest.mark.parametrize('place', ['run', 'mine.py'])
def test_the_folder_of_a_run_stands_for_its_checkpoint(place, monkeypatch, tmp_path):
    given = []
    monkeypatch.chdir(tmp_path)
    Path('run').mkdir()
    for name in ('mine.py', 'run/mine.py', 'run/epoch_1.pth', 'run/best_x.pth'):
        Path(name).touch()

    def prepare_config(config, *_, **options):
        given.append(config)
        raise RecipeError('so far')

    monkeypatch.setattr(module, 'prepare_config', prepare_config)
    with pytest.raises(RecipeError, match='so far'):
        main([place, 'run'])
    assert given == [{'run': 'run/mine.py', 'mine.py': 'mine.py'}[place]]
    with pytest.raises(RecipeError, match='mine.py is a config, where a checkpoint is expected'):
        main(['run', 'mine.py'])


# A detector


def test_a_detectors_metrics_pictures_and_predictions(detector_run, workplace, toy_root):
    metrics = evaluate(detector_run, '--show-dir', 'shown', '--out', 'out.pkl')
    logged = detector_run.runner.message_hub
    for kind in ('bbox', 'segm'):
        key = f'coco/{kind}_mAP'
        assert metrics[key] == logged.get_scalar(f'val/{key}').current()
    images = sorted(path.name for path in (toy_root / 'coco/val2017').iterdir())
    assert sorted(path.name for path in Path('shown').iterdir()) == images
    with open('out.pkl', 'rb') as file:
        predictions = pickle.load(file)
    assert [Path(p['img_path']).name for p in predictions] == images
    for prediction in predictions:
        found = prediction['pred_instances']
        assert len(found['bboxes']) == len(found['scores']) == len(found['masks']) <= 5
        assert prediction['ori_shape'] == (96, 96)


def test_tta_of_a_detector_is_refused(built):
    with pytest.raises(RecipeError, match='--tta: this recipe has no test-time augmentation'):
        built(MASK_RCNN, '--tta')


def test_the_checkpoint_is_loaded_not_resumed(built):
    cfg = built(MASK_RCNN)
    assert cfg.load_from == 'x.pth'
    assert not cfg.resume


def test_flags_and_their_absence(built):
    cfg = built(MASK_RCNN)
    assert (cfg.launcher, cfg.shown_lenient) == ('none', False)
    assert not cfg.default_hooks.visualization.get('draw')
    assert cfg.test_evaluator.type == 'CocoMetric'
    cfg = built(MASK_RCNN, '--lenient', '--launcher', 'slurm', '--cfg-options', 'title=my test')
    assert (cfg.launcher, cfg.shown_lenient, cfg.title) == ('slurm', True, 'my test')
    assert built(MASK_RCNN, '--cfg-options', 'lenient_loading=True').shown_lenient
    cfg = built(MASK_RCNN, '--show-dir', 'my pictures')
    assert cfg.default_hooks.visualization.test_out_dir == str(Path('my pictures').resolve())
    assert cfg.default_hooks.visualization.draw is True


def test_flags_of_a_segmentor_and_their_absence(built):
    cfg = built(UPERNET)
    assert not cfg.default_hooks.visualization.get('draw')
    assert {'output_dir', 'keep_results'}.isdisjoint(cfg.test_evaluator)
    assert cfg.model.type == 'EncoderDecoder' and 'save_dir' not in cfg.visualizer
    cfg = built(UPERNET, '--show-dir', 'shown', '--out', 'my maps')
    hook = cfg.default_hooks.visualization
    assert (hook.draw, hook.interval, cfg.visualizer.save_dir) == (True, 1, 'shown')
    assert (cfg.test_evaluator.output_dir, cfg.test_evaluator.keep_results) == ('my maps', True)


def test_predictions_are_saved_beside_several_metrics():
    metrics = [dict(type='CocoMetric', metric='bbox'), dict(type='VOCMetric')]
    cfg = Config(dict(default_scope='mmdet', test_evaluator=metrics))
    module._save_predictions(cfg, 'my out.pkl')
    dump = dict(type='DumpDetResults', out_file_path='my out.pkl')
    assert cfg.test_evaluator == [*metrics, dump]


@pytest.mark.parametrize('lacking', ['tta_model', 'tta_pipeline'])
def test_tta_needs_both_of_its_parts(lacking):
    cfg = Config(dict(tta_model=dict(type='A'), tta_pipeline=[1], model=dict(type='B')))
    cfg.pop(lacking)
    with pytest.raises(RecipeError, match='^--tta: this recipe has no test-time augmentation'):
        module._use_tta(cfg)


def test_tta_keeps_the_test_settings_if_it_has_none_of_its_own():
    loader = dict(dataset=dict(pipeline=[2]))
    model = dict(type='B', test_cfg=dict(mode='slide'))
    cfg = dict(tta_model=dict(type='A', x=1), tta_pipeline=[1], model=model, test_dataloader=loader)
    cfg = Config(cfg)
    module._use_tta(cfg)
    assert cfg.model == dict(type='A', x=1, module=model)
    assert cfg.test_dataloader.dataset.pipeline == [1]


def test_label_maps_of_a_test_go_into_its_own_folder(workplace):
    """Only those in the folder that all runs would share."""
    outputs = ('work_dirs/label_maps', 'mine', None)
    metrics = [dict(type='IoUMetric', output_dir=output) for output in outputs]
    cfg = Config(dict(model={}, work_dir='runs/a/test', test_evaluator=metrics))
    Path('x.pth').touch()
    module._apply_arguments(cfg, module.test_parser().parse_args(['a.py', 'x.pth']))
    found = [metric.output_dir for metric in cfg.test_evaluator]
    assert found == ['runs/a/test/label_maps', 'mine', None]


# A segmentor


def test_a_segmentors_metrics_pictures_and_label_maps(segmentor_run, workplace, toy_root):
    metrics = evaluate(segmentor_run, '--show-dir', 'shown', '--out', 'out')
    assert metrics['mIoU'] == segmentor_run.runner.message_hub.get_scalar('val/mIoU').current()
    stems = sorted(path.stem for path in (toy_root / 'ade/images/validation').iterdir())
    assert len({path.name for path in Path('shown').rglob('*.png')}) == len(stems) == 3
    maps = sorted(Path('out').iterdir())
    assert [path.name for path in maps] == [f'{name}.png' for name in stems]
    for path in maps:
        labels = np.asarray(Image.open(path))
        assert labels.shape == (96, 96)
        # As in ADE20K's files: 0 is no class.
        assert set(np.unique(labels)) <= set(range(1, 1 + len(ADE_CLASSES)))


def test_tta_of_a_segmentor(segmentor_run, workplace):
    plain = evaluate(segmentor_run)
    augmented = evaluate(segmentor_run, '--tta')
    assert set(augmented) == set(plain) >= {'mIoU', 'aAcc', 'mAcc'}
    assert 0 <= augmented['mIoU'] <= 100
    assert augmented != plain


def test_tta_is_the_published_one(built):
    cfg = built(UPERNET, '--tta')
    assert cfg.model.type == 'SegTTAModel'
    assert cfg.model.module.type == 'EncoderDecoder'
    assert cfg.model.module.test_cfg == dict(mode='whole')
    assert cfg.model.module.backbone.init_cfg is None
    (augment,) = [s for s in cfg.test_dataloader.dataset.pipeline if s.type == 'TestTimeAug']
    scales, flips = augment.transforms[:2]
    # Of 2048 x 512, times the 0.125 of these tiny runs.
    assert [tuple(step.scale) for step in scales] == [
        tuple(int(side * ratio) for side in (256, 64)) for ratio in (0.5, 0.75, 1, 1.25, 1.5, 1.75)
    ]
    assert [step.prob for step in flips] == [0.0, 1.0]
    plain = built(UPERNET)
    assert plain.model.type == 'EncoderDecoder' and plain.model.test_cfg.mode == 'slide'


# Refused


def test_a_missing_checkpoint(workplace):
    with pytest.raises(CheckpointNotFound, match=r"^'gone\.pth' is neither a file"):
        main([UPERNET, 'gone.pth', '--toy'])


def test_pictures_go_into_a_new_folder(built):
    """They have the names of their images, so in the images' folder they would replace them."""
    Path('images').mkdir()
    built(MASK_RCNN, '--show-dir', 'images')  # empty
    Path('images/1.png').write_text('precious')
    with pytest.raises(RecipeError, match='--show-dir: images is not empty.*choose a new folder'):
        built(MASK_RCNN, '--show-dir', 'images')
    assert Path('images/1.png').read_text() == 'precious'


def test_an_existing_output_is_never_overwritten(built):
    Path('mine.pkl').write_text('precious')
    with pytest.raises(RecipeError, match=r'--out: mine\.pkl exists and would be overwritten'):
        built(MASK_RCNN, '--out', 'mine.pkl')
    assert Path('mine.pkl').read_text() == 'precious'
    Path('maps').mkdir()
    with pytest.raises(RecipeError, match=r'--out: maps exists and would be overwritten'):
        built(UPERNET, '--out', 'maps')


def test_a_detectors_output_needs_the_suffix(built):
    with pytest.raises(RecipeError, match=r"--out: .* go into a \.pkl file, got 'a\.json'"):
        built(MASK_RCNN, '--out', 'a.json')
    (coco, dump) = built(MASK_RCNN, '--out', 'a.pickle').test_evaluator
    assert coco.type == 'CocoMetric'
    assert dump == dict(type='DumpDetResults', out_file_path='a.pickle')


def test_a_segmentors_output_is_a_folder(built):
    with pytest.raises(RecipeError, match=r"--out: .* go into a folder, got 'a\.pkl'"):
        built(UPERNET, '--out', 'a.pkl')


def test_the_config_of_the_training_is_not_written_over(built):
    stem = Path(UPERNET).stem
    assert built(UPERNET).work_dir == f'work_dirs/{stem}_toy/test'
    assert built(UPERNET, '--work-dir', 'named').work_dir == 'named'


def test_only_test_data_and_no_pretrained_weights_are_needed(coco_data, workplace, monkeypatch):
    seen = []
    monkeypatch.setattr(runner.Runner, 'from_cfg', lambda cfg: seen.append(cfg) or _Nothing())
    root = Path(coco_data['root'])
    (root / 'train.json').unlink()
    config = workplace / 'mine.py'
    config.write_text(f'_base_ = {MASK_RCNN!r}\nown_data = {coco_data}\n')
    Path('x.pth').touch()
    assert main([str(config), 'x.pth']) == {}
    assert seen[0].test_evaluator.ann_file == str(root / 'val.json')
    assert seen[0].model.backbone.init_cfg is None  # no needless download
    write_coco_file(root / 'val.json', ('bird',))
    with pytest.raises(RecipeError, match='test_dataloader.dataset: 0 of 2 class names match'):
        main([str(config), 'x.pth'])


def test_a_backbone_nested_in_another_model_fetches_nothing_either(workplace, load):
    model = load(MASK_RCNN).model.to_dict()
    config = Path('wrapped.py')
    config.write_text(
        f'_base_ = {MASK_RCNN!r}\nmodel = dict(_delete_=True, type="Wrapper", detector={model})\n'
    )
    cfg = load_config(str(config))
    module.skip_pretrained(cfg)
    assert cfg.model.detector.backbone.init_cfg is None


class _Nothing:
    model = torch.nn.Identity()

    def register_hook(self, hook):
        pass

    def test(self):
        return {}


# Checkpoints of others


ZOO = {'dwconv': 'depthwise_conv', 'pwconv': 'pointwise_conv'}  # mmpretrain's names


def test_a_detector_of_the_zoo_evaluates_as_it_is(detector_run, workplace):
    content = torch.load(detector_run.checkpoint, weights_only=False)
    weights = content['state_dict']
    for ours, theirs in ZOO.items():
        weights = {k.replace(ours, theirs): v for k, v in weights.items()}
    assert any('backbone.stages.0.0.depthwise_conv' in name for name in weights)
    torch.save({'state_dict': weights, 'meta': {'CLASSES': ('a',)}}, 'zoo.pth')
    zoo = detector_run._replace(checkpoint='zoo.pth')
    assert evaluate(zoo) == evaluate(detector_run)


@pytest.mark.parametrize('fault', ['missing', 'shape'])
def test_heads_that_the_checkpoint_does_not_fill_are_refused(fault, segmentor_run, workplace):
    content = torch.load(segmentor_run.checkpoint, weights_only=False)
    weights = content['state_dict']
    head = weights.pop('decode_head.conv_seg.weight')
    match = r'does not fill the model:\n1 missing: decode_head\.conv_seg\.weight\nUse'
    if fault == 'shape':
        weights['decode_head.conv_seg.weight'] = head[:1]
        match = r'does not fill the model:\n.*\n.*mismatch for decode_head\.conv_seg\.weight: '
    torch.save({'state_dict': weights}, 'bad.pth')
    with pytest.raises(RecipeError, match=match):
        evaluate(segmentor_run._replace(checkpoint='bad.pth'))


def test_a_classifier_is_no_segmentor(segmentor_run, workplace):
    content = torch.load(segmentor_run.checkpoint, weights_only=False)['state_dict']
    weights = {k: v for k, v in content.items() if k.startswith('backbone.')}
    torch.save({'state_dict': weights}, 'classifier.pth')
    with pytest.raises(RecipeError, match=r'missing: decode_head\.'):
        evaluate(segmentor_run._replace(checkpoint='classifier.pth'))
    torch.save({k[9:]: v for k, v in weights.items()}, 'backbone.pth')
    with pytest.raises(
        RecipeError, match=r'weights for backbone\.: no key begins with this prefix'
    ):
        evaluate(segmentor_run._replace(checkpoint='backbone.pth'))


@pytest.mark.parametrize('fault', ['norms', 'stem'])
def test_a_backbone_that_would_be_completed_is_refused(fault, segmentor_run, workplace):
    weights = torch.load(segmentor_run.checkpoint, weights_only=False)['state_dict']
    if fault == 'norms':
        weights = {k: v for k, v in weights.items() if not k.startswith('backbone.norm')}
        match = r'not match the whole backbone; missing: norm0\.bias'
    else:
        weights['backbone.downsample_layers.0.0.weight'] = torch.ones(8, 6, 4, 4)
        match = r'not match the whole backbone; stem: 6 -> 3 channels'
    torch.save({'state_dict': weights}, 'bad.pth')
    with pytest.raises(RecipeError, match=match):
        evaluate(segmentor_run._replace(checkpoint='bad.pth'))


def test_tta_normalizes_as_the_model_does():
    """mmengine's wrapper would put the base's `data_preprocessor`, at the top, over the model's."""
    model = dict(type='B', data_preprocessor=dict(type='C', mean=[1]))
    cfg = dict(tta_model=dict(type='A'), tta_pipeline=[1], model=model)
    cfg = Config(dict(cfg, test_dataloader=dict(dataset={}), data_preprocessor=dict(type='C')))
    module._use_tta(cfg)
    expected = dict(type='A', module=model, data_preprocessor=dict(type='C', mean=[1]))
    assert cfg.model == expected
