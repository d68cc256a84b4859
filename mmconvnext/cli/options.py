# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Command-line options of the tools; those of train and test are spelt as in mmdet and mmseg.

This file only imports the standard library: ``tools/_start.py`` loads it before the package, so
that ``--help`` and wrong options need no torch.
"""

from __future__ import annotations

import argparse

# Formats of converted weights; a test compares them with mmconvnext/checkpoint.
TARGETS = ('native', 'meta', 'mmpretrain', 'timm', 'hf')


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


def convert_parser() -> argparse.ArgumentParser:
    """Options of ``tools/convert_checkpoint.py``."""
    parser = argparse.ArgumentParser(
        description="Rename a ConvNeXt's weights to another format, alone or inside a detector.",
        epilog='Example: python tools/convert_checkpoint.py work_dirs/run/epoch_36.pth '
        'backbone.safetensors --to timm --backbone-only --drop-norms',
    )
    parser.add_argument('source', help='file, URL or short name, in any published format')
    parser.add_argument('destination', help='.pth, .pt, .bin or .safetensors; must not exist')
    parser.add_argument(
        '--to', choices=TARGETS, required=True, help="format to write; native: this package's names"
    )
    parser.add_argument(
        '--backbone-only',
        action='store_true',
        help='write the backbone without neck and heads (default: the whole model)',
    )
    parser.add_argument(
        '--drop-optimizer',
        action='store_true',
        help='leave out what only training needs: optimizer, schedulers, logs (default: kept)',
    )
    parser.add_argument(
        '--publish',
        action='store_true',
        help="like --drop-optimizer, and append the first 8 digits of the file's SHA-256 to its "
        'name',
    )
    parser.add_argument(
        '--drop-norms',
        action='store_true',
        help='leave out the norms of the returned maps, for formats without them, such as timm '
        '(default: an error for these)',
    )
    parser.add_argument(
        '--prefix',
        help='prefix of the network to convert if the file holds several, such as teacher.',
    )
    parser.add_argument(
        '--envelope',
        metavar='KEY',
        help='key of the weights to convert if the file holds several sets, such as ema_state_dict',
    )
    return parser


def migrate_parser() -> argparse.ArgumentParser:
    """Options of ``tools/migrate_config.py``."""
    parser = argparse.ArgumentParser(
        description="Rewrite a config with mmpretrain's, mmcls's, Meta's or timm's ConvNeXt for "
        'this package. The report says what changed, what was lost, and whether parameters and '
        'learning rates are equal.',
        epilog='Example: python tools/migrate_config.py '
        'mmdet::convnext/mask-rcnn_convnext-t-p4-w7_fpn_amp-ms-crop-3x_coco.py -o mine.py',
    )
    parser.add_argument(
        'config', help="config of mmdet 2 or 3, or mmseg 0.x or 1.x; 'mmdet::...' for shipped ones"
    )
    parser.add_argument(
        '-o',
        '--out',
        metavar='FILE',
        help='file to write, which must not exist (default: print the config)',
    )
    parser.add_argument(
        '--bases',
        nargs='+',
        default=[],
        metavar='FOLDER',
        help="more folders to search for missing _base_ files, such as mmdet 2's configs "
        'folder (default: none)',
    )
    return parser


def weights_parser() -> argparse.ArgumentParser:
    """Options of ``tools/list_weights.py``."""
    parser = argparse.ArgumentParser(
        description='List the published ConvNeXt weights with the short names that configs and '
        'tools accept. V2 weights are CC-BY-NC-4.0: no commercial use. '
        'mmconvnext/checkpoint/zoo.py explains the columns and names the sources.',
        epilog='Example: python tools/list_weights.py v2-base',
    )
    parser.add_argument(
        'pattern', nargs='?', default='', help='list only names that contain this (default: all)'
    )
    parser.add_argument('--urls', action='store_true', help='add a column with the URLs')
    return parser


def demo_parser() -> argparse.ArgumentParser:
    """``tools/demo.py`` has no options."""
    return argparse.ArgumentParser(
        description='Write toy data, train a small Mask R-CNN with ConvNeXt on it, evaluate it and '
        'draw its predictions; a few minutes on a CPU. Each run gets its own folder below '
        'work_dirs/demo.'
    )


def doctor_parser() -> argparse.ArgumentParser:
    """Options of ``tools/doctor.py``."""
    parser = argparse.ArgumentParser(
        description='Look at versions, compiled operators, kernels and GPU, and say what mends '
        'each fault. Exit status 1 if something is wrong.',
    )
    parser.add_argument('--json', action='store_true', help='print the findings as JSON')
    return parser


PARSERS = {
    'train': train_parser,
    'test': test_parser,
    'convert': convert_parser,
    'migrate': migrate_parser,
    'list_weights': weights_parser,
    'demo': demo_parser,
    'doctor': doctor_parser,
}


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--work-dir',
        metavar='FOLDER',
        help="folder for logs and checkpoints (default: the config's work_dir, else "
        'work_dirs/<config>; tests use its subfolder test)',
    )
    parser.add_argument(
        '--toy',
        action='store_true',
        help='rehearse the recipe on toy data with a smaller model: minutes on a CPU',
    )
    parser.add_argument(
        '--lenient',
        action='store_true',
        help='load what fits if the checkpoint does not fill the model (default: an error); the '
        'same as lenient_loading = True in the config',
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action='extend',
        type=_pair,
        metavar='KEY=VALUE',
        help='change settings of the config, such as train_dataloader.batch_size=4 '
        "'own_data.classes=[cat, dog]'",
    )
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
        help='how the processes were started (default: none, a single process); tools/dist_*.sh '
        'and tools/slurm_train.sh set it',
    )
    # torch.distributed.launch passes it; torchrun sets the environment instead.
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)


def _pair(text: str) -> str:
    if '=' not in text:
        raise argparse.ArgumentTypeError(f'{text!r} is not KEY=VALUE, such as randomness.seed=1')
    return text
