# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""The report on a config: rows that appear as soon as they are known, or one JSON object."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import sys
import textwrap
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

from mmengine.config import Config
from mmengine.logging import MMLogger
from torch import nn

from ..recipe.data_table import Split, format_table
from ..recipe.preflight.disk import Room
from ..recipe.preflight.measure import CPU, Measured
from ..recipe.preflight.samples import Samples
from ..recipe.preflight.state import State
from ..recipe.preflight.units import duration, size
from ..recipe.schedule import Schedule
from ..recipe.walk import backbones, type_name

LABEL, WIDTH = 10, 100  # columns
PACKAGE = Path(__file__).resolve().parents[1]


class Report:
    """Collects facts, notes and warnings; prints rows unless it shall be JSON."""

    def __init__(self, config: str, as_json: bool = False) -> None:
        self.facts: dict[str, object] = dict(config=config)
        self.table: list[Split] = []
        self.warnings: list[str] = []
        self.notes: list[str] = []
        self.as_json, self.out = as_json, sys.stdout

    def tell(self, line: str, level: int = logging.INFO) -> None:
        """Take a line of a check."""
        lines = self.warnings if level >= logging.WARNING else self.notes
        if line not in lines:
            lines.append(line)

    def row(self, label: str, text: str) -> None:
        """Print a row, its further lines indented."""
        if self.as_json:
            return
        lines = text.splitlines() or ['']
        print(f'{label:{LABEL}}{lines[0]}', file=self.out)
        for line in lines[1:]:
            print(' ' * LABEL + line, file=self.out)

    def say_progress(self, text: str) -> None:
        """Say what takes long, beside the report."""
        print(text, file=sys.stderr, flush=True)

    def show_config(self, cfg: Config) -> None:
        self.facts.update(work_dir=str(cfg.work_dir))
        self.row('config', f'{self.facts["config"]}  (work dir {cfg.work_dir})')

    def show_model(self, cfg: Config, model: nn.Module, state: State) -> None:
        parts = [type(model).__name__]
        for path, node in backbones(cfg):
            built = _at(model, path)
            depths = ' '.join(map(str, built.arch.depths))
            arch = node.get('arch')
            arch = f' {arch}' if isinstance(arch, str) else ''
            parts.append(f'ConvNeXt {built.version}{arch} (depths {depths})')
            parts.append(_weights(cfg, node))
        frozen = state.parameters - state.trained
        rest = f', {frozen / 1e6:.2f} M of them frozen' if frozen else ''
        text = f'{", ".join(parts)}\n{state.parameters / 1e6:.2f} M parameters{rest}'
        self.facts['model'] = dict(type=parts[0], description=', '.join(parts), **asdict(state))
        self.row('model', text)

    def show_data(self) -> None:
        table = format_table(self.table) if self.table else ''
        self.notes = [line for line in self.notes if line != table]  # it was told too
        self.facts['data'] = [asdict(row) for row in self.table]
        if table:
            self.row('data', table.replace('data', '    ', 1))

    def show_samples(self, samples: list[Samples]) -> None:
        self.facts['samples'] = [_facts_of(found) for found in samples]
        self.row('samples', '\n'.join(map(_describe, samples)))

    def show_schedule(self, cfg: Config, schedule: Schedule | None) -> None:
        if schedule is None:
            return
        optimizer = (cfg.get('optim_wrapper') or {}).get('optimizer') or {}
        rate = optimizer.get('lr')
        self.facts['schedule'] = dict(asdict(schedule), optimizer=type_name(optimizer), lr=rate)
        length = f'{schedule.iterations} iterations'
        if schedule.epochs:
            epochs = f'{schedule.epochs} epoch{"s" * (schedule.epochs > 1)}'
            length = f'{epochs} of {schedule.per_epoch} iterations ({schedule.iterations})'
        text = f'{length}, {schedule.batch} images each; {_validations(schedule)}'
        if rate is not None:
            text += f'\n{type_name(optimizer)}, learning rate {rate:g}{_schedulers(cfg)}'
        self.row('schedule', text)

    def show_disk(self, found: Room | None) -> None:
        self.facts['disk'] = asdict(found) if found else None
        if found:
            kept = f'{found.count} checkpoint{"s" * (found.count > 1)} of {size(found.each)}'
            total = f' ({size(found.total)})' if found.count > 1 else ''
            self.row('disk', f'{kept}{total}; {size(found.free)} free in {found.folder}')

    def show_estimates(
        self,
        measured: Measured,
        workers: int,
        validation: float,
        schedule: Schedule,
        state: State,
    ) -> None:
        each = measured.iteration(workers)
        training = each * schedule.iterations
        whole = training + validation * schedule.validations
        where = 'of the process' if measured.device == CPU else 'of the GPU'
        self.facts['estimates'] = dict(
            measured_steps=measured.steps,
            device=measured.device,
            seconds_per_iteration=each,
            seconds_loading=measured.loading,
            seconds_per_validation=validation,
            seconds_training=training,
            seconds=whole,
            memory=measured.memory,
            processor_seconds_per_step=measured.processor,
        )
        held = f'weights {size(state.weights)}, gradients {size(state.gradients)}, '
        held += f'optimizer {size(state.optimizer)}'
        self.row('memory', f'{size(measured.memory)} {where} at its peak; of these {held}')
        count = f'{measured.steps} step{"s" * (measured.steps > 1)} measured'
        text = f'{duration(each)} an iteration on {measured.device} ({count})'
        text += f', {duration(training)} of training'
        if validation and schedule.validations:
            text += f'\n+ {_validations(schedule)} of {duration(validation)}'
            text += f' = {duration(whole)}'
        if measured.is_busy:
            least = duration(measured.processor)
            text += f'\nother programs run here too: alone, a step takes {least} or less'
        self.row('time', text)

    def end(self, error: str = '') -> None:
        """Print notes, warnings and the verdict; or everything, as JSON."""
        if 'data' not in self.facts:
            self.show_data()
        verdict = 'refused' if error else 'warnings' if self.warnings else 'sound'
        if self.as_json:
            facts = dict(verdict=verdict, error=error, warnings=self.warnings, notes=self.notes)
            print(json.dumps({**self.facts, **facts}, indent=1, ensure_ascii=False), file=self.out)
            return
        for label, lines in (('note', self.notes), ('warning', self.warnings)):
            for line in lines:
                self.row(label, _wrapped(line))
        count = len(self.warnings)
        texts = dict(
            sound='sound: nothing to warn of',
            warnings=f'it can train; read the warning{"s" * (count > 1)} above ({count})',
            refused='refused: tools/train.py would not start',
        )
        self.row('verdict', texts[verdict])


