# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Contract: setting and environment choose the path; what the call, type or device rules out."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.func import vmap
from torch.utils._python_dispatch import TorchDispatchMode

from mmconvnext import ConvNeXt
from mmconvnext.kernels import selection as module
from mmconvnext.kernels.ops import capability
from mmconvnext.kernels.report import PathReport
from mmconvnext.kernels.selection import check_setting, slower, stand_aside, unmeasured, why_not
from mmconvnext.models import fusion
from mmconvnext.models.block import ConvNeXtBlock
from mmconvnext.models.design import Design

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


@pytest.mark.parametrize('setting', ['auto', 'plain', 'fast'])
def test_without_the_variable_the_setting_is_taken(setting):
    assert check_setting(setting) == setting


@pytest.mark.parametrize('value', ['', 'Plain', 'fast ', '0'])
def test_a_variable_that_is_no_setting_is_refused_beside_any_setting(value, monkeypatch):
    monkeypatch.setenv('MMCONVNEXT_KERNELS', value)
    told = rf"MMCONVNEXT_KERNELS={value!r} is unknown; choose one of \['auto', 'plain', 'fast'\]"
    for setting in ('auto', 'plain', 'fast'):
        with pytest.raises(ValueError, match=told):
            check_setting(setting)


def on(device: str, dtype: torch.dtype = torch.float32) -> SimpleNamespace:
    """A stand-in for a map: no device is needed to decide."""
    return SimpleNamespace(device=torch.device(device), dtype=dtype)


@pytest.fixture
def machine(monkeypatch):
    """A machine with kernels for its processor, and with Triton."""
    monkeypatch.setattr(module, 'capability', lambda: ('AVX2', ''))
    monkeypatch.setattr(module, 'import_module', lambda name: name)
    monkeypatch.setattr(module, 'onednn_enabled', lambda: True)
    module._no_triton.cache_clear()
    yield
    module._no_triton.cache_clear()


HALF, WIDE = torch.bfloat16, torch.float32
# Types of the stream and the branch; why there are no kernels for them, or ''.
TYPES = [
    (WIDE, WIDE, ''),
    (HALF, HALF, ''),
    (WIDE, HALF, ''),  # autocast
    (HALF, WIDE, 'a torch.bfloat16 input with a torch.float32 branch'),
    (torch.float16, HALF, 'a torch.float16 input with a torch.bfloat16 branch'),
    (torch.float64, WIDE, 'a torch.float64 input with a torch.float32 branch'),
    (torch.float16, torch.float16, 'torch.float16'),
    (WIDE, torch.float16, 'torch.float16'),  # autocast on CUDA, by default
    (torch.float64, torch.float64, 'torch.float64'),
    (torch.complex64, torch.complex64, 'torch.complex64'),
]


@pytest.mark.parametrize('device', ['cpu', 'cuda', 'cuda:1'])
@pytest.mark.parametrize(('stream', 'branch', 'none_for'), TYPES, ids=str)
def test_types(device, stream, branch, none_for, machine):
    told = f'there are no kernels for {none_for}' if none_for else ''
    assert why_not(on(device, stream), branch) == told


@pytest.mark.parametrize('device', ['meta', 'mps', 'xpu', 'hpu'])
def test_other_devices(device, machine):
    assert why_not(on(device), torch.float32) == f'there are no kernels for {device}'


