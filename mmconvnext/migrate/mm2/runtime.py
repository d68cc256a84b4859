# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Translate hooks, logging, checkpoints and the other settings of mmcv 1's runner."""

from __future__ import annotations

from mmengine.registry import HOOKS

from ..notes import Notes
from .schedule import length

# Logger hooks that write what mmengine's own LoggerHook writes, and those that are backends now.
TEXT_LOGGERS = ('TextLoggerHook', 'CustomizedTextLoggerHook', 'MMSegWandbHook')
BACKENDS = {
    'TensorboardLoggerHook': 'TensorboardVisBackend',
    'WandbLoggerHook': 'WandbVisBackend',
    'MlflowLoggerHook': 'MLflowVisBackend',
}
PASSED = ('find_unused_parameters', 'auto_scale_lr', 'work_dir', 'log_level', 'load_from')
# Handled elsewhere, or only a variable in the file.
READ = ('model', 'data', 'optimizer', 'optimizer_config', 'lr_config', 'runner', 'total_epochs')
READ += ('evaluation', 'fp16', 'train_cfg', 'test_cfg', 'total_iters', 'custom_imports')
READ += ('train_pipeline', 'test_pipeline', 'img_norm_cfg', 'dataset_type', 'data_root')
NO_MATTER = ('gpu_ids', 'seed', 'device', 'auto_resume', 'mp_start_method', 'cfg_name', 'opencv_')


def renew_runtime(cfg: dict, target: dict, task: str, notes: Notes) -> None:
    """Put the runner's settings into ``target``, which has the shipped defaults."""
    hooks = target.setdefault('default_hooks', {})
    saving = dict(cfg.get('checkpoint_config') or {})
    best = (cfg.get('evaluation') or {}).get('save_best')
    if best:
        saving['save_best'] = best
    if length(cfg)[0] == 'max_iters':
        saving.setdefault('by_epoch', False)
    hooks['checkpoint'] = {**hooks.get('checkpoint', {}), **_without_meta(saving)}
    logging = cfg.get('log_config') or {}
    hooks['logger'] = {**hooks.get('logger', {}), 'interval': logging.get('interval', 50)}
    for hook in logging.get('hooks', []):
        _logger(hook, target, notes)
    if custom := _custom_hooks(cfg.get('custom_hooks') or [], task, notes):
        target['custom_hooks'] = custom
    if 'cudnn_benchmark' in cfg:
        target.setdefault('env_cfg', {})['cudnn_benchmark'] = cfg['cudnn_benchmark']
    if backend := (cfg.get('dist_params') or {}).get('backend'):
        target.setdefault('env_cfg', {})['dist_cfg'] = dict(backend=backend)
    for key in PASSED:
        if cfg.get(key) is not None:
            target[key] = cfg[key]
    if cfg.get('resume_from'):
        target.update(load_from=cfg['resume_from'], resume=True)
    if len(cfg.get('workflow') or []) > 1:
        notes.lose('workflow with val', 'mmengine does not compute validation losses')
    known = (*READ, *PASSED, 'checkpoint_config', 'log_config', 'custom_hooks', 'dist_params')
    known += ('cudnn_benchmark', 'resume_from', 'workflow')
    for key, value in cfg.items():
        if key not in known and not key.startswith(NO_MATTER) and _is_setting(key, value):
            notes.name(f'{key} was not translated: check if it is a setting or just a variable')


def _is_setting(key: str, value: object) -> bool:
    """Whether it looks like a setting: a mere variable is seldom a dict with a type."""
    return isinstance(value, dict) and 'type' in value and key != 'norm_cfg'


def _without_meta(saving: dict) -> dict:
    return {key: value for key, value in saving.items() if key not in ('meta', 'create_symlink')}


def _logger(hook: dict, target: dict, notes: Notes) -> None:
    kind = hook['type']
    if kind in TEXT_LOGGERS:
        return
    if kind not in BACKENDS:
        notes.lose(f'log_config hook {kind}', f'supported are {[*TEXT_LOGGERS, *BACKENDS]}')
        return
    extra = dict(init_kwargs=hook['init_kwargs']) if 'init_kwargs' in hook else {}
    backend = dict(type=BACKENDS[kind], **extra)
    target['vis_backends'] = [*target.get('vis_backends', []), backend]
    target['visualizer'] = {**target.get('visualizer', {}), 'vis_backends': target['vis_backends']}
    notes.change(f'{kind} became {BACKENDS[kind]}')


def _custom_hooks(hooks: list, task: str, notes: Notes) -> list:
    kept = []
    for hook in hooks:
        with HOOKS.switch_scope_and_registry(task) as registry:
            known = registry.get(hook['type']) is not None
        if not known or hook['type'] == 'EMAHook':
            notes.lose(
                f'custom hook {hook["type"]}',
                'its options have changed' if known else 'this hook no longer exists',
            )
        else:
            kept.append(hook)
    return kept
