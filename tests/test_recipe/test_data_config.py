# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Contract: with --config-only-data a config's own code never runs, nor what its types name."""

import json
import math
from pathlib import Path

import pytest
from mmengine.config import Config

from mmconvnext.recipe.errors import RecipeError
from mmconvnext.recipe.load import load_config, shipped_configs

SOUND = """'''Written by a run.'''
default_scope = 'mmdet'
model = dict(
    type='MaskRCNN',
    backbone=dict(type='mmconvnext.ConvNeXt', arch='atto'),
    roi=dict(roi_layer=dict(type='RoIAlign', output_size=7)))
custom_keys = dict({'a.b': dict(lr_mult=0.5)}, c=None)
numbers = [1, -2.5, +3, 1e-3, inf, -inf, float('inf'), True]
sizes = ((1333, 800), (2, ), [])
names = {'b'}
optim_wrapper = dict(constructor='mmconvnext.LayerDecayOptimWrapperConstructor')
"""


def write(folder: Path, text: str | bytes, name='c.py') -> str:
    file = folder / name
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return str(file)


def test_values(tmp_path):
    cfg = load_config(write(tmp_path, SOUND), only_data=True)
    assert cfg.model.backbone == dict(type='mmconvnext.ConvNeXt', arch='atto')
    assert cfg.custom_keys == {'a.b': dict(lr_mult=0.5), 'c': None}
    assert cfg.numbers == [1, -2.5, 3, 0.001, math.inf, -math.inf, math.inf, True]
    assert cfg.sizes == ((1333, 800), (2,), []) and cfg.names == {'b'}
    assert cfg.filename == str(tmp_path / 'c.py') and cfg.text == SOUND


@pytest.mark.parametrize('config', shipped_configs()[::5], ids=lambda path: path.stem)
def test_dumped_recipes_are_data(config, tmp_path):
    """The config that a run writes into its work dir is the same, read in either way."""
    cfg = load_config(str(config))
    cfg.dump(tmp_path / 'dumped.py')
    dumped = load_config(str(tmp_path / 'dumped.py'), only_data=True)
    assert dumped.to_dict() == cfg.to_dict()
    assert Config.fromfile(tmp_path / 'dumped.py').to_dict() == cfg.to_dict()


def test_a_lazy_config_dumps_types_with_their_modules(tmp_path):
    text = "model = dict(type='mmdet.models.MaskRCNN', roi=dict(type='mmcv.ops.nms.NMSop'))"
    with pytest.raises(RecipeError, match=r"line 1: model\.roi\.type='mmcv\.ops\.nms\.NMSop' is "):
        load_config(write(tmp_path, text), only_data=True)
    cfg = load_config(write(tmp_path, text.replace(', roi', ') # roi')), only_data=True)
    assert cfg.model == dict(type='mmdet.models.MaskRCNN') and cfg.default_scope == 'mmdet'


@pytest.mark.parametrize('suffix', ['.json', '.yaml', '.yml'])
def test_json_and_yaml(suffix, tmp_path):
    content = dict(default_scope='mmseg', model=dict(type='EncoderDecoder', depth=[1, 2]))
    cfg = load_config(write(tmp_path, json.dumps(content), f'c{suffix}'), only_data=True)
    assert cfg.to_dict() == content


