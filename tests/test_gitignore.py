# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
""".gitignore: what the tools write by default is ignored, nothing of the project is."""

import shutil
import subprocess

import pytest
from fixtures import ROOT

git = pytest.mark.skipif(
    not (ROOT / '.git').exists() or not shutil.which('git'), reason='needs a git checkout'
)


def call(*arguments) -> subprocess.CompletedProcess:
    return subprocess.run(['git', *arguments], cwd=ROOT, capture_output=True, text=True)


@git
@pytest.mark.parametrize(
    ('path', 'ignored'),
    [
        ('data/mine/annotations/train.json', True),
        ('work_dirs/mine/epoch_8.pth', True),
        ('work_dirs/mine/predictions/a.png', True),
        ('run.png', True),  # plot_run.py
        ('my_data_instance.py', True),  # new_project.py
        ('my_data_semantic.py', True),
        ('my_data_det.py', True),
        ('mine.py', True),  # the examples of the documents
        ('curves.png', True),
        ('look/index.html', True),
        ('drawn/a.jpg', True),
        ('mistakes/analysis.json', True),
        ('docs/new.png', False),
        ('mmconvnext/data/new.py', False),
        ('configs/own_data/new_instance.py', False),
        ('new.py', False),
    ],
)
def test_what_is_ignored(path, ignored):
    done = call('check-ignore', '--no-index', '-q', path)
    assert done.returncode == (0 if ignored else 1), done.stderr


@git
def test_nothing_of_the_project_is_ignored():
    done = call('ls-files', '--cached', '--ignored', '--exclude-standard')
    assert (done.returncode, done.stdout) == (0, '')
