# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""data/pairs.py: images and label maps are paired as mmseg does it; other names are understood."""

import pytest

from mmconvnext.data.pairs import Pattern, find_pattern, stems_of, suffix_of


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


@pytest.mark.parametrize(
    ('files', 'folders', 'stems', 'mistaken'),
    [
        (['i/0.jpg', 'i/s/1.jpg', 'm/0.png'], ('i', '.jpg', 'm', '.png'), ['0', 's/1'], []),
        (
            ['0.png', '0_mask.png', 's/1.png', 's/1_mask.png', '2_mask.png'],
            ('', '.png', '', '_mask.png'),
            ['0', '2_mask', 's/1'],  # 2_mask has no image whose label map it is
            ['0_mask', 's/1_mask'],
        ),
        (['0.png', 'masks/0.png'], ('', '.png', 'masks', '.png'), ['0'], ['masks/0']),
        (['m/0.png', 'm/i/0.png'], ('m', '.png', 'm/i', '.png'), ['0'], ['i/0']),
        (['0.png', '1.png'], ('', '.png', '', '.png'), ['0', '1'], []),  # the images themselves
        (['0_i.png', '0_m.png'], ('', '_i.png', '', '_m.png'), ['0'], []),
    ],
)
def test_label_maps_among_the_images(tmp_path, files, folders, stems, mistaken):
    touch(tmp_path, *files)
    images, image_suffix, maps, map_suffix = folders
    found = stems_of(tmp_path / images, image_suffix, f'{tmp_path}/./{maps}', map_suffix)
    assert found == (stems, mistaken)


@pytest.mark.parametrize(
    ('stems', 'maps', 'pattern'),
    [
        ('0 1 2', '0_mask.png 1_mask.png 2_mask.png', ('', '', '', '_mask.png', 3)),
        ('0 1 2', 'label_0.png label_1.png', ('', '', 'label_', '.png', 2)),
        ('10 11', 'label_10.png label_11.png', ('', '', 'label_', '.png', 2)),
        ('img_1 img_2', 'mask_1.png mask_2.png', ('img_', '', 'mask_', '.png', 2)),
        ('1_sat 2_sat', '1_mask.png 2_mask.png', ('', '_sat', '', '_mask.png', 2)),
        ('a/0 b/1', 'a/0.tif b/1.tif', ('', '', '', '.tif', 2)),
        ('a_1x a_2x', 'b_1y.png b_2y.png', ('a_', 'x', 'b_', 'y.png', 2)),
        ('x', 'x_seg.png', ('', '', '', '_seg.png', 1)),
        (
            'a_1 b_2 c_3',
            'a_1_color.png a_1_ids.png b_2_color.png b_2_ids.png c_3_ids.png',
            ('', '', '', '_ids.png', 3),
        ),
        ('0 1 2', '5.png 6.png', None),
        ('0 1 2 3', '0_mask.png 1_mask.png', None),  # half of them is too little
        ('a/0 a/1', 'b/0.png b/1.png', None),
        ('0', '', None),
        ('', '0.png', None),
    ],
)
def test_patterns(stems, maps, pattern):
    found = find_pattern(stems.split(), maps.split())
    assert found == (pattern and Pattern(*pattern))


def test_suffixes_of_images():
    assert [suffix_of(n) for n in ('a.JPG', 'a.b.TiF', 'a.txt', 'jpg')] == ['.JPG', '.TiF', '', '']


@pytest.mark.parametrize('suffix', ['jpg', 'jpeg', 'png', 'bmp', 'tif', 'tiff', 'webp'])
def test_suffixes_of_images_in_any_case(suffix):
    for spelt in (suffix, suffix.upper(), suffix.title()):
        assert suffix_of(f'a/b.c.{spelt}') == f'.{spelt}'
    assert suffix_of(f'{suffix}') == suffix_of(f'a.{suffix}x') == ''


@pytest.mark.parametrize(
    ('stems', 'maps', 'pattern'),
    [
        ('0 1 2', '0_m.png 1_m.png', ('', '', '', '_m.png', 2)),
        ('0 1 2 3', '0_m.png 1_m.png 2_m.png 0_x.png', ('', '', '', '_m.png', 3)),
        # The first name that is tried has no label map.
        (
            '0 1 2 3 4 5 6',
            '1_m.png 2_m.png 3_m.png 4_m.png 5_m.png 6_m.png',
            ('', '', '', '_m.png', 6),
        ),
        ('a1 a2', 'm1.png m2.png', ('a', '', 'm', '.png', 2)),
        ('i_1a i_2a', 'm_1b.png m_2b.png', ('i_', 'a', 'm_', 'b.png', 2)),
        ('x1 x2', 'yx1.png yx2.png', ('', '', 'y', '.png', 2)),
        ('1x 2x', '1xy.png 2xy.png', ('', '', '', 'y.png', 2)),
        ('s_1_t s_2_t', 'm_1_u.png m_2_u.png', ('s_', '_t', 'm_', '_u.png', 2)),
        ('a/i1 b/i2', 'a/m1.png b/m2.png', ('i', '', 'm', '.png', 2)),
        ('a/0 b/1', 'b/0.png a/1.png', None),
        ('ab1 ab2', 'b1.png b2.png', ('a', '', '', '.png', 2)),
        ('1ab 2ab', '1a.png 2a.png', ('', 'b', '', '.png', 2)),
        ('xab1 xab2', 'yab1.png yab2.png', ('x', '', 'y', '.png', 2)),
        ('1abx 2abx', '1aby.png 2aby.png', ('', 'x', '', 'y.png', 2)),
        ('same same2', 'same.png same2.png', ('', '', '', '.png', 2)),
    ],
)
def test_patterns_of_names(stems, maps, pattern):
    assert find_pattern(stems.split(), maps.split()) == (pattern and Pattern(*pattern))
