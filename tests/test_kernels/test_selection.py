# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Contract: one decision, which setting and environment can force, and one line that tells it."""

import pytest
import torch

from mmconvnext import ConvNeXt
from mmconvnext.kernels import selection as module
from mmconvnext.kernels.ops import capability
from mmconvnext.kernels.selection import check_setting, choose, why_not

compiled = pytest.mark.skipif(capability()[0] is None, reason=f'no kernels: {capability()[1]}')


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch):
    monkeypatch.delenv('MMCONVNEXT_KERNELS', raising=False)
    monkeypatch.setattr(module, '_told', set())


@compiled
def test_setting_decides(log_records):
    x = torch.zeros(1)
    assert [choose(setting, x) for setting in ('auto', 'fast', 'plain')] == [True, True, False]
    assert [r.getMessage() for r in log_records] == [
        f'ConvNeXt blocks on cpu: fast kernels ({capability()[0]})',
        'ConvNeXt blocks on cpu: plain PyTorch',
    ]


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


def test_fast_where_it_is_not_possible_says_why(tiny_arch):
    with pytest.raises(RuntimeError, match="kernels='fast' is not possible here: .*float64"):
        choose('fast', torch.zeros(1, dtype=torch.float64))
    assert choose('auto', torch.zeros(1, dtype=torch.float64)) is False
    assert why_not(torch.zeros(1, device='meta')) == 'there are none for meta'


def test_missing_kernels_leave_the_plain_path(monkeypatch, log_records):
    monkeypatch.setattr(module, 'capability', lambda: (None, 'they are not compiled'))
    assert choose('auto', torch.zeros(1)) is False
    (record,) = log_records
    assert record.getMessage().endswith('on cpu: plain PyTorch: they are not compiled')


@compiled
@pytest.mark.filterwarnings('ignore:TF32 acceleration')
def test_onednn_turned_off_leaves_the_plain_path(tiny_arch):
    """At run time, after the kernels found its products; it is asked each time."""
    model, x = ConvNeXt(tiny_arch).bfloat16(), torch.randn(1, 3, 32, 32).bfloat16()
    assert choose('auto', x)
    with torch.backends.mkldnn.flags(enabled=False):
        assert not choose('auto', x)
        with pytest.raises(RuntimeError, match=r'not possible here: they need oneDNN, which torch'):
            choose('fast', x)
        assert model(x)[-1].dtype == torch.bfloat16
        with torch.no_grad():
            assert model.eval()(x)[-1].dtype == torch.bfloat16
    assert choose('auto', x)


@compiled
def test_a_trace_sees_the_layers(tiny_arch):
    model = ConvNeXt(tiny_arch, kernels='auto').eval()
    traced = torch.jit.trace(model, torch.zeros(1, 3, 32, 32), check_trace=False)
    assert 'mmconvnext::' not in str(traced.inlined_graph)
