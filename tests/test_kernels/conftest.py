# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""The operators for the tests: the compiled ones; compositions of plain PyTorch, which need no
library; the Triton kernels, compiled if there is a GPU and interpreted otherwise.
"""

import inspect
import sys
from importlib import import_module
from types import SimpleNamespace

import pytest
import torch

from mmconvnext.kernels import block, reference
from mmconvnext.kernels.ops import OPS, capability, fold, mlp

PACKAGE = 'mmconvnext.kernels.triton'
DEVICE = 'cuda' if torch.cuda.is_available() else 'cpu'
# Relative to the largest value: sums of float32; one or two roundings of 8 or 11 bits.
BOUNDS = {torch.float32: 1e-5, torch.bfloat16: 1e-2, torch.float16: 1.5e-3}


@pytest.fixture(autouse=True)
def _one_thread():
    """Maps this small are no work for two, and tests that set a number shall not pass it on."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def composed(**others) -> SimpleNamespace:
    """The operators as on a device without its own `fold` and `mlp`; ``others`` are replaced."""
    small = dict(
        dwconv_norm=_dwconv_norm,
        dwconv_norm_backward=_dwconv_norm_backward,
        gelu_squares=_gelu_squares,
        gelu_backward=_gelu_backward,
        scale_linear=_scale_linear,
        scale_linear_backward=_scale_linear_backward,
    )
    compositions = dict(
        fold=fold.fold_composite, mlp=mlp.mlp_composite, mlp_backward=mlp.mlp_backward_composite
    )
    return SimpleNamespace(**{**small, **compositions, **others})


def use_operators(operators, patch: pytest.MonkeyPatch) -> None:
    """Run blocks on these operators, whatever this machine has."""
    for module in (block, fold, mlp):
        patch.setattr(module, 'OPS', operators)
    patch.setattr('mmconvnext.models.fusion.why_not', lambda x, dtype: '')


@pytest.fixture(params=['compiled', 'composed', 'triton'])
def operators(request, monkeypatch):
    """The operators that blocks of this test run on: each implementation in turn."""
    if request.param == 'compiled':
        if capability()[0] is None:
            pytest.skip(f'no kernels: {capability()[1]}')
        return OPS
    found = composed()
    if request.param == 'triton':
        kernels, cuda = request.getfixturevalue('kernels'), import_module('mmconvnext.kernels.cuda')
        own = {name: getattr(kernels, name) for name in kernels.__all__}
        own |= {n: getattr(cuda, n) for n in ('scale_linear', 'scale_linear_backward')}
        found = composed(**own)
    use_operators(found, monkeypatch)
    return found


@pytest.fixture
def device(request) -> str:
    """Where the operators of this test run: Triton's on a GPU if there is one."""
    return DEVICE if request.node.callspec.params['operators'] == 'triton' else 'cpu'


def _wide(*tensors):
    return [None if t is None else t.double() for t in tensors]


def _dwconv_norm(x, weight, bias, eps, dtype):
    assert x.is_contiguous()
    out, rstd = reference.dwconv_norm(*_wide(x, weight, bias), eps)
    return out.to(dtype).contiguous(), rstd.float()


def _dwconv_norm_backward(grad, normalized, rstd, x, weight, residual, weights=True):
    assert all(t.is_contiguous() for t in (grad, normalized, rstd, x, residual))
    g, n, r = _wide(grad, normalized, rstd[..., None])
    du = r * (g - g.mean(-1, keepdim=True) - n * (g * n).mean(-1, keepdim=True))
    leaves = [t.requires_grad_() for t in _wide(x, weight, weight.new_zeros(x.shape[3]))]
    with torch.enable_grad():
        y = torch.nn.functional.conv2d(
            leaves[0].permute(0, 3, 1, 2), *leaves[1:], padding=3, groups=x.shape[3]
        )
    dx, *rest = torch.autograd.grad(y, leaves, du.permute(0, 3, 1, 2))
    dx = (dx + residual.double()).to(x.dtype).contiguous()
    return dx, *(t.float() * weights for t in rest)


