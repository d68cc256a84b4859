# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""draw/page.py: what a reader sees, whatever the names; read back by an HTML parser."""

from html.parser import HTMLParser
from urllib.parse import unquote

import numpy as np
from PIL import Image

from mmconvnext.draw.page import Page

PICTURE = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
ODD = '<b>Gr\u00f6\u00dfe & "50%" #1'


class Read(HTMLParser):
    """Texts, links and attributes of a page."""

    def __init__(self, file):
        super().__init__()
        self.texts, self.tags = [], []
        self.feed(file.read_text(encoding='utf-8'))

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.texts.append(data.strip())

    def values(self, tag, name):
        return [attrs[name] for found, attrs in self.tags if found == tag and name in attrs]


def test_texts_are_escaped_and_sections_linked(tmp_path):
    page = Page(tmp_path, ODD)
    page.section('First')
    page.text(ODD)
    page.section('Second')
    page.items([ODD, 'x'])
    read = Read(page.write())
    assert read.texts.count(ODD) == 4  # title, heading, paragraph, item
    assert read.values('a', 'href') == ['#s1', '#s2'] == [f'#{i}' for i in read.values('h2', 'id')]
    assert 'b' not in [tag for tag, _ in read.tags]


def test_pictures_lie_beside_the_page_and_no_name_is_taken_twice(tmp_path):
    page = Page(tmp_path, 'x')
    names = [ODD, 'a b', 'a/b', 'A_B', '../..', 'n' * 300]
    files = [page.picture(name, PICTURE, f'about {name}') for name in names]
    page.gallery([('a_b', PICTURE, 'small')])
    read = Read(page.write())
    sources = [unquote(source) for source in read.values('img', 'src')]
    assert [tmp_path / source for source in sources[:-1]] == files
    assert len({source.lower() for source in sources}) == len(names) + 1
    assert sorted(tmp_path.rglob('*.png')) == sorted(tmp_path / source for source in sources)
    assert sources[1:5] == [f'pictures/{n}.png' for n in ('a_b', 'a_b_2', 'A_B_3', 'picture')]
    for file in files:
        np.testing.assert_array_equal(np.asarray(Image.open(file)), PICTURE)
    assert [f'about {name}' in read.texts for name in names] == [True] * len(names)
    assert read.values('img', 'alt')[0] == ODD


def test_no_address_outside_of_the_folder(tmp_path):
    page = Page(tmp_path, 'x')
    page.picture('p', PICTURE)
    text = page.write().read_text(encoding='utf-8')
    assert '//' not in text and 'src="/' not in text


def test_a_table(tmp_path):
    page = Page(tmp_path, 'x')
    page.table(['class', 'AP'], [['<a>', 0.12345], ['b', None], ['c', 7], ['d', np.float32(0.5)]])
    read = Read(page.write())
    texts = [text for text in read.texts if text]
    assert texts[-10:] == ['class', 'AP', '<a>', '0.123', 'b', '-', 'c', '7', 'd', '0.500']
    assert read.values('td', 'class') == ['number'] * 4
