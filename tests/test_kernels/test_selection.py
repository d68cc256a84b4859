# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Contract: setting and environment choose the path; what the call, type or device rules out."""

import pytest
import torch

from mmconvnext import ConvNeXt
from mmconvnext.kernels import selection as module
from mmconvnext.kernels.ops import capability
from mmconvnext.kernels.selection import check_setting, slower, stand_aside, unmeasured, why_not

compiled = pytest.mark.skipif(capability()[0] is None, reason=f'no kernels: {capability()[1]}')
X = torch.zeros(1)


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch):
    monkeypatch.delenv('MMCONVNEXT_KERNELS', raising=False)


@pytest.mark.parametrize('value', ['plain', 'fast'])
def test_environment_stands_in_for_auto_alone(value, monkeypatch):
    monkeypatch.setenv('MMCONVNEXT_KERNELS', value)
    assert check_setting('auto') == value
    assert check_setting('plain') == 'plain' and check_setting('fast') == 'fast'


def test_unknown_settings_are_named(monkeypatch, tiny_arch):
    with pytest.raises(ValueError, match=r"kernels='triton' is unknown; choose one of \['auto', "):
        ConvNeXt(tiny_arch, kernels='triton')
    monkeypatch.setenv('MMCONVNEXT_KERNELS', 'yes')
    with pytest.raises(ValueError, match="MMCONVNEXT_KERNELS='yes' is unknown"):
        ConvNeXt(tiny_arch)


@compiled
def test_types_and_devices():
    for dtype in (torch.float32, torch.bfloat16):
        assert why_not(X.to(dtype), dtype) == ''
    assert why_not(X, torch.bfloat16) == ''  # autocast
    assert why_not(X.bfloat16(), torch.float32) == (
        'there are no kernels for a torch.bfloat16 input with a torch.float32 branch'
    )
    for dtype in (torch.float16, torch.float64):
        assert why_not(X.to(dtype), dtype) == f'there are no kernels for {dtype}'
    assert why_not(torch.zeros(1, device='meta'), X.dtype) == 'there are no kernels for meta'


def test_missing_kernels_are_the_reason(monkeypatch):
    monkeypatch.setattr(module, 'capability', lambda: (None, 'they are not compiled'))
    assert why_not(X, X.dtype) == 'they are not compiled'


@compiled
def test_onednn_can_be_turned_off_and_on(tiny_arch):
    model = ConvNeXt(tiny_arch).eval()
    image = torch.zeros(1, 3, 32, 32)
    with torch.no_grad(), torch.autocast('cpu', torch.bfloat16):
        model(image)
        with torch.backends.mkldnn.flags(enabled=False):
            assert 'mkldnn is turned off' in why_not(X, X.dtype)
            model(image)
        assert why_not(X, X.dtype) == ''
        model(image)


def test_cuda_has_to_be_asked_for():
    class Cuda:  # a stand-in: no device is needed to decide
        device = torch.device('cuda')
        dtype = torch.float32

    assert "kernels='fast' turns them on" in unmeasured(Cuda)
    assert unmeasured(X) == ''


# Processor, oneDNN's products or not; type, training, frozen; whether plain is faster.
MEASURED = [
    ('AVX512', True, torch.float32, True, False, False),
    ('AVX512', True, torch.float32, True, True, False),
    ('AVX512', True, torch.float32, False, True, False),
    ('AVX512', True, torch.bfloat16, True, False, False),
    ('AVX512', True, torch.bfloat16, True, True, True),
    ('AVX512', True, torch.bfloat16, False, True, False),
    ('AVX512', False, torch.float32, True, False, True),
    ('AVX512', False, torch.bfloat16, True, False, False),
    ('AVX512', False, torch.bfloat16, False, False, True),
    ('AVX2', True, torch.float32, True, False, True),
    ('AVX2', True, torch.float32, False, False, True),
    ('AVX2', True, torch.bfloat16, True, False, False),
    ('AVX2', False, torch.bfloat16, True, False, True),
    ('DEFAULT', True, torch.float32, True, False, True),
    ('DEFAULT', True, torch.bfloat16, False, False, False),
]


@pytest.mark.parametrize('case', MEASURED, ids=str)
def test_auto_takes_what_was_measured_to_be_faster(case, monkeypatch):
    processor, products, *call, plain = case
    monkeypatch.setattr(module, 'capability', lambda: (processor, ''))
    monkeypatch.setattr(module, 'has_products', lambda: products)
    assert bool(slower(*call)) == plain


@compiled
def test_frozen_weights_in_bfloat16_run_plain(tiny_arch, monkeypatch):
    monkeypatch.setattr(module, 'has_products', lambda: True)
    model = ConvNeXt(tiny_arch).requires_grad_(False)
    with torch.autocast('cpu', torch.bfloat16):
        model(torch.zeros(1, 3, 32, 32, requires_grad=True))
    assert all('frozen' in why for why in model._report.why.values())


def test_a_default_device_is_no_reason_to_stand_aside():
    with torch.device('cpu'):
        assert stand_aside(X) == ''


def test_subclasses_and_modes_are():
    class Other(torch.Tensor):
        pass

    class Mode(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, function, types, args=(), kwargs=None):
            return function(*args, **(kwargs or {}))

    assert stand_aside(X.as_subclass(Other)) == 'the input is a Other'
    assert stand_aside(torch.zeros(0)) == 'the map is empty'
    with Mode():
        assert stand_aside(X) == 'a function mode intercepts the functions'


@compiled
@pytest.mark.filterwarnings('ignore:TF32 acceleration')
def test_onednn_turned_off_leaves_the_plain_path(tiny_arch):
    """At run time, after the kernels found oneDNN's products; the setting is read each time."""
    model, x = ConvNeXt(tiny_arch).bfloat16(), torch.randn(1, 3, 32, 32).bfloat16()
    assert not why_not(x, x.dtype)
    with torch.backends.mkldnn.flags(enabled=False):
        assert 'torch.backends.mkldnn is turned off' in why_not(x, x.dtype)
        assert model(x)[-1].dtype == torch.bfloat16
        with torch.no_grad():
            assert model.eval()(x)[-1].dtype == torch.bfloat16
    assert not why_not(x, x.dtype)


@compiled
def test_a_trace_sees_the_layers(tiny_arch):
    model = ConvNeXt(tiny_arch, kernels='auto').eval()
    traced = torch.jit.trace(model, torch.zeros(1, 3, 32, 32), check_trace=False)
    assert 'mmconvnext::' not in str(traced.inlined_graph)