RUNS = "open('ran', 'w').close()"
REFUSED = [  # text, message
    (f'a = 1\n{RUNS}\n', r"c\.py, line 2: this is code, not data:\n  open\('ran', 'w'\)"),
    ('import os\n', r'line 1: this is code, not data:\n  import os\nOnly data is read'),
    (f'a = [{RUNS}]', r'line 1: this is code'),
    (f'a = dict(\n    b=1,\n    c={RUNS})', r'line 3: this is code, not data:\n  c=open'),
    (f'a = dict(**{RUNS})', r'line 1: this is code'),
    (f'a = dict([(1, {RUNS})])', r'line 1: this is code'),
    (f'a = f"{{{RUNS}}}"', r'line 1: this is code'),
    ('a = b = 1', r'line 1: this is code'),
    ('a: int = 1', r'line 1: this is code'),
    ('a += 1', r'line 1: this is code'),
    ("a['b'] = 1", r'line 1: this is code'),
    ('a = b', r'line 1: this is code'),
    ('a = 2 ** 99999999', r'line 1: this is code'),
    ("a = -'b'", r'line 1: this is code'),
    ('a = [*b]', r'line 1: this is code'),
    ('a = {**b}', r'line 1: this is code'),
    ('a = {b for b in c}', r'line 1: this is code'),
    ('a = lambda: 1', r'line 1: this is code'),
    ('if True:\n    a = 1', r'line 1: this is code'),
    ("a = float('x')", r'cannot be read as data: could not convert string to float'),
    ('a = {[1]: 2}', r'cannot be read as data: unhashable type'),
    ('a = (', r"cannot be read as data: '\(' was never closed"),
    ('a = 1\0', r'cannot be read as data: .*null bytes'),
    (b'a = "\xff"', r"cannot be read as data: 'utf-8' codec can't decode"),
    (f'a = {"[" * 5000}{"]" * 5000}', r'cannot be read as data: '),
    (f'a = {"-" * 9000}1', r'cannot be read as data: '),
    (f'a = {"9" * 5000}', r'cannot be read as data: '),
    ('filename = 1', r'cannot be read as data: .*filename is reserved'),
    ("_base_ = 'evil.py'", r"line 1: _base_='evil\.py' would run other files"),
    ("custom_imports = dict(imports=['evil'])", r"line 1: custom_imports has 'evil'; choose from"),
    ("custom_imports = dict(imports='evil.a')", r"custom_imports has 'evil\.a'; choose from"),
    ('custom_imports = dict(imports=7)', r'custom_imports has 7; choose from'),
    ("default_scope = 'evil'", r"line 1: default_scope='evil': choose from mmdet, mmseg"),
    ("model = dict(_scope_='evil')", r"line 1: model\._scope_='evil': choose from mmengine"),
    (
        "a = 1\nmodel = dict(type='os.system')",
        r"line 2: model\.type='os\.system' is not registered",
    ),
    ("hooks = [dict(type='subprocess.Popen')]", r"hooks\.0\.type='subprocess\.Popen' is not"),
    ("model = dict(type='this')", r"model\.type='this' is not reg"),
    ("model = dict(type='torch.hub.load')", r"type='torch\.hub\.load' is not reg"),
    ("model = dict(type='torch.load')", r"type='torch\.load' is not reg"),
    (
        "m = dict(type='mmengine.utils.call_command')",
        r"type='mmengine\.utils\.call_command' is not",
    ),
    ("m = dict(type='mmengine.Config.fromfile')", r"type='mmengine\.Config\.fromfile' is not"),
    ("m = dict(type='mmdet..x')", r"type='mmdet\.\.x' is not reg"),
    ('m = dict(type=[1])', r'm\.type=\[1\]: a name is expected'),
    ("o = dict(constructor='os.system')", r"o\.constructor='os\.system' is not reg"),
    (
        "d = dict(proposal_file='p.pkl')",
        r"line 1: d\.proposal_file='p\.pkl' is a pickle",
    ),
    ("d = dict(ann_file=['a.json', ['b.PICKLE']])", r"d\.ann_file='b\.PICKLE' is a pickle"),
    ("d = dict(ann_file='a.yml')", r"line 1: d\.ann_file='a\.yml' is a YAML file, whose tags can"),
    ("a = ['x', 'evil.py']", r"line 1: a='evil\.py' is a program"),
    ("m = dict(teacher_config='t.json')", r"teacher_config='t\.json' is a config, which mmdet run"),
    ("runner_type = 'this'", r"line 1: runner_type='this' is not registered"),
    ("t = dict(type='mmdet.CameraMotionCompensation')", r"Compensation' evaluates warp_mode"),
    ("d = [dict(type='RefCocoDataset')]", r"d\.0\.type='RefCocoDataset' unpickles split_file"),
    ("d = dict(type='OpenImagesDataset', meta_file='m')", r"ImagesDataset' unpickles meta_file"),
    ("d = dict(decode_backend='pickle')", r"decode_backend='pickle' unpickles the files"),
    ('nms = dict(type="exec(b\'\')")', r'nms\.type="exec\(b\'\'\)" is not registered'),
]


@pytest.mark.parametrize(('text', 'match'), REFUSED)
def test_refused(text, match, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'evil.py').write_text(RUNS)
    with pytest.raises(RecipeError, match=match):
        load_config(write(tmp_path, text), only_data=True)
    assert not (tmp_path / 'ran').exists()


BOMB = 'a0: &a0 [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]\n' + ''.join(
    f'a{i}: &a{i} [{", ".join(10 * [f"*a{i - 1}"])}]\n' for i in range(1, 9)
)


@pytest.mark.parametrize(
    ('name', 'text', 'match'),
    [
        ('c.json', '{"a": ', r'c\.json cannot be read as data: Expecting value'),
        ('c.json', '[1]', r'c\.json: a list where a dict is expected'),
        ('c.json', '{"_base_": "a.py"}', r"line 1: _base_='a\.py' would run"),
        ('c.json', '{"m": {"type": "os.system"}}', r"m\.type='os\.system' is not reg"),
        ('c.json', '[' * 100_000, r'c\.json cannot be read as data: it is nested too deeply'),
        (
            'c.yaml',
            'a: !!python/object/apply:os.system [touch ran]',
            r'could not determine',
        ),
        ('c.yaml', 'a: &a [*a]', r'cannot be read as data: it holds more than 1,000,000 val'),
        ('c.yaml', BOMB, r'c\.yaml cannot be read as data: it holds more than 1,000,000 values'),
        ('c.yaml', '', r'a NoneType where a dict is expected'),
        ('c.yml', 'a: [', r'cannot be read as data: while parsing'),
    ],
)
def test_refused_json_and_yaml(name, text, match, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RecipeError, match=match):
        load_config(write(tmp_path, text, name), only_data=True)
    assert not (tmp_path / 'ran').exists()
