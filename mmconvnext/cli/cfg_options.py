# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Reads the values of ``--cfg-options`` as mmengine does, but keeps their spaces."""

from __future__ import annotations

import argparse
import re

from mmengine.config import DictAction

# Stands for a space while mmengine reads the value; no command line can hold this character.
SPACE = '\0'


def read_cfg_options(pairs: list[str] | None) -> dict[str, object]:
    """Turn ``KEY=VALUE`` pairs into a dict of Python values; the last value of a key wins.

    mmengine drops all spaces: ``data_root="my data"`` becomes ``mydata``. Here spaces inside a name
    or a path stay; those around a value, around a comma and next to a bracket are dropped.
    """
    if not pairs:
        return {}
    read = argparse.Namespace()
    pairs = [_hide_spaces(pair) for pair in pairs]
    DictAction(['--cfg-options'], 'options')(argparse.ArgumentParser(), read, pairs)
    return _show_spaces(read.options)


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
