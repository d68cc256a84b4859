# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""A file of weights: read, or a CheckpointError; never code that it names."""

import io
import json
import pickle
import warnings
import zipfile
from datetime import datetime
from pathlib import Path

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from safetensors.torch import save

from mmconvnext.checkpoint.checkpoint_key import unwrap
from mmconvnext.checkpoint.errors import CheckpointError
from mmconvnext.checkpoint.read import read_checkpoint

CONTENT = {
    'state_dict': {'norm.weight': torch.arange(3.0)},
    'meta': dict(time=datetime(2026, 1, 2), scores=np.arange(4), path=Path('a')),
    'message_hub': dict(loss=HistoryBuffer([1, 2], [1, 1])),
}


def _saved(zipped: bool) -> bytes:
    with io.BytesIO() as file:
        torch.save(CONTENT, file, _use_new_zipfile_serialization=zipped)
        return file.getvalue()


def _pickled() -> bytes:
    with zipfile.ZipFile(io.BytesIO(_saved(True))) as archive:
        name = next(name for name in archive.namelist() if name.endswith('data.pkl'))
        return archive.read(name)


TENSORS = {'a': torch.arange(4.0), 'b.c': torch.zeros(2, 3, dtype=torch.int8)}
INDEX = json.dumps({'weight_map': {'a': '1.safetensors', 'b.c': '1.safetensors'}}).encode()
EVIL = b"cos\nsystem\n(S'false'\ntR."
SEEDS = [b'\0' + _saved(True), b'\0' + _saved(False), b'\0' + save(TENSORS), b'\0' + INDEX]
SEEDS += [b'\1' + _pickled(), b'\1' + EVIL, b'\1' + pickle.dumps({'a': [1, (2.5, 'b')]}, 2)]
SEEDS += [b'\0' + EVIL, b'\0' + pickle.dumps(CONTENT['meta']['scores'])]


def run(data: bytes, folder: Path) -> None:
    """Bytes of a file; after a 1 those of the pickle in a sound zip file."""
    (folder / '1.safetensors').write_bytes(save(TENSORS))
    file = folder / 'a.pth'
    file.write_bytes(_zipped(data[1:]) if data[:1] == b'\1' else data[1:])
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # torch's, of old storages
        try:
            unwrap(read_checkpoint(file))
        except CheckpointError as error:
            assert str(error)


def _zipped(pickled: bytes) -> bytes:
    with io.BytesIO() as file:
        with zipfile.ZipFile(file, 'w') as archive:
            archive.writestr('a/data.pkl', pickled)
            archive.writestr('a/byteorder', 'little')
            for i in range(3):
                archive.writestr(f'a/data/{i}', bytes(range(64)))
            archive.writestr('a/version', '3\n')
        return file.getvalue()
