# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Kills and resumes toy runs, and compares their ends with undisturbed ones: `tools/soak.py`."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import torch

from ..checkpoint.atomic import atomic_path
from ..checkpoint.safe_globals import torch_load
from ..recipe.errors import RecipeError
from ..recipe.load import shipped_configs
from .options import soak_parser

SIGNALS = ('SIGTERM', 'SIGUSR1', 'SIGINT', 'SIGKILL')
RECORD = 'record.json'
LIMIT = 600  # seconds for a process; one that takes longer hangs; our choice
SLOWEST = 120  # seconds from a signal to the end of the process, on a busy machine; our choice
PROGRAM = 'from mmconvnext.cli.run import start; start("train")'
LAUNCH = 'import sys; from mmconvnext.distributed.launch import main; main(sys.argv[1:])'
MINUTES = '0.05'  # three seconds between checkpoints; our choice
# Networks and runs of seconds; all numbers are our choice.
COMMON = (
    'model.backbone.arch._delete_=True',
    'model.backbone.arch.depths=[1,1,2,1]',
    'model.backbone.arch.channels=[8,16,32,64]',
    'train_dataloader.batch_size=2',
    'train_dataloader.dataset.indices=24',
    'val_dataloader.dataset.indices=4',
    'default_hooks.logger.interval=1',
    'default_hooks.checkpoint.max_keep_ckpts=2',
    'env_cfg.cudnn_benchmark=False',
    'randomness.seed=0',
)
TASKS = {
    'detection, by epochs': (
        'mask-rcnn_convnext-t-p4-w7_fpn_amp-ms-crop-3x_coco.py',
        'model.neck.in_channels=[8,16,32,64]',
        'model.neck.out_channels=64',
        'model.test_cfg.rcnn.max_per_img=5',
        'train_cfg.max_epochs=3',
        'train_cfg.val_interval=1',
        'default_hooks.checkpoint.interval=1',
    ),
    'segmentation, by iterations': (
        'convnext-tiny_upernet_8xb2-amp-160k_ade20k-512x512.py',
        'model.decode_head.in_channels=[8,16,32,64]',
        'model.decode_head.channels=16',
        'model.auxiliary_head.in_channels=32',
        'model.auxiliary_head.channels=16',
        'train_cfg.max_iters=40',
        'train_cfg.val_interval=12',
        'default_hooks.checkpoint.interval=7',
    ),
}
# Processes, the workers of each that read images, and whether the run has averages of the weights
# and steps over three iterations.
SETTINGS = ((1, 0, False), (1, 2, True), (2, 2, True))
VARIANTS = [(task, *settings) for settings in SETTINGS for task in TASKS]


def main(argv: list[str] | None = None) -> None:
    """Kill and resume until the number is reached; go on with the record of an earlier call.

    Raises:
        RecipeError: a run does not end as the undisturbed one, or not at all.
    """
    args = soak_parser().parse_args(argv)
    soak = Soak(Path(args.out).resolve(), args.seed)
    soak.run(args.kills)
    print(soak.table())
    if not all(run['equal'] for run in soak.record['runs']):
        raise RecipeError(f'runs differ from the undisturbed ones, see {soak.file}')


