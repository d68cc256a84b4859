# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Pytest plugin: tests use no network, leave no files, and tell which of them are slow.

Imported before torch, which reads some of the variables only once. The programs that tests start
inherit all of it.
"""

import atexit
import gc
import os
import shutil
import sys
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
OFFLINE = str(Path(__file__).parent / 'offline')
sys.path.append(OFFLINE)

import no_network  # noqa: E402

FOLDER = 'MMCONVNEXT_TESTS_FOLDER'
# What tools keep in a checkout; .git and environments are not walked.
CACHES = {'.git', '__pycache__', '.pytest_cache', '.ruff_cache', '.hypothesis', '.mutants', '.fuzz'}
# A test that takes longer is marked slow.
SECONDS = 5.0


# Folders of this session


def is_worker() -> bool:
    """Whether pytest-xdist started this process, with the variables of the one that started it."""
    return 'PYTEST_XDIST_WORKER' in os.environ


def isolate() -> None:
    """Give the session a home, a temporary folder and no network."""
    if is_worker():
        # As many threads as there are workers would only wait for each other.
        os.environ['OMP_NUM_THREADS'] = '1'
    else:
        _make_folders()
    folder = Path(os.environ[FOLDER])
    log = folder / f'network-{os.environ.get("PYTEST_XDIST_WORKER", "main")}.txt'
    log.touch()
    os.environ[no_network.LOG] = str(log)
    no_network.close()


def _make_folders() -> None:
    # pytest's own folders stay where they are, so that one can look at them afterwards.
    os.environ.setdefault('PYTEST_DEBUG_TEMPROOT', tempfile.gettempdir())
    folder = Path(tempfile.mkdtemp(prefix='mmconvnext-tests-')).resolve()
    for name in ('home', 'tmp'):
        (folder / name).mkdir()
    for name in list(os.environ):
        # Caches go to the home directory by default. A proxy might be on this machine.
        moved = ('MMENGINE_HOME', 'TORCH_HOME', 'HF_HOME', 'MPLCONFIGDIR', 'TRITON_CACHE_DIR')
        if name.startswith('XDG_') or name in moved or name.lower().endswith('_proxy'):
            del os.environ[name]
    path = os.environ.get('PYTHONPATH')
    os.environ |= {
        FOLDER: str(folder),
        'HOME': str(folder / 'home'),
        'TMPDIR': str(folder / 'tmp'),
        'PYTHONPATH': os.pathsep.join([OFFLINE, path] if path else [OFFLINE]),
    }
    tempfile.tempdir = None  # read TMPDIR again
    atexit.register(shutil.rmtree, folder, ignore_errors=True)


# What each test leaves as it was


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    item.stash[PLACE] = os.getcwd()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item):
    """Note the variables that the test itself changes; fixtures may set some for many tests.

    mmengine's default scope, which a Runner sets for the process, is put back here.
    """
    before, scopes = dict(os.environ), dict(default_scopes())
    try:
        return (yield)
    finally:
        now = default_scopes()
        now.clear()
        now.update(scopes)
        names = {*before, *os.environ}
        pairs = {name: (before.get(name), os.environ.get(name)) for name in names}
        item.stash[CHANGED] = {name: pair for name, pair in pairs.items() if len({*pair}) > 1}


def default_scopes() -> dict:
    """The scopes that mmengine holds by name, the current one last; none before its import."""
    module = sys.modules.get('mmengine.registry.default_scope')
    return module.DefaultScope._instance_dict if module else {}


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item) -> None:
    # What monkeypatch has not undone is put back without a word: mmengine sets some in every run.
    for name, (before, after) in item.stash.get(CHANGED, {}).items():
        if os.environ.get(name) == after:
            os.environ.pop(name, None)
            if before is not None:
                os.environ[name] = before
    folder = item.stash[PLACE]
    left, log = os.getcwd(), Path(os.environ[no_network.LOG])
    os.chdir(folder)
    if log.stat().st_size:
        tried = log.read_text()
        log.write_text('')
        pytest.fail(f'the test tried to use the network:\n{tried}', pytrace=False)
    if left != folder:
        pytest.fail(f'the test left another working folder: {left!r}', pytrace=False)


PLACE = pytest.StashKey[str]()
CHANGED = pytest.StashKey[dict]()


# No test leaves a file


def files(folder: Path) -> set[str]:
    """Everything below the folder, but for caches, environments and an editor's hidden files."""
    found, todo = set(), [folder]
    for place in todo:
        for path in place.iterdir():
            if path.name in CACHES or path.name.startswith(('.venv', '.#')):
                continue
            if path.suffix == '.swp' or path.name.endswith('~'):
                continue
            found.add(str(path))
            if path.is_dir() and not path.is_symlink():
                todo.append(path)
    return found


def pytest_sessionstart(session: pytest.Session) -> None:
    if not is_worker():
        session.config.stash[BEFORE] = files(ROOT)


BEFORE = pytest.StashKey[set[str]]()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Files that came or went are an error of the whole run, not of a single test."""
    gc.collect()  # some remove their folders in __del__
    before = session.config.stash.get(BEFORE, None)
    if before is None:
        return
    gc.collect()  # objects that remove a folder of theirs, such as mmdet's panoptic metric
    after = files(ROOT)
    rows = [f'new: {name}' for name in sorted(after - before)]
    rows += [f'gone: {name}' for name in sorted(before - after)]
    temporary = Path(os.environ[FOLDER], 'tmp')
    theirs = ('torchinductor_', 'pymp-')  # of torch; of multiprocessing, which removes it at exit
    left = sorted(p.name for p in temporary.iterdir() if not p.name.startswith(theirs))
    rows += [f'left in the temporary folder: {name}' for name in left]
    if rows:
        report = pytest.TestReport(
            nodeid='files left behind',
            location=('', None, 'files left behind'),
            keywords={},
            outcome='failed',
            longrepr='\n'.join(rows),
            when='teardown',
        )
        terminal = session.config.pluginmanager.get_plugin('terminalreporter')
        terminal.stats.setdefault('error', []).append(report)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


# Slow tests are marked


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """How many slow tests ran; which tests should be marked."""
    calls = {
        report.nodeid: report
        for reports in terminalreporter.stats.values()
        for report in reports
        if getattr(report, 'when', None) == 'call'
    }
    marked = [report.duration for report in calls.values() if 'slow' in report.keywords]
    write = terminalreporter.write_line
    if marked:
        write(f'{len(marked)} tests are marked slow; they took {sum(marked):.0f} s')
    for name, report in calls.items():
        if report.duration > SECONDS and 'slow' not in report.keywords:
            write(f'{name} took {report.duration:.1f} s and is not marked slow')


isolate()
