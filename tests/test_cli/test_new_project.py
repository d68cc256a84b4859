# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""cli/new_project.py: the config is written, never over another file, and the way on is told."""

import contextlib
import threading
import time
import urllib.request
from pathlib import Path

import coco_files
import pytest
import torch
from mmengine import Config

from mmconvnext.checkpoint.download import cached
from mmconvnext.cli import new_project
from mmconvnext.cli.new_project import main
from mmconvnext.recipe.errors import RecipeError

URL = 'https://example.com/weights.pth'


@pytest.fixture
def data(tmp_path, monkeypatch):
    """A folder 'My Data' in the working folder."""
    monkeypatch.chdir(tmp_path)
    coco_files.pictures(tmp_path / 'My Data/images', images=10)
    coco_files.write(tmp_path / 'My Data', coco_files.content(10))
    return 'My Data'


def test_a_config_is_written_and_the_next_commands_are_told(data, capsys):
    out = main([data, '--random', '--device', 'cpu'])
    assert out == Path('my_data_instance.py')
    cfg = Config.fromfile(out)
    assert cfg.own_data.root == 'My Data' and cfg.own_data.val == 0.2
    told = capsys.readouterr().out
    assert 'train    8 images: images in images, a.json\n' in told
    assert 'val      2 images: a part of them (val=0.2)' in told
    assert 'sizes    96 x 64 pixels' in told
    assert 'classes  2, with objects: cat 10, dog 11' in told
    assert '1800 iterations of 2 images, about ' in told and 'minutes on 2 idle cores' in told
    page = '--out work_dirs/my_data_instance/data'
    assert told.splitlines()[-4:] == [
        'next:',
        f'  python tools/browse_dataset.py my_data_instance.py {page}',
        '  python tools/check_config.py my_data_instance.py',
        '  python tools/train.py my_data_instance.py',
    ]


def test_the_device_is_what_torch_sees(data, monkeypatch):
    for there, base in ((False, 'atto'), (True, 'tiny')):
        monkeypatch.setattr(torch.cuda, 'is_available', lambda there=there: there)
        out = main([data, '--random', '--out', f'{there}.py', '--task', 'det'])
        assert Config.fromfile(out).model.backbone.arch == base


def test_nothing_is_overwritten(data):
    Path('mine.py').write_text('mine')
    with pytest.raises(
        RecipeError, match='mine.py exists and would be overwritten; choose another'
    ):
        main([data, '--random', '--out', 'mine.py'])
    assert Path('mine.py').read_text() == 'mine'
    Path('link.py').symlink_to('nowhere')
    with pytest.raises(RecipeError, match='link.py exists'):
        main([data, '--random', '--out', 'link.py'])
    with pytest.raises(RecipeError, match='--out mine.txt: a config is a .py file'):
        main([data, '--random', '--out', 'mine.txt'])
    with pytest.raises(RecipeError, match='mine.py/new.py cannot be written'):
        main([data, '--random', '--out', 'mine.py/new.py'])


def test_folders_of_the_config_are_made(data):
    assert main([data, '--random', '--device', 'cpu', '--out', 'a/b/mine.py']).is_file()


@pytest.mark.parametrize(
    ('answers', 'weights'), [(True, 'timm/convnext_atto.d2_in1k'), (False, None)]
)
def test_weights_that_can_be_had_are_taken(data, monkeypatch, capsys, answers, weights):
    monkeypatch.setattr(new_project, 'reachable', lambda url: answers)
    cfg = Config.fromfile(main([data, '--device', 'cpu']))
    assert cfg.model.backbone.get('init_cfg', {}).get('checkpoint') == weights
    told = capsys.readouterr().out
    assert ('licence Apache-2.0' in told) is answers
    why = 'random, because huggingface.co did not answer; --pretrained starts from ImageNet '
    why += 'weights, once it answers or the file is in the cache\n'
    assert (why in told) is not answers
    cfg = Config.fromfile(main([data, '--device', 'cpu', '--pretrained', '--out', 'p.py']))
    assert cfg.model.backbone.init_cfg.checkpoint == 'timm/convnext_atto.d2_in1k'


def test_a_server_that_does_not_answer_in_time_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(new_project, 'PATIENCE', 0.05)
    answer = threading.Event()

    def slow(*_, **__):
        answer.wait(10)
        return contextlib.nullcontext()

    monkeypatch.setattr(urllib.request, 'urlopen', slow)
    start = time.monotonic()
    assert not new_project.reachable(URL)
    assert time.monotonic() - start < 5
    answer.set()


def test_a_server_that_answers_is_reachable(monkeypatch):
    asked = []

    def answers(request, timeout):
        asked.append((request.full_url, request.get_method(), timeout))
        return contextlib.nullcontext()

    monkeypatch.setattr(urllib.request, 'urlopen', answers)
    assert new_project.reachable(URL) and asked == [(URL, 'HEAD', new_project.PATIENCE)]


def test_a_server_that_refuses_is_not_reachable(monkeypatch):
    def refuse(*_, **__):
        raise OSError('no route')

    monkeypatch.setattr(urllib.request, 'urlopen', refuse)
    assert not new_project.reachable(URL)


def test_weights_in_the_cache_need_no_server(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path))
    file = cached(URL)
    file.parent.mkdir(parents=True)
    file.write_bytes(b'')
    assert new_project.reachable(URL)


def test_names_of_configs_are_plain(tmp_path):
    assert new_project._plain(tmp_path / '\u00c4 #1') == '1'
    assert new_project._plain(tmp_path / '\u00c4') == 'project'


@pytest.mark.parametrize(
    ('minutes', 'text'), [(0.2, '1 minutes'), (89, '89 minutes'), (90, '2 hours'), (9999, '7 days')]
)
def test_durations(minutes, text):
    assert new_project._duration(minutes) == text


def test_a_full_disk_leaves_no_part_of_a_config(data, monkeypatch):
    class Full:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            raise OSError(28, 'No space left on device')

        def write(self, text):
            pass

    def opened(path, *args, **kwargs):
        path.touch()
        return Full()

    monkeypatch.setattr(Path, 'open', opened)
    with pytest.raises(
        RecipeError, match='mine.py cannot be written: No space .*: the disk is full'
    ):
        new_project._write(Path('mine.py'), 'text')
    assert not Path('mine.py').exists()
