# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Contract of the suite itself: what it reports as an error, and that the result comes last.

The inner runs of pytest are of files that the tests write.
"""

import ast
import os
import random
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import isolation
import no_network
import numpy as np
import processes
import pytest
import torch
from fixtures import ROOT
from mmengine.registry import DefaultScope, init_default_scope
from ranks import fail_or_wait

TESTS = ROOT / 'tests'


def run_pytest(*args: object) -> subprocess.CompletedProcess:
    command = [sys.executable, '-m', 'pytest', '-q', '-p', 'no:cacheprovider', *map(str, args)]
    env = {name: value for name, value in os.environ.items() if 'XDIST' not in name}
    env['COLUMNS'] = '200'
    return subprocess.run(
        command,
        cwd=ROOT,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )


def test_warnings_are_errors_unless_they_are_listed(tmp_path):
    file = tmp_path / 'test_warns.py'
    file.write_text(
        'import warnings\nimport pytest\n'
        '@pytest.mark.parametrize("warning", [("ours",), ("old", DeprecationWarning), '
        '("`reduce_zero_label` will be deprecated, if",)])\n'
        'def test_it(warning):\n    warnings.warn(*warning)\n'
    )
    done = run_pytest('-c', ROOT / 'pyproject.toml', file)
    assert done.stdout.splitlines()[-1].startswith('2 failed, 1 passed in ')
    assert 'UserWarning: ours' in done.stdout and 'DeprecationWarning: old' in done.stdout


@pytest.mark.slow
def test_the_result_is_the_last_line():
    """Also after the interpreted Triton kernels: Triton reports at exit what was not cleaned up."""
    pytest.importorskip('triton')
    lines = run_pytest('tests/test_kernels/test_triton/test_sums.py').stdout.splitlines()
    assert ' passed' in lines[-1] or ' skipped' in lines[-1], '\n'.join(lines[-30:])


# isolation.py

HERE = ['127.0.0.1', '127.9.9.9', '::1', '::1%lo', b'127.0.0.1', '0.0.0.0', '::', 'localhost']
ELSEWHERE = ['128.0.0.1', '126.255.255.255', '10.0.0.1', '169.254.169.254', '::2', b'example.org']


@pytest.mark.parametrize('host', [*HERE, '', None, socket.gethostname()])
def test_what_is_this_machine(host):
    assert no_network.is_here(host)


@pytest.mark.parametrize('host', [*ELSEWHERE, 'localhost.example.org', 'example.org'])
def test_what_is_elsewhere(host):
    assert not no_network.is_here(host)


@pytest.mark.parametrize(
    'event, arguments, refused',
    [
        ('socket.connect', (None, ('10.0.0.1', 80)), True),
        ('socket.connect', (None, ('::2', 80, 0, 0)), True),
        ('socket.connect', (None, ('127.0.0.1', 80)), False),
        ('socket.connect', (None, '/tmp/a.socket'), False),
        ('socket.sendto', (None, ('10.0.0.1', 80)), True),
        ('socket.sendmsg', (None, ('10.0.0.1', 80)), True),
        ('socket.sendmsg', (None, None), False),
        ('socket.getaddrinfo', ('example.org', 443, 0, 0, 0), True),
        ('socket.getaddrinfo', ('localhost', 443, 0, 0, 0), False),
        ('socket.gethostbyname', ('example.org',), True),
        ('socket.gethostbyaddr', ('10.0.0.1',), True),
        ('socket.getnameinfo', (('10.0.0.1', 80),), True),
        ('socket.getnameinfo', (('127.0.0.1', 80),), False),
        ('socket.bind', (None, ('10.0.0.1', 80)), False),
        ('open', ('example.org',), False),
    ],
)
def test_which_calls_are_refused_and_written_down(event, arguments, refused, tmp_path, monkeypatch):
    monkeypatch.setenv(no_network.LOG, str(tmp_path / 'log'))
    if not refused:
        no_network._refuse(event, arguments)
        assert not (tmp_path / 'log').exists()
        return
    with pytest.raises(no_network.NetworkTried, match=f'no network, but this was tried: {event}:'):
        no_network._refuse(event, arguments)
    assert (tmp_path / 'log').read_text().startswith(f'{event}: ')


INNER = """
import socket, subprocess, sys, tempfile, time, urllib.request
from pathlib import Path
import isolation, pytest

def connect(*address):
    with socket.socket() as client, pytest.raises(ConnectionRefusedError):
        client.connect(address)

def test_this_machine():
    connect('127.0.0.1', 9)
    connect('localhost', 9)

def test_swallows():
    with pytest.raises(Exception, match='the tests use no network, but .*: example.com'):
        urllib.request.urlopen('http://example.com')

def test_address():
    with socket.socket() as client, pytest.raises(RuntimeError, match="connect: .*192.0.2.1', 80"):
        client.connect(('192.0.2.1', 80))

