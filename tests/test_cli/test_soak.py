# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""tools/soak.py: what it starts, counts, compares and refuses; the runs are stand-ins."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from mmconvnext.cli import soak
from mmconvnext.cli.options import train_parser
from mmconvnext.recipe.errors import RecipeError

# A training of 12 steps of 50 ms that handles signals as ours does; SIGKILL loses up to 3 steps.
PROGRAM = """
import json, os, signal, sys, time
from pathlib import Path
place = Path(sys.argv[sys.argv.index('--work-dir') + 1])
end = WEIGHT if place.name.startswith('run') else 1.0
file = place / 'resume_iter_1.pth'
assert file.is_file() == ('--resume' in sys.argv)
step = json.loads(file.read_text())['step'] if file.is_file() else 0
logs = place / str(time.time()) / 'vis_data'
logs.mkdir(parents=True)
caught = []
for name in ('SIGTERM', 'SIGUSR1', 'SIGINT'):
    signal.signal(getattr(signal, name), lambda number, _: caught.append(number))
while step < 12:
    time.sleep(0.05)
    step += 1
    with open(logs / 'scalars.json', 'a') as log:
        log.write('{"loss": 1}\\n')
    if step % 3 == 0 or caught:
        Path(f'{file}.part').write_text(json.dumps(dict(step=step, weight=end)))
        os.replace(f'{file}.part', file)
    if caught:
        sys.exit(128 + caught[0])
"""


@pytest.fixture
def program(monkeypatch):
    """A function that replaces the training; ``weight`` is what killed runs end with."""
    monkeypatch.setattr(soak, 'VARIANTS', soak.VARIANTS[:2])
    read = lambda place: json.loads((place / 'resume_iter_1.pth').read_text())  # noqa: E731
    monkeypatch.setattr(soak, '_content', read)

    def use(weight=1.0, text=PROGRAM):
        monkeypatch.setattr(soak, 'PROGRAM', text.replace('WEIGHT', str(weight)))

    return use


def test_runs_are_killed_until_the_number_is_reached(program, tmp_path, capsys):
    program()
    (tmp_path / 'whole_0').mkdir()  # an earlier call was stopped here; the stand-in refuses it
    (tmp_path / 'whole_0/resume_iter_1.pth').write_text('{"step": 5, "weight": 7}')
    soak.main(['--kills', '3', '--out', str(tmp_path)])
    record = json.loads((tmp_path / 'record.json').read_text())
    kills = [kill for run in record['runs'] for kill in run['kills']]
    assert len(kills) >= 3 and all(run['equal'] for run in record['runs'])
    statuses = dict(SIGTERM=143, SIGUSR1=138, SIGINT=130, SIGKILL=-9)
    for kill in kills:
        early = -signal.Signals[kill['signal']]  # the handlers were not there yet
        assert kill['status'] in (early, statuses[kill['signal']])
    lines = capsys.readouterr().out.splitlines()
    assert lines[-3].split() == ['runs', 'kills', *soak.SIGNALS, 'slowest', 'equal']
    assert lines[-2].startswith('detection, by epochs, 0 workers ')
    seconds = [whole['seconds'] for whole in record['whole'].values()]
    assert all(0.5 < value < 60 for value in seconds)
    count = len(record['runs'])
    soak.main(['--kills', '3', '--out', str(tmp_path)])  # nothing is left to do
    assert len(json.loads((tmp_path / 'record.json').read_text())['runs']) == count


def test_a_difference_is_an_error(program, tmp_path, capsys):
    program(weight=2.0)
    with pytest.raises(RecipeError, match=r'runs differ from the undisturbed ones, see .*record'):
        soak.main(['--kills', '1', '--out', str(tmp_path)])
    record = json.loads((tmp_path / 'record.json').read_text())
    assert record['runs'][0]['differences'] == ['weight']
    assert 'DIFFERENT' in capsys.readouterr().out


def test_a_run_that_fails_is_an_error(program, tmp_path):
    program(text='import sys; sys.exit(2)')
    with pytest.raises(RecipeError, match=r'a run ended with status 2, see .*/whole_0\.log'):
        soak.main(['--kills', '1', '--out', str(tmp_path)])


@pytest.mark.parametrize('variant', range(len(soak.VARIANTS)))
def test_what_is_trained(variant, tmp_path):
    arguments = soak.Soak(tmp_path, 0)._arguments(variant)
    args = train_parser().parse_args(arguments)
    task, processes, workers, more = soak.VARIANTS[variant]
    assert args.launcher == ('pytorch' if processes > 1 else 'none')
    assert args.toy and args.save_minutes == 0.05
    assert f'train_dataloader.num_workers={workers}' in args.cfg_options
    cfg = Config.fromfile(args.config)
    assert ('EMAHook' in str(cfg.get('custom_hooks'))) == more
    assert cfg.optim_wrapper.get('accumulative_counts', 1) == (3 if more else 1)
    assert ('epochs' in task) == ('max_epochs' in cfg.train_cfg)


def test_several_processes_are_launched(tmp_path):
    """By what tools/dist_train.sh does; the script is the one that a single process runs."""
    several = [i for i, row in enumerate(soak.VARIANTS) if row[1] == 2]
    assert len(several) == 2
    for variant in several:
        command = soak.Soak(tmp_path, 0)._command(variant)
        assert command[2:] == [soak.LAUNCH, str(tmp_path / 'train.py'), '2']
        assert (tmp_path / 'train.py').read_text().strip() == soak.PROGRAM
        assert '2 processes' in soak.named(variant)
    assert soak.Soak(tmp_path, 0)._command(0)[2:] == [soak.PROGRAM]
    assert 'processes' not in soak.named(0)


def test_sigkill_hits_one_of_several():
    code = 'import subprocess, sys; sys.exit(subprocess.call(["sleep", "30"]))'
    with subprocess.Popen([sys.executable, '-c', code]) as launcher:
        while not _children(launcher.pid):
            time.sleep(0.01)
        soak._send(signal.SIGKILL, launcher.pid, 2)
        assert launcher.wait(10) == 247  # -9 of the child; it is alive itself
    with subprocess.Popen(['sleep', '30']) as single:
        soak._send(signal.SIGKILL, single.pid, 1)
        assert single.wait(10) == -9


def _children(process):
    return subprocess.run(['pgrep', '-P', str(process)], capture_output=True).stdout


def test_differences_are_named():
    one = dict(a=torch.tensor([1.0, 2.0]), b=[dict(c=1), 2], d='x')
    assert soak.differences(one, dict(one, a=torch.tensor([1.0, 2.0]))) == []
    two = dict(a=torch.tensor([1.0, 2.0 + 1e-6]), b=[dict(c=2), 2], d='x', e=3)
    assert soak.differences(one, two) == ['a', 'b.0.c', 'e']
    assert soak.differences(one, dict(one, b=[dict(c=1)])) == ['b']
    assert soak.differences(torch.zeros(2), torch.zeros(2, dtype=torch.int64), 'x') == ['x']


def test_the_variables_of_a_run():
    variables = soak._variables()
    root = Path(variables['PYTHONPATH'])
    assert (root / 'mmconvnext/cli/soak.py').is_file() and variables['OMP_NUM_THREADS'] == '1'
    assert sys.executable
