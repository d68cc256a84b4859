# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Options of the tools for weights and for configs of other packages."""

from __future__ import annotations

import argparse

# Formats of converted weights; a test compares them with mmconvnext/checkpoint.
TARGETS = ('native', 'meta', 'mmpretrain', 'timm', 'hf')


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
