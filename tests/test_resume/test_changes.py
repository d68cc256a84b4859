# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""What may change when a run is resumed, and what is refused by name."""

import pytest
from mmengine.config import Config
from mmengine.hooks import EMAHook
from resume_runs import config, stopped, train

from mmconvnext.recipe.errors import RecipeError
from mmconvnext.resume.changes import compare, settings_of, unequal


class Runner:
    seed = 4

    class train_dataloader:
        dataset = range(12)

    def __init__(self, **changes):
        base = dict(
            model=dict(
                type='mmdet.MaskRCNN',
                backbone=dict(type='ConvNeXt', drop_path_rate=0.4, with_cp=False),
                roi_head=dict(loss=[dict(type='A', w=1.0), dict(type='B')], scales=(1, (2, 3))),
                test_cfg=dict(score_thr=0.05),
            ),
            train_dataloader=dict(
                batch_size=2,
                num_workers=2,
                dataset=dict(ann_file='a/x.json', data_prefix=dict(img='a/train/'), data_root='r'),
            ),
            optim_wrapper=dict(optimizer=dict(type='AdamW', lr=1e-4), accumulative_counts=2),
            train_cfg=dict(by_epoch=True, max_epochs=12, val_interval=1),
            custom_hooks=[dict(type='EMAHook', momentum=0.1)],
            randomness=dict(seed=4),
        )
        self.cfg = Config(base)
        self.cfg.merge_from_dict(changes)


def texts(*runners) -> list[str]:
    return [finding.text for finding in compare(*map(settings_of, runners))]


@pytest.mark.parametrize(
    'changes',
    [
        {'work_dir': 'other', 'default_hooks.logger.interval': 3, 'val_cfg': dict(type='X')},
        {'train_dataloader.num_workers': 8, 'train_dataloader.persistent_workers': True},
        {
            'train_dataloader.dataset.data_root': 's',
            'train_dataloader.dataset.ann_file': 'b/x.json',
        },
        {'train_dataloader.dataset.data_prefix.img': 'elsewhere/train'},
        {'train_cfg.max_epochs': 24, 'train_cfg.val_interval': 3},
        {'model.test_cfg.score_thr': 0.5, 'model.backbone.init_cfg': dict(type='Pretrained')},
        {'model.backbone.with_cp': True, 'model.type': 'MaskRCNN'},
        {'optim_wrapper.optimizer.lr': 1.0},  # hooks/same_schedule.py compares it
        {
            'optim_wrapper.optimizer.type': 'ZeroRedundancyOptimizer',
            'optim_wrapper.optimizer.optimizer_type': 'AdamW',
        },
        {'model_wrapper_cfg': dict(type='mmconvnext.FullyShardedModel')},
        {'custom_hooks': [dict(type='NumClassCheckHook'), dict(type=EMAHook, momentum=0.1)]},
        {'model.roi_head.scales': [1, [2, 3]]},
        {'own_data': dict(root='x')},
    ],
    ids=str,
)
def test_what_does_not_change_the_result_may_change(changes):
    assert texts(Runner(), Runner(**changes)) == []


@pytest.mark.parametrize(
    ('changes', 'line', 'why'),
    [
        (
            {'model.backbone.drop_path_rate': 0.1},
            'model.backbone.drop_path_rate: 0.4 in the checkpoint, 0.1 here',
            'model: the optimizer goes on',
        ),
        (
            {'model.roi_head.loss': [dict(type='A', w=1.0), dict(type='C')]},
            'model.roi_head.loss.1.type: B in the checkpoint, C here',
            'model: ',
        ),
        (
            {'model.roi_head.scales': (1, (2, 4))},
            'model.roi_head.scales: [1, [2, 3]] in the checkpoint, [1, [2, 4]] here',
            'model: ',
        ),
        (
            {'train_dataloader.batch_size': 4},
            'train_dataloader.batch_size: 2 in the checkpoint, 4 here',
            'train_dataloader: images, batches or augmentations',
        ),
        (
            {'train_dataloader.dataset.ann_file': 'a/y.json'},
            "train_dataloader.dataset.ann_file: 'x.json' in the checkpoint, 'y.json' here",
            'train_dataloader: ',
        ),
        (
            {'optim_wrapper.accumulative_counts': 1},
            'optim_wrapper.accumulative_counts: 2 in the checkpoint, 1 here',
            'optim_wrapper: steps',
        ),
        (
            {'optim_wrapper.optimizer.type': 'SGD'},
            'optim_wrapper.optimizer.type: AdamW in the checkpoint, SGD here',
            'optim_wrapper: ',
        ),
        (
            {
                'optim_wrapper.optimizer.type': 'ZeroRedundancyOptimizer',
                'optim_wrapper.optimizer.optimizer_type': 'SGD',
            },
            'optim_wrapper.optimizer.type: AdamW in the checkpoint, SGD here',
            'optim_wrapper: ',
        ),
        (
            {'train_cfg.by_epoch': False},
            'train_cfg.by_epoch: True in the checkpoint, False here',
            'train_cfg: epochs',
        ),
        (
            {'custom_hooks': []},
            'custom_hooks.0.momentum: 0.1 in the checkpoint, none here',
            'custom_hooks: averages',
        ),
        (
            {'default_hooks': dict(sampler_seed=None)},
            'default_hooks.sampler_seed: True in the checkpoint, False here',
            'default_hooks: schedules, the order',
        ),
        (
            {'randomness.diff_rank_seed': True},
            'randomness.diff_rank_seed: False in the checkpoint, True here',
            'randomness: images',
        ),
        ({'sync_bn': 'torch'}, "sync_bn: None in the checkpoint, 'torch' here", 'sync_bn: '),
    ],
    ids=str,
)
def test_what_changes_the_result_is_named_with_its_effect(changes, line, why):
    (text,) = texts(Runner(), Runner(**changes))
    assert f'\n  {line}\n' in text and f'\n{why}' in text
    assert text.endswith('--cfg-options load_from=FILE --work-dir NEW, without --resume')


