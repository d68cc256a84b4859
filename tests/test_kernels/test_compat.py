# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Contract: the same results with every torch, also with the names that only older ones have."""

from types import SimpleNamespace

import pytest
import torch

from mmconvnext.kernels import compat


@pytest.fixture(params=['this torch', 'before 2.4'])
def autocast_dtype(request, monkeypatch):
    def ask(kind):
        with monkeypatch.context() as patch:  # for the question alone: torch.autocast needs it
            if request.param == 'before 2.4':
                patch.delattr(torch, 'get_autocast_dtype', raising=False)
            return compat.autocast_dtype(kind)

    return ask


@pytest.mark.filterwarnings('ignore:.*autocast.*:DeprecationWarning')
def test_autocast_dtype_of_each_device(autocast_dtype):
    kinds = ('cpu', 'cuda', 'meta', 'mps')
    assert [autocast_dtype(kind) for kind in kinds] == [None] * 4
    with torch.autocast('cpu', dtype=torch.bfloat16):
        assert [autocast_dtype(kind) for kind in kinds] == [torch.bfloat16, None, None, None]
        with torch.autocast('cpu', enabled=False):
            assert autocast_dtype('cpu') is None


@pytest.mark.filterwarnings('ignore:.*autocast.*:DeprecationWarning')
@pytest.mark.filterwarnings('ignore:.*CUDA is not available.*')
def test_autocast_dtype_of_cuda_is_its_own(autocast_dtype):
    was = torch.is_autocast_enabled()
    torch.set_autocast_enabled(True)  # torch.autocast('cuda') does nothing without a GPU
    try:
        assert autocast_dtype('cuda') == torch.float16
        assert autocast_dtype('cpu') is None
    finally:
        torch.set_autocast_enabled(was)


def test_autocast_dtype_is_compiled_without_a_break():
    def cast(x):
        return x.to(compat.autocast_dtype(x.device.type) or x.dtype)

    if not hasattr(torch, 'get_autocast_dtype'):
        pytest.skip('torch 2.4 is the first that compiles this')
    compiled = torch.compile(cast, backend='eager', fullgraph=True)
    assert compiled(torch.ones(2)).dtype == torch.float32
    with torch.autocast('cpu', dtype=torch.bfloat16):
        assert compiled(torch.ones(2)).dtype == torch.bfloat16


def test_is_compiling_within_torch_compile_alone():
    def tell(x):
        return x + 1 if compat.is_compiling() else x

    assert tell(torch.zeros(1)) == 0
    assert torch.compile(tell, backend='eager')(torch.zeros(1)) == 1


@pytest.mark.parametrize('compiling', [False, True])
def test_is_compiling_before_torch_2_3(compiling, monkeypatch):
    monkeypatch.setattr(torch, 'compiler', SimpleNamespace())
    monkeypatch.setattr(torch._utils, 'is_compiling', lambda: compiling, raising=False)
    assert compat.is_compiling() is compiling


@pytest.mark.filterwarnings('ignore:TF32 acceleration')
def test_onednn_follows_the_switch():
    with torch.backends.mkldnn.flags(enabled=True):
        assert compat.onednn_enabled() == torch.backends.mkldnn.is_available()
        with torch.backends.mkldnn.flags(enabled=False):
            assert not compat.onednn_enabled()


@pytest.mark.parametrize('names', [('register_fake', 'impl_abstract'), ('impl_abstract',), ()])
def test_register_fake_takes_what_there_is(monkeypatch, names):
    registered = []

    def register(name):
        return lambda function: registered.append((name, function)) or function

    library = SimpleNamespace(**{name: register for name in names})
    monkeypatch.setattr(torch, 'library', library)
    assert compat.register_fake('mmconvnext::some')(abs) is abs
    assert registered == [('mmconvnext::some', abs)] * bool(names)
