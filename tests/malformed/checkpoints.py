# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Files of weights: damaged, of other kinds, or made to run code or to fill the memory."""

import io
import json
import os
import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save
from torch import nn

from malformed import Case

TENSORS = {'a': torch.arange(4000.0), 'b': torch.ones(3)}


class Runs:
    """Pickled as a call, which unpickling makes."""

    def __init__(self, function: object, *arguments: object) -> None:
        self.parts = function, arguments

    def __reduce__(self) -> tuple:
        return self.parts


TOUCH = Runs(os.system, 'touch ran')


def saved(content: object, zipped=True) -> bytes:
    with io.BytesIO() as file:
        torch.save(content, file, _use_new_zipfile_serialization=zipped)
        return file.getvalue()


def in_zip(files: dict, method=zipfile.ZIP_STORED) -> bytes:
    with io.BytesIO() as file:
        with zipfile.ZipFile(file, 'w', method) as archive:
            for name, content in files.items():
                archive.writestr(name, content)
        return file.getvalue()


def script(folder: Path) -> bytes:
    torch.jit.script(nn.Linear(2, 2)).save(str(folder / 'x.pt'))
    return (folder / 'x.pt').read_bytes()


def objects(folder: Path) -> bytes:
    """An .npz with a pickled object."""
    np.savez(folder / 'x.npz', a=np.array([TOUCH], dtype=object))
    return (folder / 'x.npz').read_bytes()


def header(content: object) -> bytes:
    """A safetensors file of this header."""
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    return struct.pack('<Q', len(text)) + text + bytes(64)


def index(files: object) -> bytes:
    return json.dumps({'weight_map': files}).encode()


PLAIN, LEGACY, SAFE = saved(TENSORS), saved(TENSORS, False), save(TENSORS)
NO_CHECKPOINT = 'is not a checkpoint: it begins with'
DAMAGED, BAD_HEADER = 'is (damaged or )?truncated', 'is a damaged or truncated safetensors file: '
UNSAFE = 'is not safe to read and was not read: it holds '
ARRAY = {'dtype': 'F32', 'shape': [4], 'data_offsets': [0, 16]}
CASES = {
    'empty': Case(b'', r'is empty \(0 bytes\)'),
    'text': Case(b'hello', NO_CHECKPOINT),
    'zeros': Case(bytes(999), NO_CHECKPOINT),
    'web page': Case(b' <!DOCTYPE html><html>', 'is a web page, not weights: the server answered'),
    'XML error': Case(b'<?xml version="1.0"?><Error/>', 'is a web page, not weights'),
    'LFS pointer': Case(b'version https://git-lfs.github.com/spec/v1', 'is a Git LFS pointer'),
    'gzip': Case(b'\x1f\x8b\x08', NO_CHECKPOINT),
    'tar': Case(b'a.pth' + bytes(600), NO_CHECKPOINT),
    'ONNX': Case(b'\x08\x07\x12\x07pytorch', NO_CHECKPOINT),
    'HDF5': Case(b'\x89HDF\r\n\x1a\n', NO_CHECKPOINT),
    'zip cut off': Case(PLAIN[: len(PLAIN) // 2], DAMAGED),
    'beginning of a zip': Case(b'PK\3\4', DAMAGED),
    'zip of images': Case(in_zip({'a.png': b'x'}), DAMAGED),
    'old file cut off': Case(LEGACY[: len(LEGACY) // 2], DAMAGED),
    'beginning of an old file': Case(LEGACY[:9], DAMAGED),
    'safetensors cut off': Case(SAFE[: len(SAFE) // 2], BAD_HEADER),
    'safetensors header cut off': Case(SAFE[:20], BAD_HEADER),
    'safetensors without JSON': Case(header(b'{"a": '), BAD_HEADER),
    'safetensors of an unknown type': Case(header({'a': {**ARRAY, 'dtype': 'X'}}), BAD_HEADER),
    'safetensors beyond its end': Case(
        header({'a': {**ARRAY, 'data_offsets': [0, 999]}}), BAD_HEADER
    ),
    'safetensors of another shape': Case(header({'a': {**ARRAY, 'shape': [5]}}), BAD_HEADER),
    'safetensors of a huge shape': Case(
        header({'a': {**ARRAY, 'shape': [2**40, 2**40]}}), BAD_HEADER
    ),
    'JSON': Case(b'{"a": 1}', 'is JSON, but not the index of a sharded checkpoint'),
    'JSON nested deeply': Case(b'{"a": ' + b'[' * 100_000, 'is JSON, but not the index'),
    'index of numbers': Case(index({'a': 1}), "lists '1', which is not in its folder"),
    'index is a list': Case(index([1]), 'is JSON, but not the index'),
    'index of a missing file': Case(
        index({'a': 'gone.bin'}), "lists 'gone.bin', which is not in its"
    ),
    'index of a file elsewhere': Case(
        index({'a': '../../a.pth'}), r"lists '\.\./\.\./a\.pth', which"
    ),
    'index of /etc/passwd': Case(
        index({'a': '/etc/passwd'}), "lists '/etc/passwd', which is not in"
    ),
    'index of itself': Case(index({'a': 'a.pth'}), NO_CHECKPOINT),
    'TorchScript': Case(script, 'is a TorchScript program, not a checkpoint; save its state_dict'),
    'numpy archive': Case(objects, DAMAGED),
    'zip bomb': Case(
        in_zip({'a/data.pkl': pickle.dumps(bytes(10**7), 2)}, zipfile.ZIP_DEFLATED),
        'it has .* bytes, but 10,.* unpacked',
    ),
    'a model': Case(saved(nn.Linear(2, 2)), UNSAFE + r'torch\.nn\.modules\.linear\.Linear, which'),
    'a command': Case(saved({'state_dict': TENSORS, 'meta': TOUCH}), UNSAFE + r'posix\.system'),
    'a command in an old file': Case(saved({'a': TOUCH}, False), UNSAFE + r'posix\.system'),
    'a command in a bare pickle': Case(
        pickle.dumps({'a': TOUCH}, 2), UNSAFE + r'posix\.system|damaged'
    ),
    'a command in an optimizer': Case(
        saved({'state_dict': TENSORS, 'optimizer': {'state': {0: {'exp_avg': TOUCH}}}}),
        UNSAFE + r'posix\.system',
    ),
    'a command in a message hub': Case(
        saved({'message_hub': {'log_scalars': {'loss': TOUCH}}}), UNSAFE + r'posix\.system'
    ),
    'a command in an array': Case(
        saved({'a': np.array([TOUCH], dtype=object)}), r"numpy\.dtype\('O8'"
    ),
    'eval': Case(saved({'a': Runs(eval, "open('ran', 'w')")}), UNSAFE + 'eval, which'),
    'import': Case(saved({'a': Runs(__import__, 'this')}), UNSAFE + '__import__, which'),
    'getattr': Case(saved({'a': Runs(getattr, 'a', 'format')}), r"getattr\('a', 'format'\)"),
    'torch.load': Case(
        saved({'a': Runs(torch.load, 'b.pth')}), UNSAFE + r'torch\.serialization\.load'
    ),
    'numpy.load': Case(saved({'a': Runs(np.load, 'b.npy')}), UNSAFE + r'numpy\.load'),
    'a name': Case(saved({'a': os.remove}), UNSAFE + r'posix\.remove'),
}
