# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""The text of a config, read as data only."""

from pathlib import Path

import mmdet.models  # noqa: F401 (imports matplotlib, which starts fc-list)
import mmseg.models  # noqa: F401

from mmconvnext.recipe.data_config import read_data
from mmconvnext.recipe.errors import RecipeError

TEXT = b"""
default_scope = 'mmdet'
model = dict(type='MaskRCNN', backbone=dict(type='mmconvnext.ConvNeXt', out=(1, [2.5, -inf])))
keys = dict({'a.b': dict(lr_mult=float('nan'))}, c=None)
custom_imports = dict(imports=['mmconvnext'])
"""
SEEDS = [b'\0' + TEXT, b"\0type = 'os.system'\nm = dict(type='torch.load')", b'\0import os']
SEEDS += [b'\1{"a": {"type": "FPN", "b": [1, {}]}}', b'\2a: &a !!python/name:os.system [x, *a]']


def run(data: bytes, folder: Path) -> None:
    suffix = ('.py', '.json', '.yaml')[data[0] % 3 if data else 0]
    file = folder / f'a{suffix}'
    file.write_bytes(data[1:])
    try:
        read_data(file)
    except RecipeError as error:
        assert str(error).startswith(str(file))
