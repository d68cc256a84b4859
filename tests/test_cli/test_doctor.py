# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""cli/doctor.py: what is wrong with an environment, and the line that mends it."""

import json
import re
import sys
from collections import namedtuple
from pathlib import Path

import processes
import pytest

from mmconvnext.cli import doctor
from mmconvnext.cli.doctor import NOTE, OK, WRONG

ROOT = Path(__file__).resolve().parents[2]
SOUND = {
    'torch': '2.13.0+cpu',
    'mmengine': '0.10.7',
    'mmcv': '2.1.0',
    'mmdet': '3.3.0',
    'mmsegmentation': '1.2.2',
    'setuptools': '80.10.2',
    'numpy': '2.4.6',
    'pycocotools': '2.0.11',
    'opencv-python': '5.0.0.93',
    'ftfy': '6.3.1',
    'regex': '2026.1.1',
}
ONEDL = {
    **{name: v for name, v in SOUND.items() if not name.startswith('mm')},
    'onedl-mmengine': '0.10.12',
    'onedl-mmcv': '2.3.6',
    'onedl-mmdetection': '3.5.1',
    'onedl-mmsegmentation': '1.4.2',
}


@pytest.mark.parametrize('versions', [SOUND, ONEDL], ids=['openmmlab', 'onedl'])
@pytest.mark.parametrize('python', ['3.10.0', '3.11.7', '3.12.9'])
def test_nothing_is_wrong_with_the_locked_sets(versions, python):
    assert not [*doctor.of_versions(versions, python)]


@pytest.mark.parametrize(
    ('changes', 'text', 'mend'),
    [
        ({'onedl-mmcv': '2.3.6'}, 'both sets', r'pip uninstall mmengine mmcv .* onedl-mmcv, then'),
        ({'mmcv-lite': '2.1.0'}, 'no compiled operators', 'mmcv-lite mmcv && .*mmcv==2.1.0'),
        ({'mmcv': '2.2.0'}, 'mmcv 2.2.0: mmdet and mmseg refuse', 'mmcv==2.1.0'),
        ({'setuptools': '81.0.0'}, 'setuptools 81.0.0, but mmengine', '"setuptools<81"'),
        ({'setuptools': None}, 'setuptools is missing', '"setuptools<81"'),
        ({'mmengine': '0.10.5'}, 'Adafactor', 'mmengine==0.10.7'),
        ({'torch': '2.0.1'}, 'torch 2.0.1; 2.1 is the oldest', 'newer'),
        ({'ftfy': None}, 'needs ftfy, which', 'pip install ftfy$'),
        ({'ftfy': None, 'regex': None}, 'needs ftfy and regex', 'pip install ftfy regex'),
        ({'pycocotools': '2.0.7'}, 'pycocotools 2.0.7 was built for numpy 1', '>=2.0.8'),
    ],
)
def test_what_is_known_to_fail(changes, text, mend):
    versions = {n: v for n, v in (SOUND | changes).items() if v}
    (found,) = doctor.of_versions(versions, '3.11.7')
    assert found.state == WRONG
    assert text in found.text
    assert re.search(mend, found.mend), found.mend


@pytest.mark.parametrize(
    'changes',
    [
        {'mmengine': '0.10.5', 'torch': '2.4.1+cu121'},
        {'numpy': '1.26.4', 'pycocotools': '2.0.7'},
        {'mmcv': '2.2.0', 'mmdet': None, 'mmsegmentation': None, 'ftfy': None},
        {'torch': '2.10.0'},
        {'pycocotools': None},
    ],
)
def test_what_only_looks_like_it(changes):
    versions = {n: v for n, v in (SOUND | changes).items() if v}
    assert not [*doctor.of_versions(versions, '3.11.7')]


@pytest.mark.parametrize('python', ['3.9.9', '3.13.0'])
def test_pythons_on_which_mmcv_does_not_build(python):
    (found,) = doctor.of_versions(SOUND, python)
    assert found.text.startswith(f'Python {python}')


