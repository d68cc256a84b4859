# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Contract of tools/*.py: options are read before anything slow is imported."""

import shutil
import subprocess
import sys

import processes
import pytest
from fixtures import ROOT

TOOLS = sorted(
    path
    for path in (ROOT / 'tools').glob('[!_]*.py')
    if path.name != 'setup_env.py'  # it only needs the standard library, tested in test_setup_env
)
# With their imports, --help would take seconds: torch alone takes one.
SLOW = {'torch', 'mmengine', 'mmcv', 'mmdet', 'mmseg', 'numpy', 'matplotlib', 'mmconvnext'}


def run(*command: object) -> tuple[subprocess.CompletedProcess, set[str]]:
    """Run a tool; return what it did and the top-level packages that it imported."""
    done = subprocess.run(
        [sys.executable, '-X', 'importtime', *map(str, command)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    rows = [row for row in done.stderr.splitlines() if row.startswith('import time:')]
    return done, {row.rpartition('|')[2].strip().partition('.')[0] for row in rows}


@pytest.mark.parametrize('tool', TOOLS, ids=lambda path: path.stem)
def test_help_and_wrong_options_import_nothing_slow(tool):
    done, imported = run(tool, '--help')
    assert done.returncode == 0 and done.stdout.startswith(f'usage: {tool.name}')
    assert 'argparse' in imported and not imported & SLOW
    done, imported = run(tool, '--no-such-option')
    assert done.returncode == 2 and f'usage: {tool.name}' in done.stderr
    assert not imported & SLOW


@pytest.mark.parametrize('tool', ['train', 'test', 'convert_checkpoint', 'migrate_config'])
def test_a_copied_tool_starts(tool, tmp_path):
    """Away from `_start.py`, as with `python -m tools.train`, it starts as well, only slower."""
    copy = shutil.copy(ROOT / f'tools/{tool}.py', tmp_path)
    done = processes.script(copy, '--help')
    assert done.returncode == 0 and done.stdout.startswith(f'usage: {tool}.py')


def test_no_name_of_a_users_module_is_taken():
    code = 'import sys, _start; _start.load("cli/options.py"); assert "options" not in sys.modules'
    done = subprocess.run(
        [sys.executable, '-c', code], cwd=ROOT / 'tools', capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_pairs_are_checked_before_the_imports():
    done, imported = run(ROOT / 'tools/train.py', 'a.py', '--cfg-options', 'a')
    assert done.returncode == 2 and "'a' is not KEY=VALUE" in done.stderr
    assert not imported & SLOW


def test_weights_are_listed_without_the_package():
    done, imported = run(ROOT / 'tools/list_weights.py', 'tiny_in1k')
    assert done.returncode == 0 and 'convnext-tiny_in1k' in done.stdout
    assert not imported & SLOW


def test_a_list_that_is_cut_off_ends_quietly():
    tool = [sys.executable, str(ROOT / 'tools/list_weights.py'), '--urls']
    with subprocess.Popen(tool, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout.read(4)
        process.stdout.close()  # more than a pipe holds is left
        assert process.stderr.read() == b''