class Soak:
    """Runs below a folder, and their record.

    Args:
        seed: of the signals and their times.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.seed, self.file = folder, seed, folder / RECORD
        self.record: dict = dict(torch=torch.__version__, seed=seed, whole={}, runs=[])
        folder.mkdir(parents=True, exist_ok=True)
        if self.file.is_file():
            self.record = json.loads(self.file.read_text())

    def run(self, kills: int) -> None:
        """Run one run after another, each killed and resumed until it ends."""
        runs = self.record['runs']
        while True:
            if not runs or 'equal' in runs[-1]:
                if sum(len(run['kills']) for run in runs) >= kills:
                    return
                variant = len(runs) % len(VARIANTS)
                runs.append(dict(run=len(runs), variant=variant, kills=[]))
            self._run(**runs[-1])

    def _run(self, run: int, variant: int, kills: list[dict]) -> None:
        whole, place = self._whole(variant), self.folder / f'run_{run}'
        ended = False
        while not ended:
            chance = random.Random(f'{self.seed} {run} {len(kills)}')
            name = SIGNALS[(run + len(kills)) % len(SIGNALS)]
            # What a SIGKILL loses is trained again, so a run must get further than that.
            wait = chance.uniform(0, 0.6) * whole['seconds']
            ended, kill, _ = self._start(variant, place, name, wait, chance.random() < 0.1)
            if kill:
                kills.append(kill)
                self._save()
                print(f'run {run}, kill {len(kills)}: {kill}', flush=True)
        found = differences(_content(place), _content(self.folder / f'whole_{variant}'))
        self.record['runs'][run].update(what=named(variant), equal=not found, differences=found[:9])
        self._save()
        print(f'run {run}, {named(variant)}: {"DIFFERENT" if found else "equal"}', flush=True)

    def _whole(self, variant: int) -> dict:
        """The undisturbed run of a variant, and the seconds that its training takes."""
        known = self.record['whole']
        if str(variant) not in known:
            place = self.folder / f'whole_{variant}'
            print(f'undisturbed run: {named(variant)}', flush=True)
            shutil.rmtree(place, ignore_errors=True)  # of a call that was stopped: never resumed
            *_, seconds = self._start(variant, place, '', LIMIT, False)
            known[str(variant)] = dict(what=named(variant), seconds=round(seconds, 1))
            self._save()
        return known[str(variant)]

    def _start(
        self, variant: int, place: Path, name: str, wait: float, early: bool
    ) -> tuple[bool, dict, float]:
        """Start or resume a run, and signal it, unless it ends before.

        Args:
            name: of the signal; '': none.
            wait: seconds from its first iteration to the signal.
            early: count them from the start of the process.

        Returns:
            whether it ended, what was seen of the signal, the seconds from the first iteration.
        """
        resume = ['--resume'] * any(place.glob('*.pth'))
        command = [*self._command(variant), *self._arguments(variant)]
        command += ['--work-dir', str(place), *resume]
        before, log = _rows(place), open(f'{place}.log', 'ab')
        with (
            log,
            subprocess.Popen(
                command, cwd=self.folder, env=_variables(), stdout=log, stderr=log
            ) as process,
        ):
            begin = time.monotonic()
            while process.poll() is None and not early and _rows(place) == before:
                time.sleep(0.02)
                if time.monotonic() - begin > LIMIT:
                    process.kill()
            begin, kill = time.monotonic(), {}
            try:
                process.wait(timeout=wait)
            except subprocess.TimeoutExpired:
                _send(getattr(signal, name or 'SIGKILL'), process.pid, VARIANTS[variant][1])
                begin = time.monotonic()
                process.wait(timeout=SLOWEST)
                took = round(time.monotonic() - begin, 2)
                rows = _rows(place)
                if process.returncode:  # else it had come to its end
                    kill = dict(signal=name, rows=rows, seconds=took, status=process.returncode)
            seconds, status = time.monotonic() - begin, process.returncode
        if status not in (0, *_statuses(name)):
            raise RecipeError(f'a run ended with status {status}, see {place}.log')
        return status == 0, kill, seconds

    def _command(self, variant: int) -> list[str]:
        """What is like tools/train.py, or tools/dist_train.sh for several processes."""
        processes = VARIANTS[variant][1]
        if processes == 1:
            return [sys.executable, '-c', PROGRAM]
        script = self.folder / 'train.py'
        script.write_text(PROGRAM + '\n')
        return [sys.executable, '-c', LAUNCH, str(script), str(processes)]

    def _arguments(self, variant: int) -> list[str]:
        """Those of tools/train.py; its config is written to the folder."""
        task, processes, workers, more = VARIANTS[variant]
        name, *options = TASKS[task]
        base = next(path for path in shipped_configs() if path.name == name)
        lines = [f'_base_ = {str(base.resolve())!r}']
        if more:
            lines.append("custom_hooks = [dict(type='EMAHook', momentum=0.01)]")
            lines.append('optim_wrapper = dict(accumulative_counts=3)')
        file = self.folder / f'variant_{variant}.py'
        file.write_text('\n'.join(lines) + '\n')
        for loader in ('train_dataloader', 'val_dataloader'):
            options.append(f'{loader}.num_workers={workers}')
            options.append(f'{loader}.persistent_workers={workers > 0}')
        fast = ['--toy', '--save-minutes', MINUTES]
        fast += ['--launcher', 'pytorch'] * (processes > 1)
        return [str(file), *fast, '--cfg-options', *COMMON, *options]

    def _save(self) -> None:
        with atomic_path(self.file) as part:
            part.write_text(json.dumps(self.record, indent=1))

    def table(self) -> str:
        """A row for each variant: runs, kills by signal, slowest end, and whether all are equal."""
        line = '{:71} {:>4} {:>5} ' + ' {:>7}' * len(SIGNALS) + ' {:>9} {:>6}'
        rows = [line.format('', 'runs', 'kills', *SIGNALS, 'slowest', 'equal')]
        for variant in range(len(VARIANTS)):
            runs = [r for r in self.record['runs'] if r['variant'] == variant and 'equal' in r]
            kills = [kill for run in runs for kill in run['kills']]
            counts = Counter(kill['signal'] for kill in kills)
            slowest = max((kill['seconds'] for kill in kills), default=0)
            equal = f'{sum(run["equal"] for run in runs)}/{len(runs)}'
            by_signal = [counts[name] for name in SIGNALS]
            cells = (len(runs), len(kills), *by_signal, f'{slowest:.1f} s', equal)
            rows.append(line.format(named(variant), *cells))
        return '\n'.join(rows)


def named(variant: int) -> str:
    """What a variant is."""
    task, processes, workers, more = VARIANTS[variant]
    several = f', {processes} processes' * (processes > 1)
    return f'{task}{several}, {workers} workers' + ', EMA, steps over 3' * more


def differences(one: object, two: object, where: str = '') -> list[str]:
    """The places below two checkpoints whose values are not bitwise equal."""
    if isinstance(one, dict) and isinstance(two, dict):
        keys = {**one, **two}
        return [f for k in keys for f in differences(one.get(k), two.get(k), f'{where}.{k}')]
    if isinstance(one, (list, tuple)) and isinstance(two, (list, tuple)) and len(one) == len(two):
        pairs = enumerate(zip(one, two))
        return [found for i, pair in pairs for found in differences(*pair, f'{where}.{i}')]
    if isinstance(one, torch.Tensor) and isinstance(two, torch.Tensor):
        same = one.dtype == two.dtype and torch.equal(one, two)
    else:
        same = one == two
    return [] if same else [where.lstrip('.')]


def _content(place: Path) -> dict:
    """What must be equal of the last checkpoint of a run."""
    content = torch_load(Path((place / 'last_checkpoint').read_text()), 'cpu')
    keys = ('state_dict', 'ema_state_dict', 'optimizer', 'param_schedulers')
    return {key: content[key] for key in keys if key in content}


def _rows(place: Path) -> int:
    """The iterations that were logged below a work dir, by all starts."""
    return sum(file.read_bytes().count(b'"loss"') for file in place.glob('*/vis_data/scalars.json'))


def _send(number: int, process: int, processes: int) -> None:
    """Signal a run; of several processes SIGKILL hits one, and the launcher ends the others."""
    if number == signal.SIGKILL and processes > 1:
        found = subprocess.run(['pgrep', '-P', str(process)], capture_output=True, text=True)
        process = int((found.stdout.split() or [process])[-1])
    os.kill(process, number)


def _statuses(name: str) -> tuple[int, ...]:
    """How a process ends by a signal: as shells say, or killed, as Popen says."""
    number = getattr(signal, name) if name else 0
    return (128 + number, -number) if number else ()


def _variables() -> dict[str, str]:
    root = str(Path(__file__).resolve().parents[2])
    return {**os.environ, 'PYTHONPATH': root, 'OMP_NUM_THREADS': '1'}