def test_no_set_at_all():
    (found,) = doctor.of_versions({'torch': '2.13.0'}, '3.11.7')
    assert (found.state, found.mend) == (WRONG, 'make setup')


def test_several_opencvs_are_a_note():
    (found,) = doctor.of_versions(SOUND | {'opencv-python-headless': '4.12'}, '3.11.7')
    assert found.state == NOTE
    assert found.mend.startswith('pip uninstall opencv-python opencv-python-headless && ')


def torch(**changes):
    facts = dict(version='2.13.0', cuda='13.0', usable=True, built_for=['sm_80', 'sm_90'])
    return facts | dict(threads=8, gpus=[]) | changes


@pytest.mark.parametrize(
    ('built', 'major', 'minor', 'runs'),
    [
        (['sm_80', 'sm_90'], 8, 0, True),
        (['sm_80', 'sm_90'], 8, 9, True),  # binaries run on later minor versions
        (['sm_86'], 8, 0, False),
        (['sm_80', 'sm_90'], 7, 5, False),
        (['sm_80', 'sm_90'], 12, 0, False),
        (['sm_80', 'compute_90'], 12, 0, True),  # PTX is compiled for any later GPU
        (['sm_100', 'sm_120'], 12, 0, True),
    ],
)
def test_gpus_that_torch_is_built_for(built, major, minor, runs):
    first, found = doctor.of_torch(torch(built_for=built, gpus=[['GPU', major, minor, 79]]), True)
    assert first.state == OK
    assert found.state == (OK if runs else WRONG)
    assert f'GPU, 79 GiB, compute capability {major}.{minor}' in found.text
    assert bool(found.mend) is not runs


@pytest.mark.parametrize(('threads', 'text'), [(1, 'threads: 1'), (8, 'threads: 8')])
def test_the_threads_of_torch(threads, text):
    found, *_ = doctor.of_torch(torch(threads=threads), False)
    assert found.text == f'torch 2.13.0, {text}'


def test_a_torch_that_sees_no_gpu():
    notes = [*doctor.of_torch(torch(usable=False), True)]
    assert [one.state for one in notes] == [OK, NOTE] and 'sees no GPU' in notes[1].text
    notes = [*doctor.of_torch(torch(usable=False, cuda=None, built_for=[]), True)]
    assert 'a build for CPUs' in notes[1].text
    assert len([*doctor.of_torch(torch(usable=False, cuda=None), False)]) == 1  # no GPU here


def test_a_torch_that_does_not_import():
    (found,) = doctor.of_torch(dict(error='ImportError: libcudart.so'), False)
    assert found.state == WRONG and 'libcudart.so' in found.text


def test_imports():
    (found,) = doctor.of_imports({})
    assert found.state == OK
    lost = "ModuleNotFoundError: No module named 'pkg_resources'"
    pair = [*doctor.of_imports({'mmengine': lost, 'mmcv': lost, 'mmseg': 'ImportError: x'})]
    assert [one.state for one in pair] == [WRONG, WRONG]
    assert pair[0].text == f'import of mmengine, mmcv: {lost}'
    assert [one.mend for one in pair] == ['pip install "setuptools<81"', 'make setup']


def test_operators():
    right, wrong = doctor.of_operators(
        {'cpu': '', 'cuda': 'nms_impl is not compiled with GPU support'}, SOUND
    )
    assert right.state == OK and 'on cpu' in right.text
    assert wrong.state == WRONG and 'on cuda: nms_impl' in wrong.text
    assert 'FORCE_CUDA=1 pip install' in wrong.mend and wrong.mend.endswith('mmcv==2.1.0')
    (lost,) = doctor.of_operators(dict(error="No module named 'mmcv._ext'"), ONEDL)
    assert 'FORCE_CUDA' not in lost.mend and lost.mend.endswith('onedl-mmcv==2.3.6')