def test_cuda_needs_triton_and_a_cpu_its_library_and_onednn(machine, monkeypatch):
    asked = []
    monkeypatch.setattr(module, 'import_module', asked.append)
    for _ in range(2):
        assert why_not(on('cuda'), WIDE) == ''
    assert asked == ['mmconvnext.kernels.cuda']  # once: it registers the operators

    def missing(name):
        raise ModuleNotFoundError("No module named 'triton'", name='triton')

    monkeypatch.setattr(module, 'import_module', missing)
    module._no_triton.cache_clear()
    assert why_not(on('cpu'), WIDE) == ''
    told = "triton 3.3 or later is needed (No module named 'triton')"
    assert why_not(on('cuda'), WIDE) == told
    monkeypatch.setattr(module, 'capability', lambda: (None, 'they are not compiled'))
    assert why_not(on('cpu'), WIDE) == 'they are not compiled'
    monkeypatch.setattr(module, 'onednn_enabled', lambda: False)
    told = 'torch.backends.mkldnn is turned off, but the kernels need it'
    assert why_not(on('cpu'), WIDE) == told
    monkeypatch.setattr(module, 'import_module', lambda name: name)
    module._no_triton.cache_clear()
    assert why_not(on('cuda'), WIDE) == ''  # needs neither


def small_block(kernels: str) -> ConvNeXtBlock:
    return ConvNeXtBlock(4, Design(), layer_scale_init_value=1.0, kernels=kernels)


IMAGE = torch.ones(1, 4, 3, 2)


def test_auto_runs_plain_on_what_was_not_measured_and_fast_does_not(monkeypatch):
    monkeypatch.setattr(fusion, 'unmeasured', lambda x: 'nobody has measured it')
    monkeypatch.setattr(fusion, 'why_not', lambda x, dtype: '')
    monkeypatch.setattr(fusion, 'slower', lambda *_: '')
    found = {
        kernels: fusion.fast_parameters(small_block(kernels), IMAGE) for kernels in module.SETTINGS
    }
    assert {k for k, parameters in found.items() if parameters} == {'fast'}
    monkeypatch.setattr(fusion, 'unmeasured', lambda x: '')
    assert fusion.fast_parameters(small_block('auto'), IMAGE)


def test_float16_runs_plain_and_is_refused_where_fast_was_asked_for():
    image, report = IMAGE.half(), PathReport()
    auto, fast = (small_block(kernels).half() for kernels in ('auto', 'fast'))
    auto.report = report
    assert fusion.fast_parameters(auto, image) is None
    assert report.why == {'the block': 'there are no kernels for torch.float16'}
    told = (
        "kernels='fast' is not possible in the block: there are no kernels for torch.float16; use"
    )
    with pytest.raises(RuntimeError, match=told):
        fast(image)


def test_a_block_asks_how_it_is_called(monkeypatch):
    asked = []
    monkeypatch.setattr(fusion, 'why_not', lambda x, dtype: '')
    monkeypatch.setattr(fusion, 'slower', lambda *call: asked.append(call) or 'it is slower')
    block = small_block('auto')
    with torch.autocast('cpu', torch.bfloat16):
        assert fusion.fast_parameters(block, IMAGE) is None
    with torch.no_grad():
        fusion.fast_parameters(block, IMAGE)
    block.pwconv1.requires_grad_(False)
    fusion.fast_parameters(block, IMAGE)
    block.pwconv2.requires_grad_(False)
    fusion.fast_parameters(block, IMAGE)
    fusion.fast_parameters(block.requires_grad_(False), IMAGE)
    assert asked == [  # type, training, frozen
        (HALF, True, False),
        (WIDE, False, False),
        (WIDE, True, False),
        (WIDE, True, True),
        (WIDE, False, True),
    ]
    assert fusion.fast_parameters(small_block('fast'), IMAGE) and len(asked) == 5


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
    told = "the CUDA kernels have not been measured yet; kernels='fast' turns them on"
    assert unmeasured(on('cuda')) == unmeasured(on('cuda:1')) == told
    assert unmeasured(on('cpu')) == unmeasured(on('meta')) == ''


