# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Options of training and evaluation; spelt as in mmdet and mmseg."""

from __future__ import annotations

import argparse

from .values import path


def train_parser(add_help: bool = True) -> argparse.ArgumentParser:
    """Options of ``tools/train.py``; without help as a parent of other parsers."""
    parser = argparse.ArgumentParser(
        add_help=add_help,
        description='Train a detector (mmdet) or a segmentor (mmseg).',
        epilog='Example: python tools/train.py CONFIG --toy runs any supported recipe on toy data '
        'within minutes on a CPU.',
    )
    parser.add_argument('config', type=path, help='config file, such as configs/mask_rcnn/....py')
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='CHECKPOINT',
        help='continue the run in the work dir from its last checkpoint, or from CHECKPOINT; '
        'if-any: begin if there is none, for jobs that are started again; '
        'without this option, a work dir that holds checkpoints is refused',
    )
    parser.add_argument(
        '--save-minutes',
        type=_minutes,
        default=30,
        metavar='N',
        help='save a checkpoint to continue from whenever the last one is N minutes old, besides '
        'those of the config; 0: never (default: 30)',
    )
    parser.add_argument(
        '--on-bad-numbers',
        choices=['stop', 'skip'],
        help='what to do when a loss or a gradient is NaN or inf: stop before the step, with a '
        'dump that tools/repeat_step.py computes again; or leave the step out, at most 10 in a row '
        "and 100 in total (default: the config's on_bad_numbers, else stop)",
    )
    parser.add_argument(
        '--on-bad-data',
        choices=['stop', 'skip'],
        help='when an image or its labels cannot be used in the middle of the training: stop with '
        'its name (the default), or put another sample in its place and list it in bad_data.txt; '
        'the same as on_bad_data in the config. In a validation it always stops',
    )
    parser.add_argument(
        '--amp',
        action='store_true',
        help="train in mixed precision (default: the config's setting)",
    )
    parser.add_argument(
        '--auto-scale-lr',
        action='store_true',
        help="multiply the learning rates by the ratio of this total batch size to the recipe's "
        '(default: unchanged, with a hint if the batch sizes differ)',
    )
    parser.add_argument(
        '--tensorboard',
        action='store_true',
        help='also log for TensorBoard, into the work dir; needs: pip install tensorboard',
    )
    parser.add_argument(
        '--wandb',
        nargs='?',
        const='mmconvnext',
        metavar='PROJECT',
        help='also log to Weights & Biases, into PROJECT (mmconvnext); needs: pip install wandb, '
        'and `wandb login` or WANDB_MODE=offline',
    )
    _add_common(parser)
    return parser


def test_parser() -> argparse.ArgumentParser:
    """Options of ``tools/test.py``."""
    parser = argparse.ArgumentParser(
        description='Evaluate a detector (mmdet) or a segmentor (mmseg) on its test data.',
        epilog='Example: python tools/test.py CONFIG mask-rcnn_convnext-tiny_coco --show-dir drawn',
    )
    parser.add_argument('config', type=path, help='config file, or the folder of a run')
    parser.add_argument(
        'checkpoint',
        help='file, URL or short name (tools/list_weights.py lists the names); of the folder of a '
        'run the best, else the last',
    )
    parser.add_argument(
        '--out',
        metavar='PATH',
        help='save the predictions: a .pkl file for a detector, a folder of label maps for a '
        'segmentor; must not exist (default: not saved)',
    )
    parser.add_argument(
        '--show-dir',
        metavar='FOLDER',
        help="draw the predictions with mmdet's or mmseg's visualizer into this folder, new or "
        'empty (default: not drawn); tools/analyze.py draws the worst mistakes beside the truth, '
        'tools/predict.py the predictions alone',
    )
    parser.add_argument(
        '--tta',
        action='store_true',
        help="use the recipe's test-time augmentation (UPerNet: several scales and flips)",
    )
    _add_common(parser)
    return parser


