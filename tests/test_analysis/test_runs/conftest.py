# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Logs as mmengine writes them."""

import json

import pytest

WRAPPER = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-3))


@pytest.fixture
def write_log(tmp_path):
    """A function that writes the log of one start of a run; returns the work dir as text."""

    def write(rows, run='run', start='20250101_000000', config=None, tail=''):
        folder = tmp_path / run / start / 'vis_data'
        folder.mkdir(parents=True)
        text = ''.join(json.dumps(row) + '\n' for row in rows) + tail
        (folder / 'scalars.json').write_text(text)
        if config is not None:
            lines = [f'{key} = {value!r}' for key, value in config.items()]
            (folder / 'config.py').write_text('\n'.join(lines))
        return str(tmp_path / run)

    return write


@pytest.fixture
def drawn(monkeypatch):
    """(title, {label: points}) of the panels of the figure that is saved; None: no label."""
    from matplotlib.figure import Figure

    panels, save = [], Figure.savefig

    def keep(figure, *args, **kwargs):
        for axis in figure.axes:
            lines = {line.get_label(): line.get_xydata().tolist() for line in axis.lines}
            panels.append((axis.get_title(), lines))
        return save(figure, *args, **kwargs)

    monkeypatch.setattr(Figure, 'savefig', keep)
    return panels
