# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Runs chosen tests on a copy of the checkout, each time in a fork of a process that is warm.

Imports of torch, mmdet and mmseg take most of the time of a small test run. This process imports
them once, but nothing of this package; each fork then imports the package as it is at that moment.

It reads requests from stdin, one JSON object in each line, and answers each with one:

    {"run": "tests", "tests": [ids], "timeout": s}  -> {"outcome": "passed", "seconds": s}
    {"run": "map", "paths": [files], "out": FILE}   -> the same; FILE gets lines and times of tests
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import signal
import sys
import time
import traceback
from pathlib import Path

ROOT = Path.cwd()  # the copy of the checkout
TEMP = ROOT.parent / f'{ROOT.name}-temp'
# What the tests import from elsewhere. Not triton: it reads a variable that tests set.
WARM = (
    'cv2 mmcv.ops mmdet.apis mmdet.datasets mmdet.evaluation mmdet.models mmengine.hub '
    'mmengine.runner mmseg.apis mmseg.datasets mmseg.evaluation mmseg.models PIL.Image '
    'pycocotools.coco pytest yaml'
).split()
OPTIONS = ('-q', '-o', 'addopts=', '-p', 'no:cacheprovider', '-p', 'no:randomly', '-p', 'no:xdist')


class Chosen:
    """A pytest plugin: runs only these tests, in this order, and keeps the first that fails."""

    def __init__(self, tests: list[str]):
        self.rank = {test: i for i, test in enumerate(tests)}
        self.failed = ''

    def pytest_collection_modifyitems(self, items):
        items[:] = sorted(
            (item for item in items if item.nodeid in self.rank),
            key=lambda item: self.rank[item.nodeid],
        )

    def pytest_collectreport(self, report):
        if report.failed and not self.failed:
            self.failed = report.nodeid or 'import'

    def pytest_runtest_logreport(self, report):
        if report.failed and not self.failed:
            self.failed = report.nodeid


class Traced:
    """A pytest plugin: records which lines each test runs, how long it takes, and what fails."""

    def __init__(self, coverage):
        self.coverage, self.seconds, self.failed = coverage, {}, set()

    def pytest_runtest_logstart(self, nodeid):
        self.coverage.switch_context(nodeid)

    def pytest_runtest_logfinish(self):
        self.coverage.switch_context('')

    def pytest_runtest_logreport(self, report):
        test = report.nodeid
        self.seconds[test] = self.seconds.get(test, 0.0) + report.duration
        if not report.passed:
            self.failed.add(test)


def run_tests(tests: list[str], timeout: float) -> dict:
    import pytest

    chosen = Chosen(tests)
    files = sorted({test.partition('::')[0] for test in tests})
    code = pytest.main(['-x', *OPTIONS, f'--basetemp={TEMP / "pytest"}', *files], plugins=[chosen])
    # 5: no test has such a name now, as those of a table that the fault changed; none has failed.
    return {
        'outcome': 'passed' if code in (0, 5) else 'failed',
        'by': chosen.failed or f'exit {code}',
    }


def make_map(paths: list[str], out: str) -> dict:
    import coverage
    import pytest

    measured = coverage.Coverage(
        data_file=None, source=[str(ROOT / 'mmconvnext')], config_file=False, messages=False
    )
    traced = Traced(measured)
    measured.start()
    pytest.main([*OPTIONS, f'--basetemp={TEMP / "pytest"}', *paths], plugins=[traced])
    measured.stop()
    data, tests = measured.get_data(), sorted(set(traced.seconds) - traced.failed)
    number = {test: i for i, test in enumerate(tests)}
    lines = {
        str(Path(file).relative_to(ROOT)): {
            line: sorted(number[test] for test in contexts if test in number)
            for line, contexts in data.contexts_by_lineno(file).items()
        }
        for file in data.measured_files()
    }
    seconds = [round(traced.seconds[test], 3) for test in tests]
    facts = {'tests': tests, 'seconds': seconds, 'lines': lines, 'failed': sorted(traced.failed)}
    Path(out).write_text(json.dumps(facts), encoding='utf-8')
    return {'outcome': 'passed', 'by': ''}


def in_fork(request: dict) -> dict:
    """Answer a request in a child; a child that dies or takes too long has failed."""
    answer, start = TEMP / 'answer.json', time.monotonic()
    answer.unlink(missing_ok=True)
    child = os.fork()
    if child == 0:
        os.setsid()
        log = os.open(TEMP / 'log.txt', os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(log, 1), os.dup2(log, 2)
        code = 1
        try:
            if request.pop('run') == 'map':
                found = make_map(**request)
            else:
                found = run_tests(**request)
            answer.write_text(json.dumps(found))
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush(), sys.stderr.flush()
            os._exit(code)
    until, ended = start + request.get('timeout', 7200), 0
    while not ended and time.monotonic() < until:
        ended = os.waitpid(child, os.WNOHANG)[0]
        time.sleep(0.01)
    with contextlib.suppress(ProcessLookupError):  # also what its tests started
        os.killpg(child, signal.SIGKILL)
    if not ended:
        os.waitpid(child, 0)
    if answer.is_file():
        found = json.loads(answer.read_text())
    else:
        found = {'outcome': 'failed', 'by': 'crash' if ended else 'timeout'}
    return {**found, 'seconds': round(time.monotonic() - start, 2)}


def warm_up() -> None:
    for name in WARM:
        importlib.import_module(name)
    importlib.import_module('torch').set_num_threads(1)
    # pytest collects garbage four times; without what is here it takes no second.
    gc.freeze()


def main() -> None:
    TEMP.mkdir(exist_ok=True)
    sys.path[:0] = [str(ROOT), str(ROOT / 'tests')]
    sys.path.append(str(ROOT / 'tests/stand_ins'))  # mmdet looks for panopticapi at its import
    answers = os.fdopen(os.dup(1), 'w')
    os.dup2(2, 1)  # imports print
    warm_up()
    print(json.dumps({'outcome': 'ready'}), file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps(in_fork(json.loads(line))), file=answers, flush=True)


if __name__ == '__main__':
    main()
