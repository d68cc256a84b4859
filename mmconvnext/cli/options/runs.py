# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Options of training and evaluation; spelt as in mmdet and mmseg."""

from __future__ import annotations

import argparse


def train_parser() -> argparse.ArgumentParser:
    """Options of ``tools/train.py``."""
    parser = argparse.ArgumentParser(
        description='Train a detector (mmdet) or a segmentor (mmseg).',
        epilog='Example: python tools/train.py CONFIG --toy runs any supported recipe on toy data '
        'within minutes on a CPU.',
    )
    parser.add_argument('config', help='config file, such as configs/mask_rcnn/....py')
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='CHECKPOINT',
        help='continue the run in the work dir from its last checkpoint, or from CHECKPOINT; '
        'without this option, a work dir that holds checkpoints is refused',
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
    _add_common(parser)
    return parser


def test_parser() -> argparse.ArgumentParser:
    """Options of ``tools/test.py``."""
    parser = argparse.ArgumentParser(
        description='Evaluate a detector (mmdet) or a segmentor (mmseg) on its test data.',
        epilog='Example: python tools/test.py CONFIG mask-rcnn_convnext-tiny_coco --show-dir drawn',
    )
    parser.add_argument('config', help='config file, such as configs/mask_rcnn/....py')
    parser.add_argument(
        'checkpoint', help='file, URL or short name (tools/list_weights.py lists the names)'
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
        help='draw the predictions into this folder, new or empty (default: not drawn)',
    )
    parser.add_argument(
        '--tta',
        action='store_true',
        help="use the recipe's test-time augmentation (UPerNet: several scales and flips)",
    )
    _add_common(parser)
    return parser


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--work-dir',
        metavar='FOLDER',
        help="folder for logs and checkpoints (default: the config's work_dir, else "
        'work_dirs/<config>; tests use its subfolder test)',
    )
    add_toy(parser)
    add_lenient(parser)
    add_cfg_options(parser)
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


def _pair(text: str) -> str:
    if '=' not in text:
        raise argparse.ArgumentTypeError(f'{text!r} is not KEY=VALUE, such as randomness.seed=1')
    return text
