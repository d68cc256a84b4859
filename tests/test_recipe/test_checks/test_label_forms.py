# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""recipe/checks/label_forms.py: sizes, EXIF orientation, palettes, files that cannot be read."""

import numpy as np
import pytest
from fixtures import found
from PIL import Image

from mmconvnext.recipe.checks.labels import check_labels
from mmconvnext.recipe.errors import RecipeError

H, W = 6, 10
IDS = np.zeros((H, W), np.uint8)
IDS[1:3, 2:5] = 1


def palette(ids, *colours):
    image = Image.fromarray(ids, mode='P')
    image.putpalette([part for colour in colours for part in colour])
    return image


@pytest.fixture
def own(pairs_of, tmp_path):
    """A function that writes an image for each label map, and gives the config."""

    def build(maps, orientations=None, sizes=None, **options):
        (tmp_path / 'i').mkdir()
        (tmp_path / 'm').mkdir()
        for i, label in enumerate(maps):
            exif = Image.Exif()
            exif[0x0112] = (orientations or [1] * len(maps))[i]
            size = (sizes or [(W, H)] * len(maps))[i]
            Image.new('RGB', size).save(tmp_path / f'i/{i}.jpg', exif=exif)
            label = Image.fromarray(label) if isinstance(label, np.ndarray) else label
            label.save(tmp_path / f'm/{i}.png')
        return pairs_of(**options)

    return build


@pytest.mark.parametrize('orientation', [5, 6, 7, 8])
def test_turned_images_and_unturned_maps(own, orientation):
    cfg = own([IDS, IDS, IDS], [1, orientation, orientation])
    with pytest.raises(
        RecipeError,
        match=r'2 of 3 images are turned by their EXIF orientation when loaded, unlike their label '
        r'maps: \S*m/1\.png has 10x6, its image 6x10 \(also 2\.png\); set '
        r'own_data\.ignore_exif=True '
        r'to load images as they are stored\n\(checks\.label_sizes',
    ):
        found(cfg, check_labels)


def test_the_option_settles_it(own):
    assert found(own([IDS], [6], ignore_exif=True), check_labels) == []


def test_maps_of_the_turned_images(own):
    assert found(own([IDS.T.copy()], [6]), check_labels) == []


def test_the_option_where_maps_were_turned_too(own):
    cfg = own([IDS.T.copy()], [8], ignore_exif=True)
    with pytest.raises(
        RecipeError,
        match=r'1 of 1 images are not turned .* has 6x10, its image 10x6; remove '
        r'own_data\.ignore_exif '
        'to load images turned',
    ):
        found(cfg, check_labels)


@pytest.mark.parametrize('orientation', [2, 3, 4])
def test_turns_that_keep_the_size_are_told(own, orientation):
    (warning,) = found(own([IDS, IDS], [1, orientation]), check_labels)
    assert warning.partition('/i: ')[2] == (
        'note: 1 images are turned or mirrored by their EXIF orientation, label maps are not '
        '(1.png); if these show the images as they are stored, set own_data.ignore_exif=True'
    )


def test_nothing_is_told_where_images_are_not_turned(own):
    assert found(own([IDS], [3], ignore_exif=True), check_labels) == []


def test_square_images_that_are_turned(own):
    square = np.eye(6, dtype=np.uint8)
    (text,) = found(own([square], [6], [(6, 6)]), check_labels)
    assert '1 images are turned or mirrored' in text


@pytest.mark.parametrize(
    ('size', 'shown'), [((W - 1, H), '9x6'), ((W, H + 1), '10x7'), ((H, W), '6x10')]
)
def test_one_map_of_another_size(own, size, shown):
    cfg = own([IDS, Image.fromarray(IDS).resize(size, 0), IDS])
    with pytest.raises(
        RecipeError,
        match=rf'1 of 3 label maps have another size .*m/1\.png has {shown}, its image 10x6; '
        rf'export',
    ):
        found(cfg, check_labels)
    cfg.checks = dict(label_sizes=False)
    assert 'passed by checks.label_sizes' in found(cfg, check_labels)[0]


def test_images_that_cannot_be_read_have_no_size(own, tmp_path):
    cfg = own([IDS])
    (tmp_path / 'i/0.jpg').write_bytes(b'no image')
    assert found(cfg, check_labels) == []


BLACK, RED, GREEN = (0, 0, 0), (200, 0, 0), (0, 200, 0)


def test_palettes_made_for_each_map(own):
    maps = [palette(IDS, BLACK, RED), palette(IDS, BLACK, GREEN), palette(1 - IDS, GREEN, BLACK)]
    with pytest.raises(
        RecipeError,
        match=r'id 0 is the colour \(0, 0, 0\) in the palette of \S*m/0\.png, but \(0, 200, 0\) in '
        r'that of \S*m/2\.png, and a colour has several ids.* own_data\.palette_file or',
    ):
        found(own(maps), check_labels)