def _gelu_squares(h, samples):
    act, squares = reference.gelu_squares(h.double(), samples)
    return act.to(h.dtype), squares.float()


def _gelu_backward(grad, h, slope):
    assert grad.is_contiguous() and h.is_contiguous()
    dh, act, sums = reference.gelu_backward(*_wide(grad, h, slope))
    grad.copy_(dh)
    return act.to(h.dtype), sums.float()


def _scale_linear(weight, bias, in_scale, in_shift, out_scale, dtype):
    found = reference.scale_linear(*_wide(weight, bias, in_scale, in_shift, out_scale))
    return tuple(t.to(dtype, copy=True) for t in found)


def _scale_linear_backward(grad_weight, grad_bias, weight, bias, *factors):
    rows, columns = weight.shape
    neutral = weight.new_ones(columns), weight.new_zeros(columns), weight.new_ones(rows)
    factors = [one if given is None else given for given, one in zip(factors, neutral)]
    leaves = [t.detach().requires_grad_() for t in _wide(weight, bias, *factors)]
    with torch.enable_grad():
        found = reference.scale_linear(*leaves)
    grads = torch.autograd.grad(found, leaves, _wide(grad_weight, grad_bias))
    return tuple(t.float() for t in grads)


def _modules() -> list[str]:
    """Modules to import again; triton's compiled part can be initialized only once."""
    return [
        name
        for name in sys.modules
        if f'{name}.'.startswith((f'{PACKAGE}.', 'triton.')) and not name.startswith('triton._C')
    ]


@pytest.fixture(scope='package')
def kernels():
    """The package. `triton.jit` chooses the interpreter at its import, so both are imported anew,
    whatever other tests have imported, and for the tests of this folder alone."""
    if DEVICE == 'cuda':
        pytest.importorskip('triton')
        yield import_module(PACKAGE)
        return
    parent = import_module(PACKAGE.rpartition('.')[0])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('TRITON_INTERPRET', '1')
        patch.delattr(parent, 'triton', raising=False)
        for name in _modules():
            patch.delitem(sys.modules, name)
        pytest.importorskip('triton')
        yield import_module(PACKAGE)
        del parent.triton
        for name in _modules():
            # Kept under another name: at its exit Python clears what is in sys.modules, and
            # Triton's compiled part reports whatever is left then as leaked.
            sys.modules[f'interpreted.{name}'] = sys.modules.pop(name)


@pytest.fixture
def variants(kernels, monkeypatch):
    """A set that collects the signatures that launches would be compiled for; nothing is run."""
    found = set()
    for name in _modules():
        if name.startswith(f'{PACKAGE}.'):
            for value in list(vars(sys.modules[name]).values()):
                if callable(getattr(value, 'run', None)) and hasattr(value, 'arg_names'):
                    monkeypatch.setattr(value, 'run', _record(value, found))
    return found


def _record(kernel, found: set):
    def run(*args, grid, warmup, **options):
        names = dict(zip(kernel.arg_names, args)) | options
        found.add((kernel.fn.__name__, *(f'{n}={kind(n, v)}' for n, v in sorted(names.items()))))

    def kind(name, value):
        """What triton specializes on: types, constants, integers that are 1 or divisible by 16."""
        if isinstance(value, torch.Tensor):
            return value.dtype, value.data_ptr() % 16 == 0
        if not isinstance(value, int) or name not in parameters:
            return value  # None, a number of warps, a float such as eps
        if 'constexpr' in str(parameters[name].annotation):
            return 'constant', value
        if name in free:
            return 'any'
        return value == 1, value % 16 == 0

    parameters = inspect.signature(kernel.fn).parameters
    free = getattr(kernel, 'do_not_specialize', None) or kernel.rewriter.kwargs['do_not_specialize']
    return run
