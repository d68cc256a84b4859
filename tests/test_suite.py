# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Contract of the suite itself: unknown warnings are errors, and the result is the last line."""

import subprocess
import sys

import pytest
from fixtures import ROOT


def run_pytest(*args: object) -> list[str]:
    """The lines printed by pytest and at the interpreter's exit."""
    command = [sys.executable, '-m', 'pytest', '-q', '-p', 'no:cacheprovider', *map(str, args)]
    done = subprocess.run(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300
    )
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    ('warning', 'result'),
    [
        ("'ours'", '1 failed'),
        ("'old', DeprecationWarning", '1 failed'),
        ("'`reduce_zero_label` will be deprecated, if'", '1 passed'),
    ],
)
def test_warnings_are_errors_unless_they_are_listed(tmp_path, warning, result):
    file = tmp_path / 'test_warns.py'
    file.write_text(f'import warnings\n\ndef test_it():\n    warnings.warn({warning})\n')
    lines = run_pytest('-c', ROOT / 'pyproject.toml', file)
    assert lines[-1].startswith(f'{result} in ')


def test_the_result_is_the_last_line():
    """Also after the interpreted Triton kernels: Triton reports at exit what was not cleaned up."""
    pytest.importorskip('triton')
    lines = run_pytest('tests/test_kernels/test_triton/test_sums.py')
    assert ' passed' in lines[-1] or ' skipped' in lines[-1], '\n'.join(lines[-30:])
