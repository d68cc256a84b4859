# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Contract: no bytes that a reader gets end in anything but its own error, or run code.

A moment for each target, always with the same inputs; tests/fuzz/run.py goes on from here.
"""

import tempfile
from importlib import import_module
from pathlib import Path

import pytest
from fuzz import TARGETS
from fuzz.guard import Escaped, Guard
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

GUARD = Guard()


def run(target, data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder, GUARD:
        target.run(data, Path(folder))


@pytest.mark.parametrize('name', TARGETS)
def test_seeds(name):
    target = import_module(f'fuzz.{name}')
    for seed in target.SEEDS:
        run(target, seed)


@pytest.mark.parametrize('name', TARGETS)
@settings(
    max_examples=150,
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.generate],  # to make a finding smaller takes minutes
    suppress_health_check=[*HealthCheck],
)
@given(data=st.data())
def test_damaged_seeds(name, data):
    """A seed that was cut, or of which some bytes were changed, doubled or left out."""
    target = import_module(f'fuzz.{name}')
    content = bytearray(data.draw(st.sampled_from(target.SEEDS)))
    for _ in range(data.draw(st.integers(0, 6))):
        at = data.draw(st.integers(0, len(content)))
        end = at + data.draw(st.integers(0, 8))
        content[at:end] = data.draw(st.binary(max_size=8))
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content))) :]
    run(target, bytes(content))


def test_the_guard_notices_what_runs():
    with pytest.raises(Escaped, match=r"^os\.system\(b'false',\)$"), GUARD:
        __import__('os').system('false')
