# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""The Triton kernels for the tests: compiled if there is a GPU, otherwise interpreted."""

import inspect
import sys
from importlib import import_module

import pytest
import torch

PACKAGE = 'mmconvnext.kernels.triton'
DEVICE = 'cuda' if torch.cuda.is_available() else 'cpu'
# Relative to the largest value: sums of float32; one or two roundings of 8 or 11 bits.
BOUNDS = {torch.float32: 1e-5, torch.bfloat16: 1e-2, torch.float16: 1.5e-3}


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
