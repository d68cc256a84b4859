# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""tools/browse_dataset.py: from a config to the page, and what is refused."""

import json

import numpy as np
import pytest
from fixtures import MASK_RCNN, NUCLEI, UPERNET, write_image

from mmconvnext.cli.browse_dataset import main
from mmconvnext.recipe.errors import RecipeError


@pytest.mark.slow
@pytest.mark.parametrize('config', [MASK_RCNN, UPERNET], ids=['objects', 'label maps'])
def test_toy_data(config, toy_data, capsys):
    found = main([config, '--toy', '--out', 'looks', '--num', '2', '--split', 'train'])
    out = capsys.readouterr().out
    assert 'train: 4 images' in out and out.endswith('page     looks/index.html\n')
    assert 'figures  looks/figures.json\n' in out
    assert found.page.is_file() and json.loads((toy_data / 'looks/figures.json').read_text())
    assert {path.name for path in toy_data.iterdir()} == {'looks'}  # no work dir


def test_a_folder_that_is_used_is_refused_before_anything_is_read(tmp_path):
    (tmp_path / 'a').write_text('mine')
    with pytest.raises(RecipeError, match='--out: .* is not empty'):
        main(['nothing.py', '--out', str(tmp_path)])
    assert [path.name for path in tmp_path.iterdir()] == ['a']


def test_data_that_a_training_would_refuse_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RecipeError, match='data/nuclei'):
        main([NUCLEI, '--out', 'looks'])


@pytest.mark.slow
def test_odd_names_and_a_missing_loader(tmp_path, seg_data, capsys):
    """Names of files and classes are shown as they are; pictures have plain names."""
    seg_data['classes'] = ['<b>', '50% $x', '../c']
    for split in ('train', 'val'):
        folder = tmp_path / 'own_seg' / split
        name = f'{split} #1 [50%] \xe4'
        write_image(folder / f'images/{name}.jpg', np.full((48, 64, 3), 90))
        write_image(folder / f'labels/{name}.png', np.ones((48, 64)))
    config = tmp_path / 'my config.py'
    config.write_text(
        f'_base_ = {UPERNET!r}\nown_data = dict(**{seg_data!r})\n'
        "__import__('mmconvnext').use_own_data(locals())\n"
    )
    out = tmp_path / 'looks \xf6 #1'
    main([str(config), '--out', str(out), '--num', '2'])
    page = (out / 'index.html').read_text(encoding='utf-8')
    assert '&lt;b&gt;' in page and 'train #1 [50%] \xe4.jpg' in page and '<b>' not in page
    assert 'label maps of a single class' in capsys.readouterr().out
    assert all(file.name.isascii() for file in (out / 'pictures').iterdir())
    with pytest.raises(RecipeError, match='has no val_dataloader; choose another --split'):
        main([str(config), '--out', str(tmp_path / 'b'), '--split', 'val', '--cfg-options',
              'val_dataloader=None', 'val_evaluator=None', 'val_cfg=None'])  # fmt: skip