def test_datagram():
    kind = socket.SOCK_DGRAM
    with socket.socket(type=kind) as client, pytest.raises(RuntimeError, match='sendto'):
        client.sendto(b'', ('192.0.2.1', 80))

def test_another_program():
    code = 'import socket; socket.gethostbyname("example.org")'
    assert subprocess.run([sys.executable, '-c', code]).returncode == 1

def test_leaves_a_file():
    (isolation.ROOT / 'sub').mkdir()
    (isolation.ROOT / 'sub/new.txt').touch()
    (isolation.ROOT / '__pycache__').mkdir()
    (isolation.ROOT / 'old.txt').unlink()
    Path(tempfile.mkstemp(prefix='tmpleft')[1])
    Path('~/home.txt').expanduser().touch()

@pytest.mark.slow
def test_marked():
    time.sleep(0.3)

def test_not_marked():
    time.sleep(0.3)

@pytest.fixture(scope='module')
def of_the_module():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('MODULE', '1')
        yield

@pytest.mark.parametrize('turn', [1, 2])
def test_variables(turn, of_the_module):
    import os
    assert os.environ['MODULE'] == '1'
    assert 'LEFT' not in os.environ and 'HOME' in os.environ
    os.environ['LEFT'] = '1'
    del os.environ['HOME']

def test_folder():
    import os
    os.chdir('/')

