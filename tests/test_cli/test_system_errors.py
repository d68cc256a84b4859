# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""cli/system_errors.py: what the user can mend is one message; other errors are none of these."""

import errno
import os
from pathlib import Path

import pytest

from mmconvnext.cli.system_errors import LONGEST, WAYS, reason, short, told


def test_a_name_that_is_too_long():
    with pytest.raises(OSError) as error:
        Path('x' * 5000).is_file()
    text = told(error.value)
    assert text.startswith(f'{"x" * (LONGEST // 2)}...{"x" * 20} (5000 characters): File name too')
    assert text.endswith('a name may have 255 bytes, a whole path 4095; give a shorter one')


@pytest.mark.parametrize('number', WAYS)
def test_each_has_a_way_out(number):
    error = OSError(number, os.strerror(number), 'a/b')
    assert told(error) == f'a/b: {os.strerror(number)}: {WAYS[number]}'
    assert told(OSError(number, 'why')) == f'why: {WAYS[number]}' == reason(OSError(number, 'why'))


def test_both_files_of_a_copy():
    error = OSError(errno.ENOSPC, 'No space', 'a', None, 'b')
    assert told(error).startswith('a -> b: No space: the disk is full')


def test_others_have_none():
    error = FileNotFoundError(errno.ENOENT, 'No such file', 'a')
    assert told(error) == '' and reason(error) == 'No such file'
    assert told(OSError('broken')) == '' and reason(OSError('broken')) == 'broken'


def test_short_paths_are_shown_whole():
    assert short(Path('x' * LONGEST)) == 'x' * LONGEST
    assert '...' in short('x' * (LONGEST + 1)) and short(3) == '3'
