# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Contract of tools/*.py: options are read before anything slow is imported."""

import runpy
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from fixtures import ROOT

from mmconvnext.recipe.errors import RecipeError

TOOLS = sorted(
    path
    for path in (ROOT / 'tools').glob('[!_]*.py')
    if path.name != 'setup_env.py'  # it only needs the standard library, tested in test_setup_env
)
ABOUT = {  # the beginnings of their descriptions
    'train': 'Train a detector',
    'test': 'Evaluate a detector',
    'predict': 'Predict images and videos',
    'check_config': 'Do all that tools/train.py does',
    'soak': 'Kill toy runs',
    'repeat_step': 'Compute a step again',
    'convert_checkpoint': "Rename a ConvNeXt's weights",
    'migrate_config': 'Rewrite a config',
    'list_weights': 'List the published',
    'make_toy_data': 'Write toy images',
    'demo': 'Write toy data, train',
    'doctor': 'Look at versions',
    'analyze': 'Look at the mistakes',
    'prepare_data': 'Read images with labels',
    'new_project': 'Look at a folder of images',
    'plot_run': 'Draw the curves of',
    'get_flops': 'Count FLOPs',
    'feature_maps': 'Draw the feature maps',
    'browse_dataset': 'Show a dataset',
}
# With these imports, --help would take seconds: torch alone takes one.
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
    assert ABOUT[tool.stem] in done.stdout
    assert 'argparse' in imported and not imported & SLOW
    done, imported = run(tool, '--no-such-option')
    assert done.returncode == 2 and f'usage: {tool.name}' in done.stderr
    assert not imported & SLOW


@pytest.fixture
def here(monkeypatch, capsys):
    """A function that runs a tool in this process; returns status, stdout and stderr."""

    def call(tool, *argv):
        folders = [folder for folder in sys.path if Path(folder).name != 'tools']
        beside = (tool.parent / '_start.py').exists()
        monkeypatch.setattr(sys, 'path', [*([str(tool.parent)] if beside else []), *folders])
        monkeypatch.delitem(sys.modules, '_start', raising=False)
        monkeypatch.setattr(sys, 'argv', [str(tool), *map(str, argv)])
        monkeypatch.setattr(signal, 'signal', lambda *_: None)
        try:
            runpy.run_path(str(tool), run_name='__main__')
            status = 0
        except SystemExit as end:
            status = end.code
        sys.modules.pop('_start', None)
        return status, *capsys.readouterr()

    return call


STARTED = {
    'train': 'train',
    'test': 'test',
    'predict': 'predict',
    'analyze': 'analyze',
    'check_config': 'check_config',
    'repeat_step': 'repeat_step',
    'convert_checkpoint': 'convert',
    'migrate_config': 'migrate',
    'prepare_data': 'prepare_data',
    'new_project': 'new_project',
    'plot_run': 'plot_run',
    'get_flops': 'get_flops',
    'feature_maps': 'feature_maps',
    'browse_dataset': 'browse_dataset',
}
NEEDED = {
    'test': ['x.pth'],
    'predict': ['x.pth', 'a.jpg', '--out', 'o'],
    'analyze': ['x.pth', '--out', 'o'],
    'feature_maps': ['x.pth', 'a.jpg', '--out', 'a.png'],
    'convert_checkpoint': ['b.pth', '--to', 'timm'],
    'prepare_data': ['out'],
    'browse_dataset': ['--out', 'o'],
}


@pytest.mark.parametrize('tool', STARTED)
@pytest.mark.parametrize('place', ['tools', 'away'])
def test_a_tool_starts_its_module(tool, place, here, tmp_path, monkeypatch):
    """Also away from `_start.py`, as with `python -m tools.train`, only slower."""
    path = ROOT / f'tools/{tool}.py'
    if place == 'away':
        path = Path(shutil.copy(path, tmp_path))
    status, out, _ = here(path, '--help')
    assert status == 0 and out.startswith(f'usage: {tool}.py') and ABOUT[tool] in out

    def main():
        raise RecipeError('the way out')

    monkeypatch.setattr(f'mmconvnext.cli.{STARTED[tool]}.main', main)
    argv = ['a.py', *NEEDED.get(tool, [])]
    assert here(path, *argv) == (2, '', 'error: the way out\n')


def test_a_package_that_is_not_installed_is_found_beside_the_tools(here, monkeypatch):
    monkeypatch.setattr(sys, 'path', [folder for folder in sys.path if folder != str(ROOT)])
    here(ROOT / 'tools/train.py', '--help')
    assert str(ROOT) == sys.path[-1]  # so that an installed one comes first


