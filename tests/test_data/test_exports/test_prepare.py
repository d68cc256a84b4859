# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""data/exports/prepare.py: OUT is whole or not there, and SOURCE stays as it is."""

import json
import os

import coco_files
import pytest
from export_files import labels_beside, objects, ready, yolo

from mmconvnext.data.exports import prepare as module
from mmconvnext.data.exports.folder import SourceError
from mmconvnext.data.exports.yolo import BROKEN

BOX = '0 .5 .5 .25 .5\n'


@pytest.fixture
def source(tmp_path):
    return yolo(tmp_path / 'a', {f'{i}.png': BOX for i in range(3)})


def test_images_are_links_that_move_with_their_folder(source, tmp_path):
    _, out = ready(source)
    link = out / 'images/0.png'
    assert link.is_symlink() and os.readlink(link) == '../../a/images/0.png'
    tmp_path.rename(tmp_path.with_name(f'{tmp_path.name}-moved'))
    moved = tmp_path.with_name(f'{tmp_path.name}-moved')
    assert len(objects(moved / 'out')) == 3
    moved.rename(tmp_path)


def test_copies_are_files(source):
    _, out = ready(source, copy=True)
    assert not any(path.is_symlink() for path in out.rglob('*'))
    assert (out / 'images/0.png').read_bytes() == (source / 'images/0.png').read_bytes()


def test_an_empty_out_is_taken_and_the_source_stays(source, tmp_path):
    before = {p: p.stat().st_mtime_ns for p in source.rglob('*')}
    (tmp_path / 'out').mkdir()
    facts, out = ready(source)
    assert json.loads((out / 'report.json').read_text()) == facts
    assert {p: p.stat().st_mtime_ns for p in source.rglob('*')} == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ['a', 'out']


def test_outs_that_are_refused(source, tmp_path):
    (tmp_path / 'full').mkdir()
    (tmp_path / 'full/x').touch()
    (tmp_path / 'file').touch()
    (tmp_path / 'link').symlink_to(tmp_path / 'gone')
    for name in ('full', 'file', 'link'):
        with pytest.raises(SourceError, match=f'{name} exists already: choose another'):
            ready(source, out=name)
    with pytest.raises(SourceError, match='lies in .*, so that it would be read as data'):
        ready(source, out='a/new')
    with pytest.raises(SourceError, match='file/new cannot be written: Not a directory'):
        ready(source, out='file/new')
    with pytest.raises(SourceError, match='gone does not exist'):
        ready(tmp_path / 'gone')


@pytest.mark.parametrize('error', [KeyboardInterrupt, OSError(28, 'No space left on device')])
def test_a_run_that_is_stopped_leaves_nothing(source, tmp_path, monkeypatch, error):
    def stop(data, out, copy):
        (out / 'images').mkdir()
        raise error

    monkeypatch.setattr(module, 'write_instances', stop)
    with pytest.raises(type(error) if isinstance(error, OSError) else error):
        ready(source)
    assert [p.name for p in tmp_path.iterdir()] == ['a']


def test_objects_become_label_maps(tmp_path):
    """Small objects on large ones; boxes cannot be drawn."""
    large = '0 .1 .1 .9 .1 .9 .9 .1 .9\n'
    small = '1 .4 .4 .6 .4 .6 .6 .4 .6\n'
    root = yolo(tmp_path / 'a', {'1.png': small + large, '2.png': large + '1 .5 .5 .1 .1\n'})
    facts, out = ready(root, task='semantic')
    assert facts['own_data']['classes'] == ['background', 'cat', 'dog']
    assert facts['classes'] == dict(background=2, cat=2, dog=1)
    assert facts['left_out']['objects without a mask, which a label map cannot show']['count'] == 1
    found = labels_beside(out, '1.png')
    assert found.shape == (48, 64)
    assert (found[0, 0], found[24, 10], found[24, 32]) == (0, 1, 2)


def test_more_classes_than_a_label_map_holds(tmp_path):
    names = ', '.join(f'c{i}' for i in range(255))
    line = '254 .1 .1 .9 .1 .9 .9\n'
    root = yolo(tmp_path / 'a', {'1.png': line, '2.png': line}, f'names: [{names}]\n')
    with pytest.raises(SourceError, match='256 classes; a label map holds 255'):
        ready(root, task='semantic')
    assert ready(root)[0]['classes']['c254'] == 2


@pytest.mark.parametrize('out', ['.', '..', 'a/..'])
def test_an_out_without_a_name(source, tmp_path, monkeypatch, out):
    monkeypatch.chdir(tmp_path / 'a')
    with pytest.raises(SourceError, match=' is no name for a new folder: choose one'):
        module.prepare(source, module.Path(out), module.Settings())


def test_names_that_are_no_utf8_are_in_the_report(tmp_path):
    images = {'a.png': BOX, 'b.png': BOX, '\udcfc.png': f'{BOX}x\n'}
    facts, out = ready(yolo(tmp_path / 'in', images))
    assert json.loads((out / 'report.json').read_text(encoding='utf-8')) == facts
    assert '\udcfc.txt:2' in facts['left_out'][BROKEN]['first'][0]


@pytest.mark.parametrize('copy', [False, True])
@pytest.mark.parametrize('name', ['../../secret.png', '../../../deep/secret.png'])
def test_nothing_is_written_outside_of_out(tmp_path, name, copy):
    """Whatever names the annotations give; images outside of the source are told."""
    source = tmp_path / 'deep/er/a'
    content = coco_files.content(2)
    content['images'][0]['file_name'] = name
    coco_files.pictures(source, 2)
    coco_files.write(source, content)
    (source / '1.png').rename(tmp_path / 'deep/secret.png')
    before = {*tmp_path.rglob('*')}
    facts, out = ready(source, val=0.5, copy=copy)
    assert all(path == out or out in path.parents for path in {*tmp_path.rglob('*')} - before)
    assert sorted(path.name for path in (out / 'images').rglob('*.png')) == ['2.png', 'secret.png']
    told = facts['noted']['images that lie outside the given folder; the annotations name them']
    assert told['count'] == 1 and told['first'][0].endswith('secret.png')


def test_images_inside_are_not_told(source):
    assert not any('outside' in kind for kind in ready(source)[0]['noted'])
