# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""data/archives.py: the layouts of COCO and ADE20K, from folders and from archives."""

import json
import zipfile

import pytest

from mmconvnext.data import archives
from mmconvnext.data.archives import Layout, check, hint, lay_out


@pytest.fixture
def small(monkeypatch):
    """COCO with three and two images, and six and four objects."""
    layout = archives.LAYOUTS['coco']
    counts = dict(zip((118_287, 5000, 860_001, 36_781), (3, 2, 6, 4)))
    members = tuple(
        m._replace(count=counts[m.count], objects=counts.get(m.objects, 0)) for m in layout.members
    )
    found = Layout('COCO', members, layout.sizes, layout.source)
    monkeypatch.setitem(archives.LAYOUTS, 'coco', found)


def content(images, objects):
    """A file whose marks lie across pieces."""
    return json.dumps(
        dict(
            images=[dict(coco_url=f'http://x/{i}') for i in range(images)],
            annotations=[dict(iscrowd=0) for _ in range(objects)],
        )
    )


FILES = {
    **{f'train2017/{i:012}.jpg': 'x' for i in range(3)},
    **{f'val2017/{i:012}.jpg': 'y' for i in range(2)},
    'annotations/instances_train2017.json': content(3, 6),
    'annotations/instances_val2017.json': content(2, 4),
    'annotations/captions_val2017.json': '{}',
}


def extracted(root, **changes):
    for name, text in {**FILES, **changes}.items():
        if text is not None:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text)
    return root


def zipped(root):
    root.mkdir()
    for part, archive in (
        ('train2017', 'train2017'),
        ('val2017', 'val2017'),
        ('annotations', 'annotations_trainval2017'),
    ):
        with zipfile.ZipFile(root / f'{archive}.zip', 'w') as file:
            for name, text in FILES.items():
                if name.startswith(f'{part}/'):
                    file.writestr(name, text)
    return root


def test_a_complete_folder(small, tmp_path, monkeypatch):
    monkeypatch.setattr(archives, 'PIECE', 7)
    rows = check('coco', extracted(tmp_path))
    assert [row.way for row in rows] == [''] * 4
    assert rows[0].what == '3 of 3 files' and rows[2].what == '3 of 3 images, 6 of 6 objects'


@pytest.mark.parametrize(
    ('changes', 'position', 'what'),
    [
        ({'val2017/000000000001.jpg': None}, 1, '1 of 2 files'),
        ({'val2017/000000000001.jpg': ''}, 1, '2 of 2 files; 1 are empty, such as 000000000001'),
        ({'val2017/a.jpg': 'x'}, 1, '2 of 2 files; 1 of other names, such as a.jpg'),
        ({'annotations/instances_val2017.json': content(2, 5)}, 3, '2 of 2 images, 5 of 4 objects'),
    ],
)
def test_what_differs(small, tmp_path, changes, position, what):
    rows = check('coco', extracted(tmp_path, **changes))
    assert rows[position].what.startswith(what)
    faulty = [i for i, row in enumerate(rows) if row.way]
    assert faulty == ([] if 'other names' in what else [position])


def test_a_missing_part_is_named_with_its_archive(small, tmp_path):
    rows = check('coco', tmp_path)
    assert rows[0].what == f'not below {tmp_path}'
    assert rows[0].way == 'download train2017.zip from https://cocodataset.org/#download'


def test_folders_elsewhere_are_linked(small, tmp_path):
    source, told = extracted(tmp_path / 'disk' / 'coco2017'), []
    assert 'add --lay-out' in check('coco', tmp_path / 'disk')[0].way
    lay_out('coco', tmp_path / 'disk', tmp_path / 'coco', told.append)
    assert (tmp_path / 'coco/train2017').resolve() == source / 'train2017'
    assert (tmp_path / 'coco/train2017').is_symlink() and len(told) == 4
    assert not any(row.way for row in check('coco', tmp_path / 'coco'))
    lay_out('coco', tmp_path / 'disk', tmp_path / 'coco', told.append)
    assert len(told) == 4


def test_archives_are_extracted(small, tmp_path):
    told = []
    source = zipped(tmp_path / 'zips')
    assert [row.way[:14] for row in check('coco', source)] == ['add --lay-out '] * 4
    lay_out('coco', source, tmp_path / 'coco', told.append)
    assert not any(row.way for row in check('coco', tmp_path / 'coco'))
    names = sorted(p.name for p in (tmp_path / 'coco').iterdir())
    assert names == ['annotations', 'train2017', 'val2017'] and len(told) == 4
    assert not (tmp_path / 'coco/annotations/captions_val2017.json').exists()


def test_archives_that_are_not_whole(small, tmp_path):
    source = zipped(tmp_path / 'zips')
    file = source / 'train2017.zip'
    file.write_bytes(file.read_bytes()[:-30])
    row = check('coco', source)[0]
    assert 'bytes: its download was cut off' in row.what and row.way == 'download it again'
    with pytest.raises(ValueError, match=r'cut off; download it again from https://cocodataset'):
        lay_out('coco', source, tmp_path / 'coco', print)
    with zipfile.ZipFile(file, 'w') as content_:
        content_.writestr('train2017/000000000000.jpg', 'x')
    assert check('coco', source)[0].what.endswith('train2017.zip holds 1 of 3 files')


def test_too_little_room(small, tmp_path, monkeypatch):
    usage = type('Usage', (), dict(free=2))
    monkeypatch.setattr(archives.shutil, 'disk_usage', lambda _: usage)
    with pytest.raises(ValueError, match='train2017 needs 0.0 GiB, but there are 0.0 left'):
        lay_out('coco', zipped(tmp_path / 'zips'), tmp_path / 'coco', print)


def test_ade20k(tmp_path):
    rows = check('ade', tmp_path)
    assert [row.path for row in rows][::3] == [
        'ADEChallengeData2016/images/training',
        'ADEChallengeData2016/annotations/validation',
    ]
    folder = tmp_path / 'ADEChallengeData2016/annotations/validation'
    folder.mkdir(parents=True)
    (folder / 'ADE_val_00000001.png').write_text('x')
    (folder / 'ADE_train_00000001.png').write_text('x')
    assert check('ade', tmp_path)[3].what.startswith('1 of 2000 files; 1 of other names')
    inside = tmp_path / 'ADEChallengeData2016'
    assert check('ade', inside)[3].what == f'in {folder}'


def test_hint(tmp_path):
    assert hint(tmp_path) == ''
    (tmp_path / 'ADEChallengeData2016.zip').touch()
    assert hint(tmp_path).endswith(f'--check-ade {tmp_path} --lay-out data/ade')
