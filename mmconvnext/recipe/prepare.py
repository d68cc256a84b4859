# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""From a config file and a tool's options to the config that mmengine's Runner gets."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from mmengine.config import Config

from ..checkpoint.lookup import look_up
from .annotations import mend_annotations, restore_listed
from .checks import check_recipe
from .checks.amounts import check_amounts
from .checks.finding import Finding, settle
from .checks.sections import check_sections
from .checks.variables import check_variables
from .data_table import Split, format_table
from .errors import RecipeError
from .label_maps import mend_label_maps
from .load import load_config
from .machine import fit_to_machine
from .own_data import apply_own_data
from .own_data.given import is_applied
from .own_data.namespace import LINE
from .policies import NAMES, policy
from .ranks import launched, log_rank0, world_size
from .resume_from import BEGUN_FROM, meta_of, newest_whole
from .toy import make_toy
from .walk import LOADERS
from .work_dir import default_work_dir, folders, holds_checkpoint, refuse_unwritable, refuse_used

Tell = Callable[..., None]  # of a line, and a level of logging


def prepare_config(
    path: str,
    options: dict[str, object] | None = None,
    *,
    only_data: bool = False,
    training: bool = True,
    toy: bool = False,
    work_dir: str | None = None,
    lenient: bool = False,
    launcher: str = 'none',
    resume: str | None = None,
    edit: Callable[[Config], None] | None = None,
    table: list[Split] | None = None,
    tell: Tell = log_rank0,
) -> Config:
    """Turn a config file into a config that can run; log what the user must know.

    Args:
        path: the config file.
        options: settings to change, such as ``{'train_dataloader.batch_size': 4}``. Those of
            ``own_data`` are set before it is applied, all others after it and after ``toy``, so
            that they override both.
        only_data: read the config without running it.
        training: check all three loaders and fit the config to the machine; otherwise it is a
            test, which only needs the test loader.
        toy: replace the data with toy data, and shrink the model and the schedule.
        work_dir: where the run writes; by default the config's ``work_dir``, then
            ``work_dirs/<config>``, and the folder ``test`` below it for a test.
        lenient: load what fits if a checkpoint does not fill the model.
        launcher: 'none', 'pytorch', 'slurm' or 'mpi'.
        resume: None, 'auto' for the last checkpoint of the work dir, 'if-any' for the same if
            there is one, or a checkpoint.
        edit: applies the tool's own flags to the config, before it is checked.
        table: gets a row for each dataset that was read.
        tell: gets every line for the user, and a level of logging if it is a warning.

    Raises:
        RecipeError: any of the steps found a mistake; nothing has been written.
        CheckpointNotFound: ``resume`` is neither a file nor the name of published weights.
    """
    options = options or {}
    cfg = load_config(path, only_data)
    check_sections(cfg, training=training)
    restore_listed(cfg)
    _warn_if_tools_only(cfg, path, tell)
    cfg.merge_from_dict(_options_of_own_data(options))
    if toy:
        make_toy(cfg)
    apply_own_data(cfg)
    cfg.merge_from_dict(_other_options(options))
    for warning in settle(cfg, check_variables(cfg, options)):
        tell(warning, logging.WARNING)
    cfg.launcher = launcher
    if lenient or is_lenient(cfg):
        cfg.lenient_loading = True
    for name in NAMES:
        policy(cfg, name)
    cfg.work_dir = work_dir or cfg.get('work_dir') or default_work_dir(path, toy)
    if not training and not work_dir:  # mmengine would overwrite the config of the training
        cfg.work_dir = str(Path(cfg.work_dir) / 'test')
    refuse_unwritable(cfg.work_dir)
    if edit:
        edit(cfg)
    if training:
        _set_resume(cfg, resume, tell)
    rows = run_checks(cfg, LOADERS if training else LOADERS[2:], tell)
    if table is not None:
        table += rows
    if training:
        for line in fit_to_machine(cfg, 1 if launcher == 'none' else world_size()):
            tell(line)
    return cfg


