# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""data/texts.py: encodings that texts tell by their first bytes."""

import pytest

from mmconvnext.data.texts import decoded, text_of

ENCODINGS = ['utf-8', 'utf-8-sig', 'utf-16', 'utf-16-le', 'utf-16-be', 'utf-32']


@pytest.mark.parametrize('encoding', ENCODINGS)
def test_encodings_and_ends_of_lines(tmp_path, encoding):
    (tmp_path / 'a.txt').write_bytes('name: Gr\u00f6\u00dfe\r\n\u72ac\rb'.encode(encoding))
    assert text_of(tmp_path / 'a.txt') == 'name: Gr\u00f6\u00dfe\n\u72ac\nb'


def test_other_encodings_are_errors_unless_replaced(tmp_path):
    (tmp_path / 'a.txt').write_bytes('Gr\u00f6\u00dfe'.encode('latin-1'))
    with pytest.raises(UnicodeDecodeError):
        text_of(tmp_path / 'a.txt')
    assert text_of(tmp_path / 'a.txt', 'replace').startswith('Gr\ufffd')


def test_a_beginning_that_is_cut_within_a_letter():
    assert decoded('ab'.encode('utf-16')[:5], 'replace').startswith('a') and decoded(b'') == ''
