# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""mm2/runtime.py: hooks, logging and checkpoints."""

from mmconvnext.migrate.mm2.runtime import renew_runtime
from mmconvnext.migrate.notes import Notes

EPOCHS = dict(runner=dict(type='EpochBasedRunner', max_epochs=1))


def renewed(cfg, **target):
    notes = Notes()
    renew_runtime({**EPOCHS, **cfg}, target, 'mmdet', notes)
    return target, notes


def test_checkpoints_and_logging():
    cfg = dict(
        checkpoint_config=dict(interval=2, max_keep_ckpts=3, create_symlink=False),
        log_config=dict(interval=7, hooks=[dict(type='CustomizedTextLoggerHook')]),
        evaluation=dict(save_best='bbox_mAP'),
    )
    target, notes = renewed(cfg, default_hooks=dict(checkpoint=dict(type='CheckpointHook')))
    assert target['default_hooks'] == dict(
        checkpoint=dict(type='CheckpointHook', interval=2, max_keep_ckpts=3, save_best='bbox_mAP'),
        logger=dict(interval=7),
    )
    assert not notes.lost


def test_iterations_save_by_iteration():
    target, _ = renewed(dict(runner=dict(type='IterBasedRunner', max_iters=9)))
    assert target['default_hooks']['checkpoint'] == dict(by_epoch=False)


def test_boards_are_backends():
    cfg = dict(log_config=dict(hooks=[dict(type='TensorboardLoggerHook')]))
    target, notes = renewed(cfg, vis_backends=[dict(type='LocalVisBackend')])
    backends = [dict(type='LocalVisBackend'), dict(type='TensorboardVisBackend')]
    assert target['vis_backends'] == target['visualizer']['vis_backends'] == backends
    assert notes.changed == ['TensorboardLoggerHook became TensorboardVisBackend']


def test_what_passes_and_what_resumes():
    cfg = dict(find_unused_parameters=True, load_from=None, resume_from='a.pth', work_dir='w')
    target, _ = renewed({**cfg, 'cudnn_benchmark': True, 'dist_params': dict(backend='gloo')})
    assert target['find_unused_parameters'] is True and target['work_dir'] == 'w'
    assert (target['load_from'], target['resume']) == ('a.pth', True)
    assert target['env_cfg'] == dict(cudnn_benchmark=True, dist_cfg=dict(backend='gloo'))


def test_hooks_and_workflows_without_counterpart_are_named():
    hooks = [dict(type='NumClassCheckHook'), dict(type='NoSuchHook'), dict(type='EMAHook')]
    cfg = dict(custom_hooks=hooks, workflow=[('train', 1), ('val', 1)])
    cfg['log_config'] = dict(hooks=[dict(type='PaviLoggerHook')])
    target, notes = renewed(cfg)
    assert target['custom_hooks'] == [dict(type='NumClassCheckHook')]
    assert [line.split(':')[0] for line in notes.lost] == [
        'log_config hook PaviLoggerHook',
        'custom hook NoSuchHook',
        'custom hook EMAHook',
        'workflow with val',
    ]


def test_an_unknown_setting_is_named():
    _, notes = renewed(dict(my_engine=dict(type='X'), norm_cfg=dict(type='BN'), number=3))
    assert [line.split()[0] for line in notes.look] == ['my_engine']
