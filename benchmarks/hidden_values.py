# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Does the time of a block depend on its values? python benchmarks/hidden_values.py

Below -13, a GELU's output is too small for a normal float32 number, and products with denormal
numbers are slow. How many hidden channels of trained networks get there is not known; this script
shifts some there. Fast and plain take turns on one thread; figures are medians in milliseconds.
"""

import argparse
import statistics
import time
from functools import partial

import torch

from mmconvnext.models.block import ConvNeXtBlock
from mmconvnext.models.design import Design

CHANNELS, SIDE = 96, 56
FAR = -16.0
# The share of hidden channels near FAR, or the spread of all of them.
CASES = {
    'usual': lambda block: None,
    'one channel near -16': lambda block: block.pwconv1.bias[:1].fill_(FAR),
    'a tenth near -16': lambda block: block.pwconv1.bias[: 4 * CHANNELS // 10].fill_(FAR),
    'all near -16': lambda block: block.pwconv1.bias.fill_(FAR),
    'spread of 6': lambda block: block.pwconv1.weight.mul_(6 / (0.02 * CHANNELS**0.5)),
}


def step(block: torch.nn.Module, x: torch.Tensor) -> None:
    block(x).sum().backward()


@torch.no_grad()
def infer(block: torch.nn.Module, x: torch.Tensor) -> None:
    block(x)


def measure(functions: dict, rounds: int) -> dict[str, float]:
    times: dict[str, list[float]] = {name: [] for name in functions}
    for i in range(rounds + 1):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            times[name].extend([1e3 * (time.perf_counter() - start)] if i else [])
    return {name: statistics.median(values) for name, values in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--rounds', type=int, default=15)
    args = parser.parse_args()
    torch.set_num_threads(1)
    print('hidden values | inference plain | fast | training plain | fast\n---|---|---|---|---')
    for case, change in CASES.items():
        functions = {}
        for kernels in ('plain', 'fast'):
            torch.manual_seed(0)
            block = ConvNeXtBlock(CHANNELS, Design(), layer_scale_init_value=1.0, kernels=kernels)
            with torch.no_grad():
                for layer in (block.pwconv1, block.pwconv2):
                    torch.nn.init.trunc_normal_(layer.weight, std=0.02)
                change(block)
            x = torch.randn(1, CHANNELS, SIDE, SIDE)
            functions[f'inference {kernels}'] = partial(infer, block, x)
            functions[f'training {kernels}'] = partial(step, block, x.clone().requires_grad_())
        found = measure(functions, args.rounds)
        columns = ('inference plain', 'inference fast', 'training plain', 'training fast')
        print(' | '.join([case, *(f'{found[name]:.1f}' for name in columns)]), flush=True)


if __name__ == '__main__':
    main()
