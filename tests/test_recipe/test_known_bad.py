# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""The list of bad files, and the checks of a run that goes on without them."""

import coco_files
import pytest
from mmengine.config import Config

from mmconvnext.recipe.known_bad import FILE, entries, known_bad


def write(folder, *rows):
    folder.mkdir(exist_ok=True)
    lines = ['\t'.join([str(file), str(image), 'it is empty', '0']) for file, image in rows]
    (folder / FILE).write_text('# head\n' + '\n'.join(lines) + '\n')


def test_the_list(tmp_path):
    assert entries(tmp_path) == []
    write(tmp_path, ('a.png', 'a.jpg'))
    assert entries(tmp_path) == [('a.png', 'a.jpg', 'it is empty', '0')]
    with (tmp_path / FILE).open('a') as file:
        file.write('b\tb\tnot whole yet')
    assert [row.file for row in entries(tmp_path)] == ['a.png']


def test_only_of_a_run_to_resume_that_skips(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path, ('a.png', 'x/a.jpg'))
    cfg = Config(dict(work_dir=str(tmp_path), resume=True, on_bad_data='skip'))
    assert known_bad(cfg) == (f'{tmp_path}/a.png', f'{tmp_path}/x/a.jpg')
    for change in (dict(resume=False), dict(on_bad_data='stop'), dict(work_dir=f'{tmp_path}/y')):
        assert known_bad(Config({**cfg.to_dict(), **change})) == ()


@pytest.mark.parametrize('kind', ['missing', 'empty', 'other size'])
def test_coco_keeps_them(kind, tmp_path):
    """As they are listed: left out, they would change the order of all images."""
    content = coco_files.content()
    coco_files.pictures(tmp_path)
    file = tmp_path / '2.png'
    if kind == 'missing':
        file.unlink()
    elif kind == 'empty':
        file.write_bytes(b'')
    else:
        coco_files.pictures(tmp_path / 'other', size=(32, 32))
        (tmp_path / 'other/2.png').replace(file)
    refused = coco_files.read(tmp_path, content)
    assert refused.ledger.refused
    sound = coco_files.read(tmp_path, content, known_bad=(str(file),))
    assert not sound.ledger.refused and not sound.ledger.left_out
    found = sound.content if sound.needed else content
    assert len(found['images']) == 3