def run_checks(cfg: Config, loaders: tuple[str, ...], tell: Tell = log_rank0) -> list[Split]:
    """Check the config and the loaders' data; log the warnings and the table of the data.

    Annotation files are made sound, and ``cfg`` reads the sound form where it differs; label maps
    in forms that mmseg cannot read are loaded by our transform.

    Raises:
        RecipeError: see :func:`.checks.check_recipe`.
    """
    table: list[Split] = []

    def mend() -> Iterator[Finding]:
        yield from mend_annotations(cfg, loaders, table)
        yield from mend_label_maps(cfg, loaders, table)
        yield from check_amounts(cfg, loaders, table)

    for warning in check_recipe(cfg, loaders, mend):
        tell(warning, logging.WARNING)
    if table:
        tell(format_table(table))
    return table


def is_lenient(cfg: Config) -> bool:
    """Whether a checkpoint that does not fill the model causes a warning instead of an error.

    Raises:
        RecipeError: ``lenient_loading`` is neither True nor False.
    """
    lenient = cfg.get('lenient_loading', False)
    if not isinstance(lenient, bool):
        raise RecipeError(f'lenient_loading={lenient!r}: choose True or False')
    return lenient


def _warn_if_tools_only(cfg: Config, path: str, tell: Tell) -> None:
    """Warn that ``own_data`` without its last line has no effect outside these tools."""
    if 'own_data' in cfg and not is_applied(cfg):
        tell(
            f'only these tools apply own_data of {path}; init_detector and the tools of mmdet and '
            f'mmseg ignore it. To apply it everywhere, end the file with this line: {LINE}',
            logging.WARNING,
        )


def _options_of_own_data(options: dict[str, object]) -> dict[str, object]:
    return {key: value for key, value in options.items() if key.partition('.')[0] == 'own_data'}


def _other_options(options: dict[str, object]) -> dict[str, object]:
    return {key: value for key, value in options.items() if key.partition('.')[0] != 'own_data'}


def _set_resume(cfg: Config, resume: str | None, tell: Tell) -> None:
    """Set the checkpoint to resume from; refuse a work dir whose checkpoints would be lost."""
    if resume is None and cfg.get('resume'):  # mmengine's own way: resume=True, maybe load_from
        resume, cfg.resume = cfg.get('load_from') or 'if-any', False
        cfg.load_from = None
    object.__setattr__(cfg, BEGUN_FROM, cfg.get('load_from'))
    began, run = launched(), (cfg.work_dir, _checkpoint_hook(cfg))
    if began is not None and holds_checkpoint(*run, began):
        resume = 'auto'  # not what the user said: this run itself has got further
        tell('Started again after a failure: this run goes on from its last checkpoint.')
    if resume == 'if-any':
        resume = 'auto' if holds_checkpoint(*run) else None
    if resume is None:
        refuse_used(*run)
    elif resume == 'auto':
        cfg.resume = True
        work_dir, hook = run
        cfg.load_from, meta = newest_whole(work_dir, lambda line: tell(line, logging.WARNING), hook)
        _keep_seed(cfg, meta)
    else:
        if Path(resume).is_dir():
            raise RecipeError(
                f'--resume {resume}: this is a folder. To go on with the run in it: --work-dir '
                f'{resume} --resume'
            )
        look_up(resume)
        if Path(resume).resolve().parent not in [folder.resolve() for folder in folders(*run)]:
            refuse_used(*run)
        cfg.resume, cfg.load_from = True, resume
        _keep_seed(cfg, meta_of(look_up(resume)))


def _checkpoint_hook(cfg: Config) -> Mapping[str, object]:
    hook = (cfg.get('default_hooks') or {}).get('checkpoint')
    return hook if isinstance(hook, Mapping) else {}


def _keep_seed(cfg: Config, meta: dict) -> None:
    """Give a config without a seed that of the run to resume, which mmengine sets too late."""
    randomness = cfg.get('randomness') or {}
    if randomness.get('seed') is None and meta.get('seed') is not None:
        cfg.randomness = dict(randomness, seed=meta['seed'])