def check_parser() -> argparse.ArgumentParser:
    """Options of ``tools/check_config.py``: those of training, and how thorough to be."""
    parser = argparse.ArgumentParser(
        description='Do all that tools/train.py does before it trains, and more: read the data and '
        'samples, build the model, measure a few steps, and estimate memory, time and disk. '
        'Nothing is written. Exit status 0: sound; 1: warnings, with --strict; 2: refused.',
        epilog='Example: python tools/check_config.py my.py --cfg-options '
        'train_dataloader.batch_size=4',
        parents=[train_parser(add_help=False)],
    )
    parser.add_argument('--json', action='store_true', help='print the report as JSON')
    parser.add_argument(
        '--strict', action='store_true', help='exit with status 1 if there are warnings'
    )
    parser.add_argument(
        '--samples',
        type=_number(1),
        default=8,
        metavar='N',
        help='training samples to read, spread over the data (default: 8)',
    )
    parser.add_argument(
        '--steps',
        type=_number(0),
        default=5,
        metavar='N',
        help='training steps to measure, for at most a minute; 0 leaves time and memory out '
        '(default: 5)',
    )
    return parser


def repeat_parser() -> argparse.ArgumentParser:
    """Options of ``tools/repeat_step.py``."""
    parser = argparse.ArgumentParser(
        description='Compute a step again whose loss or gradient was NaN or inf, and say where '
        'that begins. Exit status 0: it came again; 1: all numbers are finite here.',
        epilog='Example: python tools/repeat_step.py '
        'work_dirs/CONFIG/bad_numbers/iter_120_rank_0.pth',
    )
    parser.add_argument('dump', type=path, help='what tools/train.py wrote when it stopped')
    parser.add_argument(
        '--config',
        type=path,
        metavar='CONFIG',
        help='the config (default: that in the folder of the run)',
    )
    add_config_only_data(parser)
    return parser


def soak_parser() -> argparse.ArgumentParser:
    """Options of ``tools/soak.py``."""
    parser = argparse.ArgumentParser(
        description='Kill toy runs at random moments with SIGTERM, SIGUSR1, SIGINT and SIGKILL, '
        'resume them, and compare their ends bitwise with undisturbed runs. Called again, it goes '
        'on with the record.',
        epilog='Example: python tools/soak.py --kills 50 --out soak',
    )
    parser.add_argument(
        '--out',
        default='work_dirs/soak',
        metavar='FOLDER',
        help='folder of the runs and of record.json (default: work_dirs/soak)',
    )
    parser.add_argument(
        '--kills', type=_number(1), default=50, metavar='N', help='how often (default: 50)'
    )
    parser.add_argument(
        '--seed', type=_number(0), default=0, metavar='N', help='of the moments (default: 0)'
    )
    return parser


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--work-dir',
        type=path,
        metavar='FOLDER',
        help="folder for logs and checkpoints (default: the config's work_dir, else "
        'work_dirs/<config>; tests use its subfolder test)',
    )
    add_toy(parser)
    add_lenient(parser)
    add_cfg_options(parser)
    add_config_only_data(parser)
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
        help='how the processes were started (default: none, a single process); tools/dist_*.sh '
        'and tools/slurm_train.sh set it',
    )
    # torch.distributed.launch passes it; torchrun sets the environment instead.
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)


def add_toy(parser: argparse.ArgumentParser) -> None:
    """Add ``--toy``."""
    parser.add_argument(
        '--toy',
        action='store_true',
        help='rehearse the recipe on toy data with a smaller model: minutes on a CPU',
    )


def add_lenient(parser: argparse.ArgumentParser) -> None:
    """Add ``--lenient``."""
    parser.add_argument(
        '--lenient',
        action='store_true',
        help='load what fits if the checkpoint does not fill the model (default: an error); the '
        'same as lenient_loading = True in the config',
    )


def add_cfg_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--cfg-options``."""
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action='extend',
        type=_pair,
        metavar='KEY=VALUE',
        help='change settings of the config, such as train_dataloader.batch_size=4 '
        "'own_data.classes=[cat, dog]'",
    )


def add_config_only_data(parser: argparse.ArgumentParser) -> None:
    """Add ``--config-only-data``."""
    parser.add_argument(
        '--config-only-data',
        action='store_true',
        help='read the config without running it, and refuse one that is more than data: for a '
        'config that you do not trust, such as one dumped into the work dir of another person',
    )


def _pair(text: str) -> str:
    if '=' not in text:
        raise argparse.ArgumentTypeError(f'{text!r} is not KEY=VALUE, such as randomness.seed=1')
    return text


def _minutes(text: str) -> float:
    try:
        minutes = float(text)
    except ValueError:
        minutes = -1
    if not 0 <= minutes < float('inf'):
        raise argparse.ArgumentTypeError(f'{text!r} is no number of minutes from 0 on')
    return minutes


def _number(least: int):
    def read(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f'{text!r} is no whole number from {least} on')
        return int(text)

    return read