@contextlib.contextmanager
def quiet(tell: Callable, everyone: bool = False) -> Iterator[None]:
    """Keep prints and log lines from the report, but for warnings of this package.

    Args:
        tell: gets these warnings.
        everyone: warnings of mmengine's modules too.
    """

    class Collect(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if everyone or Path(record.pathname).is_relative_to(PACKAGE):
                tell(record.getMessage(), record.levelno)

    logger = MMLogger.get_current_instance()
    handlers, logger.handlers = logger.handlers, [Collect(logging.WARNING)]
    try:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter('ignore')
            yield
    finally:
        logger.handlers = handlers


def _describe(found: Samples) -> str:
    text = f'{found.name}: {found.read} read in {duration(found.seconds)}'
    if found.objects is not None and found.listed:
        text += f', {found.objects} of {found.listed} objects usable'
    elif found.objects is not None and found.name == 'train':
        text += f', {found.read - found.emptied} with labels'
    if found.emptied and found.listed:
        text += f', {found.emptied} left without an object'
    if found.discarded:
        names = ', '.join(found.discarded)
        text += f', {sum(found.discarded.values())} discarded by {names} and read again'
    return text


def _facts_of(found: Samples) -> dict:
    facts = asdict(found)
    for key in ('low', 'high'):  # JSON has no infinity
        facts[key] = facts[key] if found.low <= found.high else None
    return facts


def _validations(schedule: Schedule) -> str:
    count = schedule.validations
    return f'{count} validation{"s" * (count != 1)}'


def _weights(cfg: Config, node: dict) -> str:
    if cfg.get('load_from'):
        return f'{"resumed" if cfg.get("resume") else "starts"} from {cfg.load_from}'
    init = node.get('init_cfg') or {}
    init = init[0] if isinstance(init, (list, tuple)) and init else init
    return f'weights {init["checkpoint"]}' if init.get('checkpoint') else 'random weights'


def _schedulers(cfg: Config) -> str:
    given = cfg.get('param_scheduler') or []
    nodes = [given] if isinstance(given, dict) else given
    parts = [
        f'{type_name(node)} to {node.get("end", "the end")}'
        + (' epochs' if node.get('by_epoch', True) else ' iterations') * ('end' in node)
        for node in nodes
    ]
    return f'; {", ".join(parts)}' if parts else ''


def _at(model: nn.Module, path: str) -> nn.Module:
    return model.get_submodule(path.partition('.')[2])


def _wrapped(text: str) -> str:
    width = WIDTH - LABEL
    return '\n'.join(
        textwrap.fill(line, width, break_long_words=False, break_on_hyphens=False)
        for line in text.splitlines()
    )
