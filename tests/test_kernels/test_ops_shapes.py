# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Contract: shapes and types of what the operators return, which calls they refuse, and what they
are made of where a device has nothing of its own. No operator is computed, so none is needed.
"""

import pytest
import torch
from torch.autograd import forward_ad

from mmconvnext.kernels import ops as module
from mmconvnext.kernels.ops import OF_MAPS, OPS

from .conftest import composed, use_operators

N, H, W, C, K = 2, 3, 5, 8, 12
M = N * H * W
F32, BF16 = torch.float32, torch.bfloat16


def meta(*size: int, dtype: torch.dtype = F32) -> torch.Tensor:
    return torch.empty(size, dtype=dtype, device='meta')


def layers(dtype: torch.dtype = F32) -> list[torch.Tensor]:
    """Weights and biases of the norm and of both pointwise layers."""
    sizes = ((C,), (C,), (K, C), (K,), (C, K), (C,))
    return [meta(*size, dtype=dtype) for size in sizes]


def parameters(grn: bool, scale: bool, dtype: torch.dtype = F32) -> list:
    gamma = meta(C, dtype=dtype) if scale else None
    return [*layers(dtype), gamma, *([meta(K, dtype=dtype)] * 2 if grn else [None] * 2)]


X, ROWS = meta(N, H, W, C), meta(M, C)
HALF_X, HALF_ROWS = X.to(BF16), ROWS.to(BF16)
HIDDEN, SQUARES = meta(M, K, dtype=BF16), meta(N, K)
FILTER, VECTOR = meta(C, 1, 7, 7), meta(C)
BACKWARD = (ROWS, HALF_ROWS, HIDDEN)
NONE = ((0,), F32)
# An operator, its arguments, and the sizes and types of its results.
RESULTS = [
    ('dwconv_norm', (X, FILTER, VECTOR, 1e-6, BF16), [((N, H, W, C), BF16), ((N, H, W), F32)]),
    ('dwconv_norm', (HALF_X, FILTER, VECTOR, 1e-6, BF16), [((N, H, W, C), BF16), ((N, H, W), F32)]),
    (
        'dwconv_norm_backward',
        (HALF_X, HALF_X, meta(N, H, W), X, FILTER.to(BF16), X),
        [((N, H, W, C), F32), ((C, 1, 7, 7), F32), ((C,), F32)],
    ),
    (
        'dwconv_norm_backward',
        (HALF_X, HALF_X, meta(N, H, W), HALF_X, FILTER, HALF_X, False),
        [((N, H, W, C), BF16), ((C, 1, 7, 7), F32), ((C,), F32)],
    ),
    ('gelu_squares', (HIDDEN, N), [((M, K), BF16), ((N, K), F32)]),
    ('gelu_backward', (HIDDEN.clone(), HIDDEN, SQUARES), [((M, K), BF16), ((K,), F32)]),
    ('gelu_backward', (HIDDEN.clone(), HIDDEN, None), [((M, K), BF16), ((K,), F32)]),
    (
        'scale_linear',
        (meta(K, C), meta(K), VECTOR, None, meta(K), BF16),
        [((K, C), BF16), ((K,), BF16)],
    ),
    (
        'scale_linear_backward',
        (meta(K, C, dtype=BF16), meta(K), meta(K, C, dtype=BF16), meta(K), None, None, None),
        [((K, C), F32), ((K,), F32), ((C,), F32), ((C,), F32), ((K,), F32)],
    ),
    (
        'fold',
        (*layers(), VECTOR, None, BF16),
        [((K, C), BF16), ((K,), BF16), ((C, K), BF16), ((C,), BF16)],
    ),
    (
        'mlp',
        (HALF_ROWS, ROWS, *layers(BF16)[2:], None, 0.0, N, True),
        [((M, C), F32), ((M, K), BF16), ((0, K), F32)],
    ),
    (
        'mlp',
        (HALF_ROWS, HALF_ROWS, *layers(BF16)[2:], meta(K), 1e-6, N, False),
        [((M, C), BF16), ((0, K), BF16), ((N, K), F32)],
    ),
    (
        'mlp_backward',  # all that there is
        (*BACKWARD, SQUARES, *parameters(True, True, BF16), 1.0, 1e-6, N),
        [((M, C), BF16)] + [(t.shape, F32) for t in parameters(True, True)],
    ),
    (
        'mlp_backward',  # not the first layer's product
        (*BACKWARD, SQUARES, *parameters(True, False), 1.0, 1e-6, N, False, True),
        [
            *[((M, C), BF16), NONE, NONE, NONE, ((K,), F32)],
            *[((C, K), F32), ((C,), F32), NONE, ((K,), F32), ((K,), F32)],
        ],
    ),
    (
        'mlp_backward',  # not the second layer's product
        (*BACKWARD, SQUARES[:0], *parameters(False, True), 1.0, 0.0, N, True, False),
        [
            *[((M, C), BF16), ((C,), F32), ((C,), F32), ((K, C), F32), ((K,), F32)],
            *[NONE, ((C,), F32), NONE, NONE, NONE],
        ],
    ),
    (
        'mlp_backward',  # neither
        (*BACKWARD, SQUARES, *parameters(True, True), 1.0, 1e-6, N, False, False),
        [((M, C), BF16), *[NONE] * 3, ((K,), F32), NONE, ((C,), F32), NONE, ((K,), F32), NONE],
    ),
]


@pytest.mark.parametrize(('name', 'arguments', 'results'), RESULTS)
def test_shapes_and_types(name, arguments, results):
    found = getattr(OPS, name)(*arguments)
    assert [(tuple(t.shape), t.dtype) for t in found] == [(tuple(s), d) for s, d in results]
    assert all(t.device.type == 'meta' and t.is_contiguous() for t in found)


@pytest.mark.parametrize(
    ('name', 'arguments', 'results'), [case for case in RESULTS if hasattr(composed(), case[0])]
)
def test_what_is_composed_has_these_shapes_and_types(name, arguments, results, monkeypatch):
    operators = composed()
    use_operators(operators, monkeypatch)
    real = [torch.ones_like(t, device='cpu') if torch.is_tensor(t) else t for t in arguments]
    found = getattr(operators, name)(*real)
    assert [(tuple(t.shape), t.dtype) for t in found] == [(tuple(s), d) for s, d in results]
    given = {t.data_ptr() for t in real if torch.is_tensor(t) and t.numel()}
    own = [t.data_ptr() for t in found if t.numel()]
    assert not given & set(own) and len(own) == len(set(own))


def test_biases_stay_float32_on_a_cpu():
    with torch._subclasses.FakeTensorMode():
        given = [torch.empty(t.shape, dtype=BF16) for t in layers()]
        assert [t.dtype for t in OPS.fold(*given, None, None, BF16)] == [BF16, F32, BF16, F32]


ARGUMENTS = dict((name, arguments) for name, arguments, _ in RESULTS)


def test_every_operator_is_here_and_stands_in_the_list():
    assert set(OF_MAPS) == set(ARGUMENTS) and len(OF_MAPS) == len(set(OF_MAPS)) == 9


@pytest.mark.parametrize('name', ARGUMENTS)
def test_a_call_that_needs_a_derivative_is_refused(name):
    call = getattr(OPS, name)
    refused = pytest.raises(
        RuntimeError,
        match=rf'mmconvnext::{name} has no derivative of its own; call it under torch.no_grad\(\)',
    )

    def given(change) -> list:
        tensors = [i for i, t in enumerate(ARGUMENTS[name]) if isinstance(t, torch.Tensor)]
        values = [t.detach() if isinstance(t, torch.Tensor) else t for t in ARGUMENTS[name]]
        last = tensors[-1]
        values[last] = change(values[last].clone())
        return values

    wanted = given(lambda t: t.requires_grad_())
    with refused:
        call(*wanted)
    with torch.no_grad():
        assert not any(t.requires_grad for t in call(*wanted))
    assert len(call(*given(lambda t: t))) == len(call.default._schema.returns)
    with forward_ad.dual_level(), refused:
        call(*given(lambda t: forward_ad.make_dual(t, torch.ones_like(t))))


def has(name: str, key: str) -> bool:
    return torch._C._dispatch_has_kernel_for_dispatch_key(f'mmconvnext::{name}', key)


@pytest.mark.parametrize('name', OF_MAPS)
def test_compositions_stand_in_where_a_device_has_nothing(name):
    composed = name in ('fold', 'mlp', 'mlp_backward')
    assert has(name, 'CompositeExplicitAutograd') == composed
    assert (
        has(name, 'Meta') and has(name, 'Autograd') and not has(name, 'CompositeImplicitAutograd')
    )


def test_capability_is_the_librarys(monkeypatch):
    for answer in (('AVX2', ''), (None, 'they are not compiled')):
        monkeypatch.setattr(module, 'load', lambda answer=answer: answer)
        assert module.capability.__wrapped__() == answer
    assert module.capability() is module.capability()  # loaded once


@pytest.mark.parametrize(
    ('found', 'registered', 'products'),
    [(None, False, False), (None, True, False), ('DEFAULT', False, False), ('AVX2', True, True)],
)
def test_products_are_the_librarys(found, registered, products, monkeypatch):
    asked = []

    def ask(name, key):
        asked.append((name, key))
        return registered

    monkeypatch.setattr(module, 'capability', lambda: (found, ''))
    monkeypatch.setattr(torch._C, '_dispatch_has_kernel_for_dispatch_key', ask)
    assert module.has_products.__wrapped__() is products
    assert asked == [('mmconvnext::mlp', 'CPU')] * (found is not None)
