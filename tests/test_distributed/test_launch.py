# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""distributed/launch.py and its scripts: options of torchrun, usage, statuses, restarts."""

import os
import signal
import subprocess
import sys
from types import SimpleNamespace

import pytest
from fixtures import ROOT

from mmconvnext.distributed import launch
from mmconvnext.distributed.launch import Usage, options, report

SCRIPTS = {'dist_train.sh': 'train.py', 'dist_test.sh': 'test.py'}
HEAD = ['--nnodes=1', '--nproc-per-node=4', '--max-restarts=0', '--monitor-interval=0.5']


# Options


def test_one_machine_takes_a_free_port():
    assert options('4', {}) == [*HEAD, '--standalone', '--local-addr=127.0.0.1']
    assert options('gpu', {})[1] == '--nproc-per-node=gpu'
    assert options('4', dict(MAX_RESTARTS='3'))[2] == '--max-restarts=3'


@pytest.mark.parametrize(
    ('environ', 'expected'),
    [
        (dict(PORT='1234'), ['--node-rank=0', '--master-addr=127.0.0.1', '--master-port=1234']),
        (
            dict(NNODES='2', NODE_RANK='1', MASTER_ADDR='10.0.0.1'),
            ['--node-rank=1', '--master-addr=10.0.0.1', '--master-port=29500'],
        ),
        (
            dict(NNODES='2', MASTER_ADDR='10.0.0.1', PORT='1234', JOB_ID='a7'),
            ['--rdzv-backend=c10d', '--rdzv-endpoint=10.0.0.1:1234', '--rdzv-id=a7'],
        ),
        (
            dict(NNODES='2', MASTER_ADDR='localhost'),
            [
                '--rdzv-backend=c10d',
                '--rdzv-endpoint=localhost:29500',
                '--rdzv-id=mmconvnext',
                '--local-addr=127.0.0.1',
            ],
        ),
    ],
    ids=['port', 'static', 'rendezvous', 'loopback'],
)
def test_given_addresses_are_used(environ, expected):
    assert options('4', environ)[4:] == expected


def test_torchrun_knows_the_options():
    from torch.distributed import run

    for environ in ({}, dict(NNODES='2', MASTER_ADDR='localhost'), dict(PORT='1')):
        args = run.parse_args([*options('2', environ), 'a.py', '--launcher', 'pytorch'])
        assert (args.training_script, args.nproc_per_node) == ('a.py', '2')
        assert args.training_script_args == ['--launcher', 'pytorch']


@pytest.mark.parametrize(
    ('processes', 'environ', 'match'),
    [
        ('0', {}, "PROCESSES='0': choose a whole number from 1 on"),
        ('two', {}, "PROCESSES='two'"),
        ('-1', {}, "PROCESSES='-1'"),
        ('2', dict(NNODES='0'), "NNODES='0': choose a whole number from 1 on"),
        ('2', dict(MAX_RESTARTS='-1'), "MAX_RESTARTS='-1': choose a whole number from 0 on"),
        ('2', dict(PORT='65536'), "PORT='65536': choose a whole number from 1 to 65535"),
        ('2', dict(PORT='0'), "PORT='0'"),
        ('2', dict(NNODES='2'), 'NNODES=2, but MASTER_ADDR is not set; set it on each machine'),
        (
            '2',
            dict(NNODES='2', MASTER_ADDR='a', NODE_RANK='2'),
            "NODE_RANK='2': choose a whole number from 0 to 1",
        ),
    ],
)
def test_values_that_cannot_be_used(processes, environ, match, monkeypatch, capsys):
    with pytest.raises(Usage, match=f'^{match}'):
        options(processes, environ)
    for name in ('NNODES', 'NODE_RANK', 'MASTER_ADDR', 'PORT', 'MAX_RESTARTS'):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit, match='^2$'):
        launch.main(['a.py', processes])
    assert capsys.readouterr().err.startswith('error: ')


def test_one_for_each_gpu_needs_a_gpu(monkeypatch, capsys):
    monkeypatch.setattr(launch, '_has_gpu', lambda: False)
    with pytest.raises(SystemExit, match='2'):
        launch.main(['a.py', 'gpu'])
    text = 'error: gpu: torch finds no GPU here; give a number of processes\n'
    assert capsys.readouterr().err == text


