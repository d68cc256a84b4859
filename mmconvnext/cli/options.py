# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Command-line options, spelt as in mmdet's and mmseg's own tools."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence

from mmengine.config import DictAction

# What no option holds stands for a space while mmengine reads the value.
SPACE = '\0'


class KeepSpaces(DictAction):
    """mmengine's ``KEY=VALUE`` pairs, but spaces stay where they belong to a name or a path.

    mmengine drops all of them: ``data_root="my data"`` becomes ``mydata``. Around a value, a comma
    and inside brackets they are dropped here too.
    """

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Sequence[str],
        option_string: str | None = None,
    ) -> None:
        """Add the pairs to those of earlier options of this name."""
        values = [_hide_spaces(value) for value in values]
        super().__call__(parser, namespace, values, option_string)
        setattr(namespace, self.dest, _show_spaces(getattr(namespace, self.dest)))


def _hide_spaces(pair: str) -> str:
    key, sign, value = pair.partition('=')
    value = value.strip(' ')
    if ',' in value or value.startswith(('[', '(')):
        value = re.sub(r' *(,) *|([\[(]) +| +(?=[\])])', r'\1\2', value)
    return key + sign + value.replace(' ', SPACE)


def _show_spaces(value: object) -> object:
    if isinstance(value, dict):
        return {key: _show_spaces(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(map(_show_spaces, value))
    return value.replace(SPACE, ' ') if isinstance(value, str) else value


def train_parser() -> argparse.ArgumentParser:
    """Options of ``tools/train.py``."""
    parser = argparse.ArgumentParser(description='Train a detector or a segmentor.')
    parser.add_argument('config', help='config file, such as configs/mask_rcnn/...')
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        help='continue the run in the work dir from its last checkpoint, or from the given one',
    )
    parser.add_argument('--amp', action='store_true', help='mixed precision, also where it is off')
    parser.add_argument(
        '--auto-scale-lr',
        action='store_true',
        help="scale learning rates by this run's batch size over the recipe's",
    )
    _add_common(parser)
    return parser


def test_parser() -> argparse.ArgumentParser:
    """Options of ``tools/test.py``."""
    parser = argparse.ArgumentParser(description='Evaluate a detector or a segmentor.')
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint file, path or URL')
    parser.add_argument(
        '--out',
        help='save the predictions: a .pkl file (detection) or a folder of label maps '
        '(segmentation)',
    )
    parser.add_argument('--show-dir', help='draw the predictions into this folder')
    parser.add_argument(
        '--tta', action='store_true', help="the recipe's test-time augmentation (UPerNet: ms+flip)"
    )
    _add_common(parser)
    return parser


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--work-dir', help='logs and checkpoints; work_dirs/<config> by default')
    parser.add_argument(
        '--toy', action='store_true', help='rehearse on toy data: minutes on a CPU, same recipe'
    )
    parser.add_argument(
        '--lenient',
        action='store_true',
        help='load what fits of a checkpoint that does not fill the model; lenient_loading = True '
        'in the config does the same',
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=KeepSpaces,
        metavar='KEY=VALUE',
        help='settings of the config to change, such as train_dataloader.batch_size=4',
    )
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none')
    # torch.distributed.launch passes it; torchrun sets the environment instead.
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)