def test_seed_samples_and_processes_are_settings(monkeypatch):
    other = Runner()
    other.seed = 5
    other.train_dataloader = type('Loader', (), dict(dataset=range(11)))
    ours = settings_of(Runner())
    monkeypatch.setattr('mmconvnext.resume.changes.get_world_size', lambda: 2)
    ((text, check),) = compare(ours, settings_of(other))
    assert check == 'resumed_config' and text.startswith('3 settings of the run to resume changed')
    assert 'randomness.seed: 4 in the checkpoint, 5 here' in text
    assert 'processes: 1 in the checkpoint, 2 here' in text
    assert 'train_dataloader: samples: 12 in the checkpoint, 11 here' in text
    monkeypatch.setattr('mmconvnext.resume.changes.get_rank', lambda: 1)
    other.cfg.randomness = dict(diff_rank_seed=True)  # rank 1 of seed 4
    assert settings_of(other)['randomness.seed'] == '4'


def test_processes_that_differ_are_told():
    own = {'a': '1', 'train_dataloader: samples': '12'}
    assert unequal([own, own]) == ''
    text = unequal([own, own, {**own, 'train_dataloader: samples': '6', 'b': '2'}])
    assert '\n  train_dataloader: samples: 12 on rank 0, 6 on rank 2\n' in text
    assert '\n  b: none on rank 0, 2 on rank 2\n' in text
    assert unequal([{'folder': "'/node0/x'"}, {'folder': "'/node1/x'"}]) == ''
    assert unequal([{str(i): '1' for i in range(20)}, {}]).count(' on rank 1') == 8


def test_other_hooks_of_the_defaults_are_settings():
    def hook(**how):
        return {'default_hooks.mine': dict(type='EMAHook', **how)}

    (text,) = texts(Runner(**hook(momentum=0.1)), Runner(**hook(momentum=0.5)))
    assert 'default_hooks.mine.momentum: 0.1 in the checkpoint, 0.5 here' in text
    looks = {'default_hooks.visualization': dict(type='SegVisualizationHook', interval=3)}
    logs = {'default_hooks.logger': dict(type='LoggerHook', interval=3)}
    assert texts(Runner(), Runner(**looks, **logs)) == []


def test_many_changes_are_counted():
    many = {f'model.backbone.x{i}': i for i in range(11)}
    (text,) = texts(Runner(), Runner(**many))
    assert text.count(' in the checkpoint, ') == 8 and '\n  and 3 more\n' in text
    (text,) = texts(Runner(), Runner(sync_bn='mmcv'))
    assert text.startswith('a setting of the run to resume changed')


def test_a_changed_run_is_refused_unless_the_user_lets_it_pass(tmp_path, log_records):
    cfg = config(tmp_path / 'a')
    path = stopped(cfg, 2)
    changed = config(tmp_path / 'a', clip=1, optim_wrapper=dict(optimizer=dict(type='AdamW')))
    with pytest.raises(RecipeError, match=r'clip_grad\.max_norm: 1\.0 in .*\n.*\n.*optim_wrapper'):
        train(changed, resume=path)
    train(Config({**changed.to_dict(), 'checks': dict(resumed_config=False)}), resume=path)
