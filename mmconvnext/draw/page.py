# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""A plain HTML page with pictures beside it: a folder that can be sent to a colleague."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence
from numbers import Number
from pathlib import Path
from urllib.parse import quote

import numpy as np
from PIL import Image

FILE, PICTURES = 'index.html', 'pictures'
# Our choice: readable on a screen and on paper, in the reader's light or dark colours.
STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
h2 { margin-top: 3rem; border-bottom: 1px solid #8888; }
nav a { margin-right: 1.2em; }
figure { margin: 1.5rem 0; }
figure img { max-width: 100%; background: white; }
figcaption { opacity: .75; overflow-wrap: anywhere; }
.gallery { display: flex; flex-wrap: wrap; gap: 1rem; align-items: start; }
.gallery figure { margin: 0; max-width: 15rem; }
.table { overflow-x: auto; }
table { border-collapse: collapse; margin: 1rem 0; }
th, td { padding: .15rem .8rem; border-bottom: 1px solid #8884; text-align: left; }
.number { text-align: right; font-variant-numeric: tabular-nums; }
"""


class Page:
    """Collects the parts of a page; a picture is written at once, the page by :meth:`write`.

    All texts are escaped, so names of classes and files may hold any character.

    Args:
        folder: an existing folder.
        title: the heading of the page.
    """

    def __init__(self, folder: str | Path, title: str):
        self.folder, self.title = Path(folder), title
        self._sections: list[str] = []
        self._parts: list[str] = []
        self._taken: set[str] = set()

    def section(self, title: str) -> None:
        """A heading, with a link at the top of the page."""
        self._sections.append(title)
        self._parts.append(f'<h2 id="s{len(self._sections)}">{html.escape(title)}</h2>')

    def text(self, text: str) -> None:
        """A paragraph."""
        self._parts.append(f'<p>{html.escape(text)}</p>')

    def items(self, texts: Iterable[str]) -> None:
        """A list of texts."""
        self._parts.append(f'<ul>{"".join(f"<li>{html.escape(text)}" for text in texts)}</ul>')

    def table(self, head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """A table; numbers are set to the right, fractions with three digits, None as '-'."""
        lines = [_row('th', head), *(_row('td', row) for row in rows)]
        self._parts.append(f'<div class="table"><table>{"".join(lines)}</table></div>')

    def picture(self, name: str, picture: np.ndarray, caption: str = '') -> Path:
        """A picture, (H, W, 3) uint8 in RGB, in the file `pictures/<name>.png`; returns the file.

        What a file name may not hold is replaced, and a name that is taken gets a number.
        """
        self._parts.append(self._figure(name, picture, caption))
        return self._last

    def gallery(self, pictures: Iterable[tuple[str, np.ndarray, str]]) -> None:
        """Small pictures in rows: (name, picture, caption) of each, as for :meth:`picture`."""
        figures = ''.join(self._figure(*picture) for picture in pictures)
        self._parts.append(f'<div class="gallery">{figures}</div>')

    def write(self) -> Path:
        """Write `index.html`; returns its path."""
        title = html.escape(self.title)
        links = ''.join(
            f'<a href="#s{number}">{html.escape(text)}</a> '
            for number, text in enumerate(self._sections, 1)
        )
        head = '<meta name="viewport" content="width=device-width">'
        text = (
            f'<!DOCTYPE html>\n<html><head><meta charset="utf-8">{head}\n<title>{title}</title>\n'
            f'<style>{STYLE}</style></head>\n<body>\n<h1>{title}</h1>\n<nav>{links}</nav>\n'
        )
        file = self.folder / FILE
        text += '\n'.join(self._parts) + '\n</body></html>\n'
        file.write_text(text, encoding='utf-8', errors='backslashreplace')
        return file

    def _figure(self, name: str, picture: np.ndarray, caption: str) -> str:
        path = f'{PICTURES}/{self._free(name)}.png'
        self._last = self.folder / path
        self._last.parent.mkdir(exist_ok=True)
        Image.fromarray(picture).save(self._last)
        height, width = picture.shape[:2]
        return (
            f'<figure><a href="{quote(path)}"><img src="{quote(path)}" loading="lazy" '
            f'width="{width}" height="{height}" style="height:auto" alt="{html.escape(name)}">'
            f'</a><figcaption>{html.escape(caption)}</figcaption></figure>'
        )

    def _free(self, name: str) -> str:
        """A name of a file that no picture has yet, whatever the system's rules for letters."""
        stem = re.sub(r'[^A-Za-z0-9_.-]+', '_', name)[:80].strip('._') or 'picture'
        free, number = stem, 2
        while free.lower() in self._taken:
            free, number = f'{stem}_{number}', number + 1
        self._taken.add(free.lower())
        return free


def _row(tag: str, cells: Sequence[object]) -> str:
    parts = []
    for cell in cells:
        number = isinstance(cell, Number) or cell is None
        look = ' class="number"' if number else ''
        parts.append(f'<{tag}{look}>{html.escape(_cell(cell))}</{tag}>')
    return f'<tr>{"".join(parts)}</tr>\n'


def _cell(cell: object) -> str:
    if cell is None:
        return '-'
    return f'{cell:.3f}' if isinstance(cell, (float, np.floating)) else str(cell)
