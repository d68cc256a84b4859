# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""recipe/quiet.py: five warnings of mmseg are ignored, and no others."""

import warnings

import pytest
from mmengine.visualization import Visualizer

from mmconvnext.recipe.quiet import IDLE, ignore_idle_warnings


def raised(*rows) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        ignore_idle_warnings()
        for text, kind in rows:
            warnings.warn(text, kind, stacklevel=1)
    return [str(one.message) for one in caught]


def test_only_these_texts_of_this_kind_are_ignored():
    others = [('The draw is odd', UserWarning), (f'not {IDLE[0]}', UserWarning)]
    others += [(IDLE[1], FutureWarning)]
    rows = [(f'{text} and more', UserWarning) for text in IDLE]
    assert raised(*rows, *others) == [text for text, _ in others]


@pytest.mark.slow  # it imports mmseg
def test_they_are_what_mmseg_says(monkeypatch):
    from mmseg.datasets.transforms import LoadAnnotations
    from mmseg.engine.hooks import SegVisualizationHook
    from mmseg.models import CrossEntropyLoss, build_loss
    from mmseg.models.decode_heads import FCNHead

    # The hook asks for that of a run.
    monkeypatch.setattr(Visualizer, 'get_current_instance', lambda: None)

    def build():
        SegVisualizationHook()
        CrossEntropyLoss()
        FCNHead(in_channels=4, channels=4, num_classes=2, num_convs=1)
        LoadAnnotations(reduce_zero_label=True)
        build_loss(dict(type='CrossEntropyLoss', avg_non_ignore=True))

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        build()
        found = [str(one.message) for one in caught]
        assert all(any(one.startswith(text) for one in found) for text in IDLE)
        caught.clear()
        ignore_idle_warnings()
        build()
        assert not caught
