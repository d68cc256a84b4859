# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""cli/feature_maps.py: a picture of a trained model's maps."""

from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from mmconvnext.cli import feature_maps
from mmconvnext.cli.feature_maps import main
from mmconvnext.recipe.errors import RecipeError


@pytest.fixture
def image(tmp_path):
    file = tmp_path / 'my image #1.png'
    noise = np.random.default_rng(0).integers(0, 255, (64, 96, 3), np.uint8)
    Image.fromarray(noise).save(file)
    return str(file)


@pytest.mark.slow
@pytest.mark.parametrize('kind', ['detector', 'segmentor'])
def test_a_trained_model(request, kind, image, tmp_path, capsys):
    run = request.getfixturevalue(f'{kind}_run')
    out = tmp_path / 'maps.png'
    main([str(next(run.work_dir.glob('*.py'))), run.checkpoint, image, '--out', str(out)])
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == f'picture: {out}'
    stages = [line.partition(',')[0] for line in lines if line.startswith('stage ')]
    assert stages == ['stage 0', 'stage 1', 'stage 2', 'stage 3']
    assert 'stage 2, stride 16, 32 channels' in '\n'.join(lines)
    with Image.open(out) as picture:
        assert picture.width > 5 * 400


@pytest.fixture
def drawn(monkeypatch):
    """Which function draws which stages, without a model."""
    calls = []
    stages = [SimpleNamespace(index=i, title=lambda i=i: [f'stage {i}']) for i in range(3)]
    monkeypatch.setattr(feature_maps, 'load', lambda *args, **options: (args, options))
    for name in ('overview', 'components', 'channels'):
        monkeypatch.setattr(
            feature_maps, f'draw_{name}',
            lambda features, *args, name=name: calls.append(
                (name, [stage.index for stage in features.stages], *args)
            ) or np.zeros((2, 3, 3), np.uint8),
        )  # fmt: skip

    def maps(model, image):
        calls.append((model, image))
        return feature_maps.Features(None, stages)

    monkeypatch.setattr(feature_maps, 'feature_maps', maps)
    return calls


@pytest.mark.parametrize(
    ('flags', 'call'),
    [
        ('', ('overview', [0, 1, 2])),
        ('--pca', ('components', [0, 1, 2])),
        ('--stage 2', ('overview', [2])),
        ('--channels', ('channels', [0, 1, 2], 16)),
        ('--channels 3 --stage 0', ('channels', [0], 3)),
    ],
)
def test_what_is_drawn(drawn, tmp_path, flags, call):
    out = tmp_path / 'new folder' / 'a.png'
    argv = ['a.py', 'b.pth', 'c.jpg', '--out', str(out), '--device', 'cpu', *flags.split()]
    assert main(argv) == out and out.is_file()
    assert drawn == [
        ((('a.py', 'b.pth'), dict(device='cpu', config_only_data=False)), 'c.jpg'),
        call,
    ]


def test_mistakes(drawn, tmp_path):
    (tmp_path / 'mine.png').write_text('mine')
    (tmp_path / 'file').write_text('')
    for flags, message in (
        (['--out', 'a.jpg'], 'a.jpg: the picture is a PNG'),
        (['--out', str(tmp_path / 'mine.png')], 'mine.png exists and is left unchanged'),
        (['--out', str(tmp_path / 'a.png'), '--stage', '3'], '--stage 3: .* the maps 0 to 2'),
        (['--out', str(tmp_path / 'file/a.png')], 'a.png cannot be written: '),
    ):
        with pytest.raises(RecipeError, match=message):
            main(['a.py', 'b.pth', 'c.jpg', *flags])
    assert (tmp_path / 'mine.png').read_text() == 'mine' and not (tmp_path / 'a.png').exists()
