# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Options of the demo and of the look at the environment."""

from __future__ import annotations

import argparse


def demo_parser() -> argparse.ArgumentParser:
    """Options of ``tools/demo.py``."""
    parser = argparse.ArgumentParser(
        description='Write toy data, train a small model with ConvNeXt on it, evaluate it and draw '
        'its predictions; a few minutes on a CPU. Each run gets its own folder below '
        'work_dirs/demo.'
    )
    parser.add_argument(
        '--task',
        choices=('instance', 'semantic'),
        default='instance',
        help='a Mask R-CNN for boxes and masks, or a segmentor (default: instance)',
    )
    return parser


def doctor_parser() -> argparse.ArgumentParser:
    """Options of ``tools/doctor.py``."""
    parser = argparse.ArgumentParser(
        description='Look at versions, compiled operators, kernels and GPU, and say what mends '
        'each fault. Exit status 1 if something is wrong.',
    )
    parser.add_argument('--json', action='store_true', help='print the findings as JSON')
    return parser
