# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Fixtures for tests of checkpoints: a web server, an empty cache, files that would run code."""

import os
import socket
import struct
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import mmengine.runner.checkpoint as mmengine_checkpoint
import pytest
import torch
from mmengine.fileio.backends.registry_utils import backends, prefix_to_backends
from mmengine.logging import HistoryBuffer
from mmengine.runner.checkpoint import CheckpointLoader
from torch.torch_version import TorchVersion

from mmconvnext.checkpoint.mmengine_io import install


def state() -> dict:
    """The tables that mmengine reads and writes checkpoints with; copies, if mutable."""
    names = {k: v for k, v in vars(mmengine_checkpoint).items() if k != '__warningregistry__'}
    schemes = CheckpointLoader._schemes.copy()
    return dict(
        names=names, schemes=schemes, local=backends['local'], prefixes={**prefix_to_backends}
    )


@pytest.fixture
def mmengine_state():
    """The function ``state``."""
    return state


UNTOUCHED = state()  # at collection, before any test runs a tool


@pytest.fixture
def untouched():
    """The ``state`` of mmengine without ``install``."""
    return UNTOUCHED


@pytest.fixture
def alone(monkeypatch):
    """mmengine without ``install``, for one test."""
    monkeypatch.setattr(CheckpointLoader, '_schemes', UNTOUCHED['schemes'].copy())
    monkeypatch.setitem(backends, 'local', UNTOUCHED['local'])
    monkeypatch.setitem(prefix_to_backends, '', UNTOUCHED['prefixes'][''])


@pytest.fixture
def installed(alone):
    """mmengine as the tools leave it after ``install``, for one test."""
    install()


class Bucket:
    """A storage backend whose only object is a local file."""

    def __init__(self, **options: object) -> None:
        pass

    def get(self, filepath: str) -> bytes:
        with open(filepath.removeprefix('s3://'), 'rb') as file:
            return file.read()


@pytest.fixture
def bucket(monkeypatch):
    """s3://PATH is a local file."""
    monkeypatch.setitem(backends, 'petrel', Bucket)


@pytest.fixture
def unsafe_default(monkeypatch):
    """The default of torch.load before 2.6."""
    monkeypatch.setenv('TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD', '1')


class Server(ThreadingHTTPServer):
    """A web server: ``answers[path]`` is a body, or (status, body, Content-Length, ending).

    The body of a redirect is its target. The ending is None, 'reset' (the connection breaks) or
    'wait' (nothing comes until ``close``).
    """

    def __init__(self):
        super().__init__(('127.0.0.1', 0), Handler)
        self.answers, self.asked, self.over = {}, [], threading.Event()
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    def url(self, path: str) -> str:
        return f'http://127.0.0.1:{self.server_port}{path}'

    def close(self) -> None:
        self.over.set()
        self.shutdown()
        self.server_close()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        answer = self.server.answers.get(self.path, (404, b'none', 4, None))
        if isinstance(answer, bytes):
            answer = 200, answer, len(answer), None
        status, body, promised, ending = answer
        self.send_response(status)
        self.send_header('Content-Length', str(promised))
        if 300 <= status < 400:
            self.send_header('Location', body.decode())
        self.end_headers()
        self.wfile.write(body)
        if ending == 'wait':
            self.server.over.wait(10)
        if ending == 'reset':  # a socket that lingers for no time is not closed in order
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
            os.close(self.connection.detach())

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    server = Server()
    yield server
    server.close()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """The folder for downloads, empty."""
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'torch'))
    monkeypatch.setattr(torch.hub, '_hub_dir', None)
    monkeypatch.setenv('no_proxy', '127.0.0.1')
    return tmp_path / 'torch/hub/checkpoints'


# What torch 2.1 lacks, although its file format is the same.
LATER = ('_codecs.encode', 'collections.Counter', 'torch.device', 'torch.uint8', 'torch.bool')
LATER += ('builtins.set', 'builtins.complex', 'builtins.bytearray')


def _be_old(version: str, monkeypatch) -> None:
    known = dict(torch._weights_only_unpickler._get_allowed_globals())
    for name in LATER:
        known.pop(name, None)
    monkeypatch.setattr(torch._weights_only_unpickler, '_get_allowed_globals', lambda: known)
    monkeypatch.setattr(torch, '__version__', TorchVersion(version))
    for name in ('add_safe_globals', 'get_safe_globals'):
        monkeypatch.delattr(torch.serialization, name, raising=False)


@pytest.fixture(params=['2.0.1', '2.3.1', '2.5.1'])
def old_torch(request, monkeypatch):
    """Pretend to be that version of torch; the file format is the same."""
    _be_old(request.param, monkeypatch)


@pytest.fixture(params=['torch', 'old torch'])
def any_torch(request, monkeypatch):
    """Both ways of reading: with weights_only, and as before torch 2.6."""
    if request.param == 'old torch':
        _be_old('2.1.2', monkeypatch)


class Call:
    """Pickled as a function call, which unpickling executes."""

    def __init__(self, function: object, *arguments: object) -> None:
        self.parts = function, arguments

    def __reduce__(self):
        return self.parts

    def __call__(self):  # pickle lets nothing else stand where a function is called
        raise NotImplementedError


def _chain(trace):
    """Reach eval from an allowed class, through the globals of its methods."""
    known = Call(getattr, Call(getattr, HistoryBuffer, '__init__'), '__globals__')
    builtins = Call(Call(getattr, known, 'get'), '__builtins__')
    return Call(Call(Call(getattr, builtins, 'get'), 'eval'), f'open({str(trace)!r}, "w")')


EVILS = {
    'os.system': lambda trace: Call(os.system, f'touch {trace}'),
    'eval': lambda trace: Call(eval, f'open({str(trace)!r}, "w")'),
    'getattr': _chain,
}


@pytest.fixture(params=[*EVILS, 'legacy os.system', 'legacy getattr'])
def evil(request, tmp_path):
    """A checkpoint that would create a file if it ran code, and that file, which must not exist."""
    trace, path = tmp_path / 'trace', tmp_path / 'evil.pth'
    _, legacy, name = request.param.rpartition('legacy ')
    content = {'state_dict': {'weight': torch.ones(2)}, 'meta': EVILS[name](trace)}
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    yield path, trace
    assert not trace.exists()
    torch.load(path, weights_only=False)
    assert trace.exists()  # it would have run
