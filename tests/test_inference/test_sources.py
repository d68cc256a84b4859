# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""inference/sources.py: what people give as input, and names of outputs that never collide."""

import os
import shutil
from pathlib import Path

import pytest

from mmconvnext.inference.sources import Source, find_sources, keys_of
from mmconvnext.recipe.errors import RecipeError


@pytest.fixture
def photos(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ('p/b.PNG', 'p/a 1.jpg', 'p/sub/a 1.jpg', 'p/v.MP4', 'p/[x].jpg', 'q/a 1.jpg'):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(name)
    for name in ('p/notes.txt', 'p/.DS_Store', 'p/._a.jpg'):
        Path(name).write_text('')
    Path('p/.hidden').mkdir()
    Path('p/.hidden/c.jpg').write_text('')
    return tmp_path


def names(*inputs, out='out'):
    return [(source.kind, source.name) for source in find_sources(inputs, Path(out))]


@pytest.mark.parametrize('given', ['', ' '])
def test_an_empty_path_is_not_the_working_folder(photos, given):
    with pytest.raises(RecipeError, match=f'{given!r} is no input; the working folder is '):
        names(given)


def test_a_folder_with_all_below(photos):
    assert names('p') == [
        ('image', '[x].jpg'),
        ('image', 'a 1.jpg'),
        ('image', 'b.PNG'),
        ('video', 'v.MP4'),
        ('image', 'sub/a 1.jpg'),
    ]


def test_what_the_tool_wrote_earlier_is_no_input(photos):
    before = names('p')
    drawn = Path('p/drawn/pictures')
    drawn.mkdir(parents=True)
    shutil.copy('p/b.PNG', drawn)
    assert len(names('p')) == len(before) + 1
    Path('p/drawn/records.jsonl').touch()
    assert names('p') == before


def test_files_patterns_and_lists(photos):
    assert names('p/b.PNG') == [('image', 'b.PNG')]
    assert names('p/[x].jpg') == [('image', '[x].jpg')]  # a file first, then a pattern
    assert names('p/*.jpg') == [('image', '[x].jpg'), ('image', 'a 1.jpg')]
    assert names('p/**/a*.jpg') == [('image', 'a 1.jpg'), ('image', 'sub/a 1.jpg')]
    Path('q/list.txt').write_text(f'\ufeffa 1.jpg\r\n\n../p/b.PNG\n{photos}/p/v.MP4\n', 'utf-8')
    assert names('@q/list.txt') == [('image', 'a 1.jpg'), ('image', 'b.PNG'), ('video', 'v.MP4')]
    assert names('camera:2', 'camera:02') == [('camera', 'camera_2')]
    assert names('camera:99') == [('camera', 'camera_99')]


def test_each_file_is_taken_once_in_the_order_given(photos):
    assert names('p/b.PNG', 'p/b.PNG', 'q', 'p/*.PNG') == [('image', 'b.PNG'), ('image', 'a 1.jpg')]


def test_outputs_are_no_inputs(photos):
    Path('p/out/pictures').mkdir(parents=True)
    Path('p/out/pictures/z.jpg').write_text('')
    assert ('image', 'out/pictures/z.jpg') not in names('p', out='p/out')
    assert names('p/**/z.jpg', out='other') == [('image', 'out/pictures/z.jpg')]
    with pytest.raises(RecipeError, match='no image and no video matches'):
        names('p/**/z.jpg', out='p/out')


@pytest.mark.parametrize(
    ('given', 'fault'),
    [
        ('none.jpg', r"there is no 'none.jpg'; an input is an image .*a video .*camera:0"),
        ('p/notes.txt', "'p/notes.txt' is a file of another kind; an input is"),
        ('empty', r"the folder 'empty' holds no image and no video, no files"),
        ('texts', r'holds no image and no video, only \.txt'),
        ('p/*.gif', r"no image and no video matches 'p/\*\.gif'"),
        ('camera:x', "'camera:x': give the number of the camera, 0 to 99, such as camera:0"),
        ('camera:', "'camera:': give the number"),
        ('camera:100', "'camera:100': give the number"),
        ('camera:999999999999', "'camera:999999999999': give the number"),
        ('camera:' + '9' * 5000, 'give the number of the camera'),
        ('camera:\u00b2', 'give the number of the camera'),
        ('a' * 5000, "there is no 'aaa.*aaa'; an input is an image"),
        ('~nobody-of-this-name/x.jpg', "there is no '~nobody-of-this-name/x.jpg'"),
        ('a\0.jpg', 'there is no'),
        ('', "'' is no input; the working folder is . An input is an image"),
        ('@' + 'a' * 5000, 'aaa: it cannot be read as a list of paths: File name too long$'),
        ('@long.txt', 'path 1 of 2: there is no file .*aaa$'),
        ('a' * 5000 + '*', 'no image and no video matches'),
        ('http://x/a.jpg', "'http://x/a.jpg' is a URL; download the file"),
        ('@none.txt', '@none.txt: it cannot be read'),
        ('@empty.txt', '@empty.txt is empty'),
        ('@wrong.txt', r'@wrong.txt, path 2 of 2: there is no file .*b.jpg'),
    ],
)
def test_what_is_no_input_is_named(photos, given, fault):
    for folder in ('empty', 'texts'):
        Path(folder).mkdir()
    Path('texts/a.txt').write_text('')
    Path('empty.txt').write_text('\n')
    Path('wrong.txt').write_text('p/b.PNG\nb.jpg\n')
    Path('long.txt').write_text('a' * 5000 + '\n~nobody-of-this-name\n')
    with pytest.raises(RecipeError, match=fault):
        names(given)


def keys(*paths, taken=None):
    sources = [Source('image', path, name) for path, name in paths]
    return [*keys_of(sources, taken or {}).values()]


def test_keys_are_the_names_of_the_files():
    assert keys(('/p/a.jpg', 'a.jpg'), ('/p/s/a.jpg', 's/a.jpg')) == ['a', 's/a']
    assert keys_of([Source('camera', '0', 'camera_0')], {}) == {'0': 'camera_0'}
    assert keys(('/p/a.b.jpg', 'a.b.jpg')) == ['a.b']


def test_no_two_images_have_one_key():
    same = [('/p/a.jpg', 'a.jpg'), ('/p/a.png', 'a.png'), ('/q/a.jpg', 'a.jpg')]
    same += [('/p/A.JPG', 'A.JPG'), ('/x/q/a.jpg', 'a.jpg')]
    assert keys(*same) == ['a', 'a_png', 'a_jpg', 'p/A', 'q/a']
    many = [(f'/{i}/z/a.jpg', 'a.jpg') for i in range(6)]
    assert keys(*many) == ['a', 'a_jpg', 'z/a', 'a_2', 'a_3', 'a_4']


def test_keys_of_an_earlier_start_stay():
    taken = {'/q/a.jpg': 'a'}
    assert keys_of([Source('image', '/p/a.jpg', 'a.jpg')], taken) == {**taken, '/p/a.jpg': 'a_jpg'}
    assert keys(('/q/a.jpg', 'a.jpg'), taken=taken) == ['a']


def test_long_names_are_cut_and_stay_different():
    one, other = keys(('/1', 'u' * 250 + '1.jpg'), ('/2', 'u' * 250 + '2.jpg'))
    assert one != other and one[:100] == 'u' * 100
    (wide,) = keys(('/1', chr(252) * 120 + '.jpg'))
    assert len(os.fsencode(wide)) <= 120


def test_a_stamp_tells_when_a_file_has_changed(tmp_path):
    file = tmp_path / 'a.jpg'
    file.write_text('a')
    source = Source('image', str(file), 'a.jpg')
    before = source.stamp
    file.write_text('bb')
    assert source.stamp != before and Source('camera', '0', 'camera_0').stamp == []
    file.unlink()
    assert source.stamp == []


def test_no_name_of_a_pattern_leads_upwards(photos):
    assert names('p/*/../../q/*.jpg') == [('image', 'a 1.jpg')]
    assert names('p/*/../b.PNG') == [('image', 'b.PNG')]


def test_frames_of_a_video_have_a_folder_of_their_own():
    video = Source('video', '/p/f.mp4', 'f.mp4')
    frames = [video, Source('image', '/p/f/000001.png', 'f/000001.png')]
    assert keys_of(frames, {}) == {'/p/f/000001.png': 'f/000001', '/p/f.mp4': 'f_mp4'}
    taken = {'/p/f.mp4': 'f'}  # of an earlier start
    assert keys_of(frames, taken)['/p/f/000001.png'] == 'f_000001_2'


def test_no_file_of_outputs_has_the_name_of_a_folder():
    assert keys(('/p/a.bmp', 'a.bmp'), ('/p/a.png/b.bmp', 'a.png/b.bmp')) == ['a', 'a.png_b_2']
    assert keys(('/p/a.png/b.bmp', 'a.png/b.bmp'), ('/p/a.bmp', 'a.bmp')) == ['a.png/b', 'a_bmp']


def test_links_to_folders_are_followed(photos):
    os.symlink('../../q', 'p/sub/linked')
    os.symlink('..', 'p/sub/loop')
    assert ('image', 'sub/linked/a 1.jpg') in names('p')
    assert len(names('p')) == 6


def test_names_in_lists_may_hold_odd_ends_of_lines(photos):
    name = 'p/new\x85line.jpg'
    Path(name).touch()
    Path('list.txt').write_bytes(f'{name}\r\n\n'.encode())
    assert names('@list.txt') == [('image', name)]