def test_fine(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('SET', '1')
"""
INNER_CONFTEST = f"""
import sys
sys.path.append({str(TESTS)!r})
from pathlib import Path
import isolation

def pytest_configure(config):
    config.addinivalue_line('markers', 'slow: is marked')
    isolation.ROOT, isolation.SECONDS = Path(__file__).parent / 'checkout', 0.2
    config.pluginmanager.register(isolation)
"""


@pytest.fixture(scope='module')
def inner(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp('inner')
    (folder / 'conftest.py').write_text(INNER_CONFTEST)
    (folder / 'test_inner.py').write_text(INNER)
    return folder


@pytest.fixture
def run_inner(inner):
    def run(*options: str) -> subprocess.CompletedProcess:
        shutil.rmtree(inner / 'checkout', ignore_errors=True)
        (inner / 'checkout').mkdir()
        (inner / 'checkout/old.txt').touch()
        return run_pytest('--rootdir', inner, '-rE', *options, inner)

    return run


def test_what_a_test_must_not_do_is_an_error(run_inner):
    done = run_inner()
    text = done.stdout
    assert done.returncode == 1
    assert re.search(r'\n12 passed, 6 errors in ', text), text
    errors = re.findall(r'^ERROR \S*::test_(\w+) - Failed: the test (.*)$', text, re.MULTILINE)
    network = 'tried to use the network:'
    assert dict(errors) == {
        **dict.fromkeys(('swallows', 'address', 'datagram', 'another_program'), network),
        'folder': "left another working folder: '/'",
    }
    for tried in ('getaddrinfo: example.com', 'gethostbyname: example.org', "sendto: ('192.0.2.1"):
        assert f'\nsocket.{tried}' in text
    left = text.partition('ERROR at teardown of files left behind')[2].splitlines()[1:6]
    checkout = Path(re.search(r'new: (.*)/sub\n', text)[1])
    assert left[:3] == [
        f'new: {checkout}/sub',
        f'new: {checkout}/sub/new.txt',
        f'gone: {checkout}/old.txt',
    ]
    assert left[3].startswith('left in the temporary folder: tmpleft')
    assert not Path(os.environ['HOME'], 'home.txt').exists()
    # Not an error, because a busy machine is slow.
    assert re.search(r'\n1 tests are marked slow; they took 0 s\n', text)
    assert '::test_not_marked took 0.3 s and is not marked slow\n' in text
    assert '::test_marked took' not in text and '::test_this_machine took' not in text


@pytest.mark.slow
def test_workers_of_xdist_are_held_to_the_same(run_inner):
    pytest.importorskip('xdist')
    done = run_inner('-n', '2', '-k', 'swallows or leaves_a_file or fine')
    assert done.returncode == 1
    assert '3 passed, 2 errors in ' in done.stdout, done.stdout
    assert 'network:' in done.stdout and '/sub/new.txt\n' in done.stdout


def test_the_folders_of_a_session_go_with_it(run_inner, tmp_path, monkeypatch):
    monkeypatch.setenv('TMPDIR', str(tmp_path))
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    done = run_inner('-k', 'fine')
    assert done.returncode == 0 and 'slow' not in done.stdout, done.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize('made, status', [((), 0), (('checkout/a.txt',), 1), (('tmp/b',), 1)])
def test_files_alone_make_a_run_fail(made, status, tmp_path, monkeypatch):
    for folder in ('checkout', 'tmp'):
        (tmp_path / folder).mkdir()
    (tmp_path / 'tmp/pymp-x').mkdir()  # multiprocessing's, until the process ends
    monkeypatch.setattr(isolation, 'ROOT', tmp_path / 'checkout')
    monkeypatch.setenv(isolation.FOLDER, str(tmp_path))
    terminal = SimpleNamespace(stats={})
    plugins = SimpleNamespace(get_plugin={'terminalreporter': terminal}.get)
    config = SimpleNamespace(stash={isolation.BEFORE: set()}, pluginmanager=plugins)
    session = SimpleNamespace(config=config, exitstatus=0)
    for name in made:
        (tmp_path / name).touch()
    isolation.pytest_sessionfinish(session)
    assert session.exitstatus == status
    told = [report.longrepr for report in terminal.stats.get('error', ())]
    assert len(told) == len(made) and all(Path(n).name in t for n, t in zip(made, told))


def test_a_scope_that_a_test_sets_is_not_that_of_the_next():
    """A Runner without ``default_scope`` sets mmengine's, where mmseg finds none of its classes."""
    before = DefaultScope.get_current_instance()
    call = isolation.pytest_runtest_call(SimpleNamespace(stash={}))
    next(call)
    init_default_scope('mmseg')
    DefaultScope.get_instance('left', scope_name='mmengine')
    with pytest.raises(StopIteration, match='done'):
        call.send('done')
    assert DefaultScope.get_current_instance() is before
    assert 'left' not in DefaultScope._instance_dict


# Random numbers, processes, skips


@pytest.fixture(scope='module')
def drawn():
    """Random numbers of a fixture that is made once."""
    return random.random(), np.random.random(), torch.rand(1).item()


def test_random_numbers_are_the_same_in_every_run(drawn):
    """Whatever ran before, and whatever seed pytest-randomly has drawn for the order."""
    now = random.random(), np.random.random(), torch.rand(1).item()
    expected = (
        random.Random(0).random(),
        np.random.RandomState(0).random(),
        torch.rand(1, generator=torch.Generator().manual_seed(0)).item(),
    )
    assert now == drawn == expected


def test_processes_start_from_what_is_here_now(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('NOW', 'here')
    done = processes.run(
        'import os, sys\n'
        'print(os.getcwd(), os.environ["NOW"], "torch" in sys.modules)\n'
        'assert "mmconvnext" not in sys.modules\n'
        'os.write(2, b"said")\n'
        'raise SystemExit(3)'
    )
    assert done.stdout.split() == [str(tmp_path), 'here', 'True']
    assert done.stderr == 'said' and done.returncode == 3
    done = processes.run('1 / 0')
    assert done.returncode == 1 and 'ZeroDivisionError' in done.stderr


def test_a_failed_process_ends_those_that_wait_for_it(monkeypatch):
    monkeypatch.setattr(processes, 'GRACE', 0.3)
    waiting, failed = processes.call(fail_or_wait, count=2)
    assert waiting.returncode == -9 and failed.returncode == 1
    assert 'rank 1 has a bug' in failed.stderr and 'bug' not in waiting.stderr


def without_reason(source: str) -> list[str]:
    """The calls that skip a test without saying why."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            said = [*node.args, *(k.value for k in node.keywords if k.arg in ('reason', 'msg'))]
            if name.endswith('mark.skipif'):
                said = said[1:]
            elif not name.endswith(('pytest.skip', 'mark.skip', 'mark.xfail', 'pytest.xfail')):
                continue
            if not any(getattr(value, 'value', 'computed') for value in said):
                found.append(ast.unparse(node))
        elif isinstance(node, ast.Attribute) and ast.unparse(node).endswith('mark.skip'):
            found.append(ast.unparse(node))
    # `mark.skip` is also the function of each call of it.
    return [call for call in found if not (call.endswith('mark.skip') and f'{call}(' in source)]


@pytest.mark.parametrize(
    'source, count',
    [
        ('pytest.skip()', 1),
        ('pytest.skip("")', 1),
        ('@pytest.mark.skip\ndef test(): pass', 1),
        ('@pytest.mark.skip()\ndef test(): pass', 1),
        ('@pytest.mark.skipif(True)\ndef test(): pass', 1),
        ('@pytest.mark.skipif(True, reason="")\ndef test(): pass', 1),
        ('pytest.skip("no compiler")', 0),
        ('pytest.skip(table["skip"])', 0),
        ('@pytest.mark.skip(reason="no compiler")\ndef test(): pass', 0),
        ('@pytest.mark.skipif(True, reason=f"{1}")\ndef test(): pass', 0),
    ],
)
def test_a_skip_without_a_reason_is_seen(source, count):
    assert len(without_reason(source)) == count


def test_skipped_tests_say_why():
    found = {str(file): without_reason(file.read_text()) for file in TESTS.rglob('test_*.py')}
    assert {file: calls for file, calls in found.items() if calls} == {}