# For each processor, with oneDNN's products and without: in which calls auto runs plain, and why.
CALLS = {
    'train 32': (WIDE, True, False),
    'train 32 frozen': (WIDE, True, True),
    'infer 32': (WIDE, False, False),
    'infer 32 frozen': (WIDE, False, True),
    'train 16': (HALF, True, False),
    'train 16 frozen': (HALF, True, True),
    'infer 16': (HALF, False, False),
    'infer 16 frozen': (HALF, False, True),
}
FLOAT32 = {call: 'in float32 on processors without AVX512' for call in list(CALLS)[:4]}
FROZEN = {'train 16 frozen': 'in bfloat16 if the weights are frozen'}
COMPOSED = dict.fromkeys(CALLS, "if torch does not export oneDNN's matrix products")
MEASURED = {
    ('AVX512', True): FROZEN,
    ('AVX2', True): FLOAT32 | FROZEN,
    ('DEFAULT', True): FLOAT32 | FROZEN,
    ('AVX512', False): {k: v for k, v in COMPOSED.items() if k != 'train 16'} | FROZEN,
    ('AVX2', False): COMPOSED,
    ('DEFAULT', False): COMPOSED,
}


@pytest.mark.parametrize('case', MEASURED, ids=str)
def test_auto_takes_what_was_measured_to_be_faster(case, monkeypatch):
    processor, products = case
    monkeypatch.setattr(module, 'capability', lambda: (processor, ''))
    monkeypatch.setattr(module, 'has_products', lambda: products)
    told = {name: slower(*call) for name, call in CALLS.items()}
    assert {k: v for k, v in told.items() if v} == {
        k: f'plain is faster {v}' for k, v in MEASURED[case].items()
    }


@compiled
def test_frozen_weights_in_bfloat16_run_plain(tiny_arch, monkeypatch):
    monkeypatch.setattr(module, 'has_products', lambda: True)
    model = ConvNeXt(tiny_arch).requires_grad_(False)
    with torch.autocast('cpu', torch.bfloat16):
        model(torch.zeros(1, 3, 32, 32, requires_grad=True))
    assert all('frozen' in why for why in model._report.why.values())


class Other(torch.Tensor):
    pass


class FunctionMode(torch.overrides.TorchFunctionMode):
    def __torch_function__(self, function, types, args=(), kwargs=None):
        return function(*args, **(kwargs or {}))


class DispatchMode(TorchDispatchMode):
    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        return function(*args, **(kwargs or {}))


def test_ordinary_calls_are_no_reason_to_stand_aside():
    for x in (X, nn.Parameter(X), X.clone().requires_grad_(), torch.zeros(1, 2, 3, 4)[:, :, ::2]):
        assert stand_aside(x) == ''
    with torch.device('cpu'):  # a mode, but for new tensors alone
        assert stand_aside(X) == ''
    with torch.no_grad(), torch.autocast('cpu', torch.bfloat16):
        assert stand_aside(X) == ''
    with torch.inference_mode():
        assert stand_aside(torch.zeros(1)) == ''


def test_what_has_to_see_each_layer_is_a_reason(monkeypatch):
    assert stand_aside(X.as_subclass(Other)) == 'the input is a Other'
    assert stand_aside(torch.zeros(0)) == stand_aside(torch.zeros(2, 0, 3)) == 'the map is empty'
    with FunctionMode():
        assert stand_aside(X) == 'a function mode intercepts the functions'
        with torch.device('cpu'):
            assert stand_aside(X) == 'a function mode intercepts the functions'
    with DispatchMode():
        assert stand_aside(X) == 'a dispatch mode intercepts the operators'
    told = []
    vmap(lambda x: told.append(stand_aside(X)) or x)(torch.zeros(2))
    with torch.autograd.forward_ad.dual_level():
        told.append(stand_aside(X))
    assert told == ['torch.func transforms the call', 'forward-mode differentiation is on']
    torch.jit.trace(lambda x: told.append(stand_aside(X)) or x + 1, X, check_trace=False)
    monkeypatch.setattr(module, 'is_compiling', lambda: True)
    assert told[2:] == [stand_aside(X)] == ['the call is compiled or traced']


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