@pytest.mark.parametrize(
    ('facts', 'state'),
    [
        (dict(made='AVX2', why='', difference=1e-6), OK),
        (dict(made='AVX2', why='', difference=0.1), WRONG),
        (dict(made='AVX2', why='', difference=float('nan')), WRONG),
        (dict(made=None, why='no compiler', difference=0.0), NOTE),
        (dict(error='Illegal instruction'), WRONG),
    ],
)
def test_kernels(facts, state):
    (found,) = doctor.of_kernels(facts)
    assert found.state == state
    assert bool(found.mend) is (state != OK)


@pytest.mark.parametrize(('gib', 'count'), [(0.0625, 1), (1, 0)])
def test_little_shared_memory(tmp_path, monkeypatch, gib, count):
    usage = namedtuple('Usage', 'total used free')(gib * 2**30, 0, 0)
    monkeypatch.setattr(doctor.shutil, 'disk_usage', lambda folder: usage)
    assert len([*doctor.of_shared_memory(tmp_path)]) == count
    assert not [*doctor.of_shared_memory(tmp_path / 'none')]


@pytest.mark.parametrize(
    ('program', 'error'),
    [
        ('import no_such_module', "No module named 'no_such_module'"),
        ('import os; os.kill(os.getpid(), 11)', 'ended with status -11'),
        ('print("no JSON")', 'ended with status 0'),
        ('import time; time.sleep(60)', 'no answer in 1 seconds'),
    ],
)
def test_programs_that_fail_are_findings(monkeypatch, program, error):
    monkeypatch.setattr(doctor, 'PATIENCE', 1)
    assert error in doctor.ask(program)['error']


def test_what_other_packages_print_is_no_answer():
    assert doctor.ask('print("a greeting"); print(\'{"a": 1}\')') == {'a': 1}


def test_names_of_distributions_are_normalized(tmp_path, monkeypatch):
    folder = tmp_path / 'onedl_mmcv-2.3.6.dist-info'
    folder.mkdir()
    (folder / 'METADATA').write_text('Name: OneDL_mmcv\nVersion: 2.3.6\n')
    monkeypatch.setattr(sys, 'path', [str(tmp_path)])
    assert doctor.installed() == {'onedl-mmcv': '2.3.6'}


@pytest.mark.slow
def test_this_environment_is_sound():
    run = processes.script(ROOT / 'tools/doctor.py', '--json')
    facts = json.loads(run.stdout)
    assert run.returncode == 0, facts['findings']
    assert facts['ok'] is True
    assert facts['torch']['version'] == facts['versions']['torch']
    said = ' '.join(one['text'] for one in facts['findings'])
    assert 'operators compute right on cpu' in said and 'import' in said
    assert facts['processor']['cores'] >= 1


def test_the_report_has_the_mend_below_the_finding():
    facts = dict(mmconvnext='1', system='Linux', python='3.11.7', executable='py', set='onedl')
    facts |= dict(processor=dict(name='CPU', cores=2, features=['avx2', 'fma']), torch={})
    facts |= dict(versions={'torch': '2.13.0', 'numpy': '2.4.6'})
    found = [doctor.Finding(OK, 'right'), doctor.Finding(WRONG, 'bad', 'do this')]
    lines = [*doctor.report(facts, found)]
    assert lines[-4:-1] == ['ok    right', 'wrong bad', '      mend: do this']
    assert 'packages (onedl): torch 2.13.0, numpy 2.4.6' in lines


@pytest.mark.parametrize(
    ('states', 'verdict'),
    [
        ([], 'All checks passed'),
        ([OK, OK], 'All checks passed'),
        ([OK, NOTE], 'All checks passed, 1 note'),
        ([OK, WRONG], '1 problem: thing 1'),
        ([WRONG, NOTE, NOTE, WRONG], '2 problems, 2 notes: thing 0; thing 3'),
    ],
)
def test_the_last_line_is_the_verdict(states, verdict):
    found = [doctor.Finding(state, f'thing {i}: at length') for i, state in enumerate(states)]
    assert doctor.verdict(found) == verdict