@pytest.mark.parametrize(
    ('cores', 'gpu', 'given', 'threads'),
    [(8, False, None, '2'), (3, False, None, '1'), (8, True, None, '1'), (8, False, '5', '5')],
)
def test_cores_are_divided(monkeypatch, cores, gpu, given, threads):
    monkeypatch.setattr(os, 'sched_getaffinity', lambda _: range(cores))
    monkeypatch.setattr('torch.cuda.is_available', lambda: gpu)
    for name in ('OMP_NUM_THREADS', 'MKL_NUM_THREADS'):
        monkeypatch.delenv(name, raising=False)
    if given:
        monkeypatch.setenv('OMP_NUM_THREADS', given)
    launch._divide_cores('4')
    assert os.environ['OMP_NUM_THREADS'] == os.environ['MKL_NUM_THREADS'] == threads


# The end


def failures(**codes):
    """``r1=(2, 7)``: rank 1 ended with status 2 at second 7."""
    return {
        int(name[1:]): SimpleNamespace(exitcode=code, timestamp=time)
        for name, (code, time) in codes.items()
    }


@pytest.mark.parametrize(
    ('found', 'status', 'said'),
    [
        (failures(r1=(2, 7), r0=(-15, 7)), 2, ''),
        (failures(r0=(1, 9), r1=(2, 7)), 2, ''),
        # A process that was killed says nothing; those that lost it end with status 1.
        (failures(r0=(1, 7), r1=(-9, 7)), 137, 'rank 1 was ended by SIGKILL; often the machine'),
        (failures(r3=(-11, 7), r0=(-15, 7)), 139, 'rank 3 was ended by SIGSEGV\n'),
        (failures(r2=(-15, 7)), 143, 'rank 2 was ended by SIGTERM\n'),
    ],
)
def test_the_process_that_failed_by_itself_gives_the_status(found, status, said, capsys):
    assert report(found) == status
    err = capsys.readouterr().err
    assert err.startswith(f'error: {said}') if said else not err


# The scripts


@pytest.mark.parametrize('script', SCRIPTS)
@pytest.mark.parametrize('argv', [(), ('--help',), ('a.py',)], ids=['none', 'help', 'one'])
def test_too_few_arguments_show_the_usage(script, argv):
    done = call(script, *argv)
    checkpoint = 'CHECKPOINT ' if script == 'dist_test.sh' else ''
    head, *rest = done.stderr.splitlines()
    assert (done.returncode, done.stdout) == (2, '')
    assert head.startswith('usage: ') and head.endswith(
        f'/tools/{script} CONFIG {checkpoint}PROCESSES [options of {SCRIPTS[script]}]'
    )
    for name in ('PORT', 'MAX_RESTARTS', 'NNODES', 'MASTER_ADDR', 'NODE_RANK', 'JOB_ID'):
        assert any(line.strip().startswith(name) for line in rest), name


