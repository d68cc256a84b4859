# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""cli/migrate.py: from a foreign config to a training step with our own tools."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from fixtures import TINY_DETECTOR, TINY_SEGMENTOR
from mmengine.config import Config

from mmconvnext.cli import migrate as module
from mmconvnext.cli.migrate import main, report
from mmconvnext.cli.train import main as train
from mmconvnext.migrate.source import shipped
from mmconvnext.recipe.errors import RecipeError

DETECTOR = 'convnext/mask-rcnn_convnext-t-p4-w7_fpn_amp-ms-crop-3x_coco.py'
SEGMENTOR = 'convnext/convnext-tiny_upernet_8xb2-amp-160k_ade20k-512x512.py'


@pytest.mark.parametrize(('project', 'config'), [('mmdet', DETECTOR), ('mmseg', SEGMENTOR)])
def test_from_a_shipped_config_to_training(project, config, workplace, capsys):
    source = shipped()[project] / config
    result = main([str(source), '-o', 'mine/new.py'])
    said = capsys.readouterr().out
    assert f'{project}::{config}' in said and 'mine/new.py: ' in said
    assert 'learning rate and weight decay of all' in said
    assert Path('mine/new.py').read_text() == result.text
    assert Config.fromfile('mine/new.py').model.backbone.type == 'mmconvnext.ConvNeXt'
    options = [*(TINY_DETECTOR if project == 'mmdet' else TINY_SEGMENTOR)]
    runner = train(['mine/new.py', '--toy', '--work-dir', 'run', '--cfg-options', *options])
    assert runner.iter >= 1


def test_without_out_the_config_is_alone_on_stdout(workplace, capsys):
    source = shipped()['mmdet'] / DETECTOR
    result = main([str(source)])
    captured = capsys.readouterr()
    assert captured.out == result.text and 'proof:' in captured.err
    assert not list(Path().glob('*.py'))


def test_the_report_has_every_part_once_and_in_order(tmp_path):
    old, peers = SimpleNamespace(path=tmp_path / 'a.py', old=True), ('timm', 'mmcls', 'timm')
    notes = SimpleNamespace(changed=['c', 'd', 'c'], lost=['l'], look=['k'])
    result = SimpleNamespace(
        source=old,
        renewed=[SimpleNamespace(peer=peer) for peer in peers],
        text='one\ntwo\nthree\n',
        notes=notes,
        proof=['p'],
    )
    head = f'{tmp_path.resolve()}/a.py: a config of '
    parts = 'changed:\n  c\n  d\nlost:\n  l\nto look at:\n  k\nproof:\n  p'
    first = f'{head}mmdet 2 or mmseg 0.x, with the ConvNeXt of mmcls, timm'
    assert report(result, 'b.py') == f'{first}\nb.py: 3 lines\n{parts}'
    assert report(result, None) == f'{first}\n{parts}'
    old.old, notes.changed, notes.lost, notes.look = False, [], [], []
    first = f'{head}mmengine, with the ConvNeXt of mmcls, timm'
    assert report(result, None) == f'{first}\nproof:\n  p'


def test_what_the_options_do(monkeypatch, tmp_path, capsys):
    calls = []

    def fake(config, out, folders):
        calls.append((config, out, folders))
        source = SimpleNamespace(path=tmp_path / 'a.py', old=False)
        notes = SimpleNamespace(changed=[], lost=[], look=['\u00fc'])
        return SimpleNamespace(source=source, renewed=[], text='# \u00fc\n', notes=notes, proof=[])

    monkeypatch.setattr(module, 'migrate', fake)
    monkeypatch.chdir(tmp_path)
    main(['a.py'])
    out, err = capsys.readouterr()
    assert out == '# \u00fc\n' and 'to look at:\n  \u00fc\n' in err
    main(['a.py', '-o', 'my new/folder/b.py', '--bases', 'c', 'd e'])
    out, err = capsys.readouterr()
    assert 'to look at:' in out and 'b.py: 1 lines\n' in out and not err
    assert Path('my new/folder/b.py').read_bytes() == '# \u00fc\n'.encode()
    assert [(call[0], str(call[1]), call[2]) for call in calls] == [
        ('a.py', 'None', []),
        ('a.py', 'my new/folder/b.py', ['c', 'd e']),
    ]


def test_nothing_is_overwritten(workplace):
    Path('here.py').write_text('a = 1\n')
    with pytest.raises(RecipeError, match='here.py exists and would be overwritten'):
        main([str(shipped()['mmdet'] / DETECTOR), '-o', 'here.py'])
    assert Path('here.py').read_text() == 'a = 1\n'
