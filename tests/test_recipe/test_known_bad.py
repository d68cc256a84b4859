# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""The list of bad files, and the checks of a run that goes on without them."""

import coco_files
import numpy as np
import pytest
from fixtures import write_image
from mmengine.config import Config

from mmconvnext.recipe.checks.images import check_images
from mmconvnext.recipe.checks.labels import check_labels
from mmconvnext.recipe.known_bad import FILE, entries, known_bad
from mmconvnext.recipe.label_maps import mend_label_maps
from mmconvnext.recipe.walk import LOADERS


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
    if kind != 'other size':  # and those that are not listed yet
        kept = coco_files.read(tmp_path, content, keep_bad=True)
        assert not kept.ledger.refused and not kept.ledger.left_out
        ((what, tally),) = kept.ledger.noted.items()
        assert tally.count == 1 and what.startswith(
            f'images {"do not" if kind == "missing" else "c"}'
        )
        assert 'other samples take their place' in what and kept.content == sound.content


@pytest.mark.parametrize('listed', [True, False])
@pytest.mark.parametrize('bad', ['images/b.jpg', 'labels/b.png'])
def test_segmentors_keep_them(bad, listed, tmp_path):
    """Neither the image nor its label map is looked at, and both stay in the dataset."""
    for name in 'abc':
        write_image(tmp_path / f'images/{name}.jpg', np.full((8, 9, 3), 90))
        write_image(tmp_path / f'labels/{name}.png', np.arange(72).reshape(8, 9) % 2)
    (tmp_path / bad).write_bytes(b'')
    dataset = dict(
        type='BaseSegDataset',
        data_root=str(tmp_path),
        data_prefix=dict(img_path='images', seg_map_path='labels'),
        metainfo=dict(classes=('x', 'y')),
        pipeline=[dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')],
    )
    cfg = Config(
        dict(
            default_scope='mmseg',
            model=dict(),
            train_dataloader=dict(dataset=dataset),
            work_dir=str(tmp_path / 'run'),
            on_bad_data='skip',
            resume=False,
        )
    )
    if listed:
        write(tmp_path / 'run', (tmp_path / bad, tmp_path / 'images/b.jpg'))

    def found():
        labels, table = [*check_labels(cfg, LOADERS[:1])], []
        mended = [*mend_label_maps(cfg, LOADERS[:1], table)]
        texts = [one.text for one in (*check_images(cfg, LOADERS[:1]), *labels, *mended)]
        return [text for text in texts if 'cannot be' in text or '/b.' in text], table[0]

    texts, _ = found()
    assert len(texts) == 1
    cfg.resume = True
    texts, row = found()
    if not listed and 'images' in bad:
        assert texts.pop().endswith('other samples take their place (--on-bad-data skip)')
    assert texts == [] and (row.images, row.images_used, row.left_out) == (3, 3, {})