def call(script, *argv, **variables):
    return subprocess.run(
        [str(ROOT / 'tools' / script), *argv],
        env=os.environ | dict(PYTHON=sys.executable) | variables,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.parametrize('script', SCRIPTS)
def test_the_scripts_pass_everything_on(script, tmp_path, monkeypatch):
    """Through a stand-in for the interpreter that shows what it is given."""
    shows = tmp_path / 'my python'
    shows.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    shows.chmod(0o755)
    done = call(script, 'my config.py', '--cfg-options', 'b=x y', PYTHON=str(shows))
    tool = SCRIPTS[script].removesuffix('.py')
    path = f'{ROOT}/tools/{script}'
    rest = ['my config.py', '--cfg-options', 'b=x y']
    assert done.stdout.splitlines() == [f'{ROOT}/tools/_launch.py', path, tool, *rest]


@pytest.mark.parametrize(
    ('tool', 'given', 'passed'),
    [
        ('train', ['a b.py', '4', '--amp'], ['a b.py', '--launcher', 'pytorch', '--amp']),
        (
            'test',
            ['a.py', 'x y.pth', '4', '--tta'],
            ['a.py', 'x y.pth', '--launcher', 'pytorch', '--tta'],
        ),
    ],
)
def test_the_tool_gets_its_launcher(tool, given, passed, monkeypatch):
    """tools/_launch.py, up to torchrun."""
    import runpy

    for name in ('NNODES', 'NODE_RANK', 'MASTER_ADDR', 'PORT', 'MAX_RESTARTS'):
        monkeypatch.delenv(name, raising=False)
    seen = []
    monkeypatch.setattr('torch.distributed.run.run', seen.append)
    monkeypatch.syspath_prepend(str(ROOT / 'tools'))
    monkeypatch.setattr(sys, 'argv', ['_launch.py', 'shown.sh', tool, *given])
    runpy.run_path(str(ROOT / 'tools/_launch.py'), run_name='__main__')
    sys.modules.pop('_start', None)
    (args,) = seen
    assert args.training_script == str(ROOT / f'tools/{tool}.py')
    assert (args.training_script_args, args.nproc_per_node) == (passed, '4')


# Real processes, without the packages of MM

WORKER = """
import os, signal, sys, time
sys.path.insert(0, {root!r})
from mmconvnext.distributed.process import run_one_of_several
import torch, torch.distributed as dist

def main():
    dist.init_process_group('gloo')
    rank, first = dist.get_rank(), os.environ['TORCHELASTIC_RESTART_COUNT'] == '0'
    for step in range(3):
        if step == 1 and rank == 1 and first:
            {fault}
        dist.all_reduce(torch.ones(1))
    if rank == 0:
        print('attempt', os.environ['TORCHELASTIC_RESTART_COUNT'], 'done', flush=True)

run_one_of_several(main)
"""


@pytest.fixture
def start(tmp_path):
    """A function that starts an agent with two processes, of which rank 1 fails."""

    def begin(fault, **variables):
        script = tmp_path / 'worker.py'
        script.write_text(WORKER.format(root=str(ROOT), fault=fault))
        code = 'import sys; from _start import load; load("distributed/launch.py").main({})'
        argv = [str(script), '2' if 'NNODES' not in variables else '1']
        names = ('NNODES', 'NODE_RANK', 'MASTER_ADDR', 'PORT', 'MAX_RESTARTS')
        environ = {name: value for name, value in os.environ.items() if name not in names}
        return subprocess.Popen(
            [sys.executable, '-c', code.format(argv)],
            env=environ | dict(GLOO_SOCKET_IFNAME='lo') | variables,
            cwd=ROOT / 'tools',
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return begin


@pytest.mark.slow
@pytest.mark.parametrize(
    ('fault', 'status', 'said'),
    [
        (
            'from mmconvnext.recipe.errors import RecipeError; raise RecipeError("the way out")',
            2,
            'error in rank 1 of 2: the way out\n',
        ),
        ('os.kill(os.getpid(), signal.SIGKILL)', 137, 'error: rank 1 was ended by SIGKILL'),
    ],
    ids=['mistake', 'killed'],
)
def test_the_others_stop_and_the_status_is_that_of_the_fault(start, fault, status, said):
    agent = start(fault)
    out, err = agent.communicate(timeout=60)
    assert (agent.returncode, out) == (status, ''), err
    assert err.count(said) == 1 and 'Traceback' not in err, err


@pytest.mark.slow
def test_two_machines_restart_after_a_kill(start):
    """Two agents on this machine, one process each; rank 1 is killed once."""
    import socket

    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = str(free.getsockname()[1])
    given = dict(NNODES='2', MASTER_ADDR='127.0.0.1', PORT=port, MAX_RESTARTS='2')
    agents = [start('os.kill(os.getpid(), signal.SIGKILL)', **given) for _ in range(2)]
    outs = [agent.communicate(timeout=90) for agent in agents]
    assert [agent.returncode for agent in agents] == [0, 0], outs
    assert 'done' in ''.join(out for out, _ in outs)


def test_signals_of_schedulers_are_passed_on(monkeypatch):
    seen = []
    monkeypatch.setattr('torch.distributed.run.run', seen.append)
    for name in ('NNODES', 'NODE_RANK', 'MASTER_ADDR', 'PORT', 'MAX_RESTARTS'):
        monkeypatch.delenv(name, raising=False)
    launch.main(['a.py', '1'])
    handled = getattr(seen[0], 'signals_to_handle', 'SIGTERM,SIGUSR1')
    assert {'SIGTERM', 'SIGUSR1'} <= set(handled.split(','))
    assert signal.SIGUSR1  # the name exists here


@pytest.mark.parametrize('sent', [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_ends_with_its_number(monkeypatch, sent):
    from torch.distributed.elastic.multiprocessing import SignalException

    def run(args):
        raise SignalException('stop', sent)

    monkeypatch.setattr('torch.distributed.run.run', run)
    with pytest.raises(SystemExit, match=f'^{128 + sent}$'):
        launch.main(['a.py', '1'])