def test_palettes_that_differ_but_not_in_their_ids(own):
    maps = [palette(IDS, BLACK, RED), palette(IDS, BLACK, GREEN), IDS]
    assert found(own(maps), check_labels) == []


TABLE = 'a:0,0,0::\nb:200,0,0::\n'


@pytest.mark.parametrize('colours', [(RED, BLACK), (BLACK, RED), (GREEN, GREEN), (BLACK, GREEN)])
def test_a_colour_table_may_contradict_the_ids(own, tmp_path, colours):
    (tmp_path / 'labelmap.txt').write_text(TABLE)
    cfg = own([palette(IDS, *colours), palette(IDS, *colours)])
    if colours[0] != RED:
        assert found(cfg, check_labels) == []
        return
    match = (
        r"id 0 would be the class 'a', but its colour \(200, 0, 0\) in the palette of \S*m/0\.png "
        r"is that of 'b' in labelmap\.txt; set own_data\.palette_file='labelmap\.txt', which goes"
    )
    with pytest.raises(RecipeError, match=match):
        found(cfg, check_labels)


@pytest.mark.parametrize(
    'options', [dict(ids=[1, 0]), dict(palette_file='labelmap.txt'), dict(ignore_ids=[7])], ids=str
)
def test_who_says_what_the_ids_mean_is_believed(own, tmp_path, options):
    (tmp_path / 'labelmap.txt').write_text(TABLE)
    assert found(own([palette(IDS, RED, BLACK)], **options), check_labels) == []


@pytest.mark.parametrize('table', ['a:0,0\n', 'x:200,0,0\ny:0,0,0\n', ''])
def test_colour_tables_that_say_nothing(own, tmp_path, table):
    (tmp_path / 'labelmap.txt').write_text(table)
    assert found(own([palette(IDS, RED, BLACK)]), check_labels) == []


def test_palettes_with_a_colour_twice(own):
    maps = [palette(IDS, RED, RED), palette(IDS, RED, RED)]
    assert found(own(maps), check_labels) == []


def test_palettes_by_colour(own):
    maps = [palette(IDS, BLACK, RED), palette(1 - IDS, RED, BLACK)]
    assert found(own(maps, colours=[BLACK, RED]), check_labels) == []


def test_colours_of_fewer_and_of_more_than_the_classes(own):
    rgb = np.full((H, W, 3), 7, np.uint8)
    rgb[0] = RED
    rgb[1, :2], rgb[1, 5:] = GREEN, (1, 2, 3)
    with pytest.raises(
        RecipeError,
        match=r'colour of each of the 2 classes, in the order of own_data\.classes, and '
        r'own_data\.ignore_ids=\[\.\.\.\] with the others; '
        r'found are \(0, 200, 0\), \(1, 2, 3\), \(7, 7, 7\), \(200, 0, 0\)\n',
    ):
        found(own([rgb]), check_labels)


def test_one_colour_alone(own):
    with pytest.raises(
        RecipeError,
        match=r'colour of each of the 2 classes, in .*classes; found are \(200, 0, 0\)\n',
    ):
        found(own([np.full((H, W, 3), RED, np.uint8)]), check_labels)


def shades(count) -> np.ndarray:
    """(1, count, 3), each pixel another colour."""
    return (np.arange(count)[None, :, None] * [1, 2, 3]).astype(np.uint8)


NOISE = np.random.default_rng(0).integers(0, 255, (40, 50, 3), dtype=np.uint8)
BLURRED = 'colours: if edges are blurred, export the maps without smoothing'


@pytest.mark.parametrize(
    ('image', 'message'),
    [(NOISE, f'over 256 {BLURRED}'), (shades(11), f'11 {BLURRED}'), (shades(10), r'\)\n')],
)
def test_many_colours_may_be_blurred_edges(own, image, message):
    more = r', \.\.\. \(' * (len(message) > 9)
    with pytest.raises(RecipeError, match=rf'found are [\d, ()]+{more}{message}'):
        found(own([image], sizes=[image.shape[1::-1]]), check_labels)


def test_several_broken_maps(own, tmp_path):
    cfg = own([IDS, IDS, IDS])
    for i in (0, 2):
        (tmp_path / f'm/{i}.png').write_bytes(b'x')
    with pytest.raises(
        RecipeError,
        match=r'2 of 3 label maps cannot be read, .*m/0\.png \(also 2\.png\) \(it is no',
    ):
        found(cfg, check_labels)


def test_grey_jpeg_and_coloured_jpeg(own, tmp_path):
    cfg = own([IDS, IDS])
    Image.fromarray(IDS * 255).save(tmp_path / 'm/0.png', format='JPEG')
    Image.new('RGB', (W, H), RED).save(tmp_path / 'm/1.png', format='JPEG')
    with pytest.raises(RecipeError, match=r'2 of 2 label maps are JPEG files, .* from 0 to 25\d\)'):
        found(cfg, check_labels)