def test_the_list_of_weights_is_a_table(here):
    status, out, _ = here(ROOT / 'tools/list_weights.py')
    head, *rows = out.splitlines()
    assert status == 0 and len(rows) > 250 and 'https://' not in out
    assert head.split() == ['name', 'arch', 'data', 'pixels', 'ema', 'MB', 'licence', 'source']
    assert not any(line.endswith(' ') for line in out.splitlines())
    for column in ('arch', 'data', 'ema', 'licence', 'source'):  # to the left
        assert {row[head.index(column) - 1] for row in rows} == {' '}
    for column in ('pixels', 'MB'):  # to the right
        ends = [row[head.index(column) + len(column) - 1] for row in rows]
        assert all(end.isdigit() or end == '-' for end in ends), column
    row = next(row for row in rows if row.startswith('convnext-tiny_in1k_ema '))
    cells = ['convnext-tiny_in1k_ema', 'v1', 'tiny', 'in1k', '224', 'yes', '114.4', 'MIT', 'Meta']
    assert row.split() == cells
    _, out, _ = here(ROOT / 'tools/list_weights.py', 'tiny_in1k_ema', '--urls')
    head, row = out.splitlines()
    url = 'https://dl.fbaipublicfiles.com/convnext/convnext_tiny_1k_224_ema.pth'
    assert head.split()[-1] == 'url' and row.split() == [*cells, url]


@pytest.mark.parametrize(
    ('pattern', 'close'),
    [
        ('convnext-tinny_in1k', 'convnext-tiny_in1k, '),
        ('xyzzy', 'none; leave the pattern out to list all'),
    ],
)
def test_no_weights_of_that_name(here, pattern, close):
    status, out, _ = here(ROOT / 'tools/list_weights.py', pattern)
    assert status.startswith(f'list_weights: no name contains {pattern!r}; nearest: {close}')
    assert not out


DEMOS = {
    'instance': (
        'mask-rcnn_convnext-atto_toy',
        ('coco', 'data/toy/coco'),
        {'coco/bbox_mAP': 0.25, 'coco/segm_mAP': 0.125},
        [['box', 'AP             0.250'], ['mask', 'AP            0.125']],
    ),
    'semantic': (
        'segformer-head_convnext-atto_toy',
        ('ade', 'data/toy/ade'),
        {'mIoU': 61.5, 'aAcc': 90.25},
        [['mIoU,', '%            61.500'], ['pixel', 'accuracy, %  90.250']],
    ),
}


@pytest.mark.parametrize('task', DEMOS)
def test_the_demo_trains_evaluates_and_draws(here, monkeypatch, tmp_path, task):
    """In a folder of its own; what it prints is of this run."""
    name, (data, place), values, figures = DEMOS[task]
    hub = SimpleNamespace(
        get_scalar=lambda key: SimpleNamespace(current=lambda: values[key.partition('/')[2]]),
        get_info={'last_ckpt': '/elsewhere/epoch_9.pth'}.get,
    )
    runner, calls = SimpleNamespace(message_hub=hub, log_dir='logs here'), []
    monkeypatch.setattr(f'mmconvnext.toy.write_{data}', calls.append)
    monkeypatch.setattr('mmconvnext.cli.train.main', lambda argv: calls.append(argv) or runner)
    for kind, module in (('predictions', 'cli.report'), ('curve', 'analysis.runs')):
        fake = lambda of, file, kind=kind: calls.append((kind, of, str(file))) or file  # noqa: E731
        monkeypatch.setattr(f'mmconvnext.{module}.draw_{kind}', fake)
    monkeypatch.setattr(time, 'strftime', lambda form: f'at {form}')
    monkeypatch.chdir(tmp_path)
    options = [] if task == 'instance' else ['--task', task]
    status, out, _ = here(ROOT / 'tools/demo.py', *options)
    folder = f'work_dirs/demo/at {task}_%Y%m%d_%H%M%S'
    config = ROOT / f'configs/own_data/{name}.py'
    assert (
        config.is_file()
        and status == 0
        and calls
        == [
            place,
            [str(config), '--work-dir', folder],
            ('predictions', runner, f'{folder}/predictions.png'),
            ('curve', Path(folder), f'{folder}/curve.png'),
        ]
    )
    lines = [line.split(maxsplit=1) for line in out.splitlines()[2:]]
    assert lines == [
        *figures,
        ['checkpoint', f'{folder}/epoch_9.pth'],
        ['log', 'logs here'],
        ['curve', f'{folder}/curve.png'],
        ['predictions', f'{folder}/predictions.png (left: ground truth, right: predictions)'],
    ]


def test_no_name_of_a_users_module_is_taken():
    code = (
        'import sys, _start; before = {*sys.modules}; _start.load("cli/options"); '
        'assert not [name for name in {*sys.modules} - before if "options" in name]'
    )
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
