# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Reads a COCO file: JSON with "images", "annotations" and "categories", or says what it is."""

from __future__ import annotations

import json
from pathlib import Path

from .. import formats
from ..ledger import Ledger

LISTS = ('images', 'annotations', 'categories')
CHECK = 'annotations'
BOM = 'byte order mark or an encoding other than UTF-8'


def read_coco(file: Path, ledger: Ledger, unlabelled: bool = False) -> dict | None:
    """The content of a COCO file; None, and a refusal, if it is none.

    Args:
        unlabelled: whether it may lack "annotations", as COCO's files for its test server do.
    """
    problem = f'{file} is not a COCO annotation file: '
    if file.is_dir():
        found = formats.of_folder(file)
        what = f'it is a folder of {found[0]}' if found else 'it is a folder'
        return _refuse(ledger, problem + what, found)
    with file.open('rb') as stream:
        found = formats.of_binary(stream.read(16))
    if found:
        return _refuse(ledger, problem + f'it is {found[0]}', found)
    try:
        text = _text(file, ledger)
    except UnicodeDecodeError as error:
        return _refuse(ledger, problem + f'it is no text in UTF-8 ({error})', ('', 'save it so'))
    if not text or text.isspace():
        return _refuse(ledger, problem + 'it is empty')
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        found = formats.of_text(text, end=error.pos if error.msg == 'Extra data' else None)
        what = f'it is {found[0]}' if found else _where(error, text)
        return _refuse(ledger, problem + what, found)
    except ValueError:  # sys.get_int_max_str_digits
        return _refuse(ledger, problem + 'it holds an integer of thousands of digits')
    except RecursionError:
        return _refuse(ledger, problem + 'its lists are nested too deeply')
    if isinstance(content, list):
        found = formats.of_list(content)
        what = f'it is {found[0]}' if found else 'it is a list'
        return _refuse(ledger, problem + what, found)
    if not isinstance(content, dict):
        return _refuse(ledger, problem + f'it holds {json.dumps(content)[:40]} alone')
    if unlabelled and content.get('annotations') is None:
        content['annotations'] = []
    absent = [key for key in LISTS if key not in content]
    if absent:
        found = formats.of_object(content)
        what = f'it is {found[0]}' if found else f'it has no "{absent[0]}"'
        return _refuse(ledger, problem + what, found)
    wrong = [key for key in LISTS if not isinstance(content[key], list)]
    if wrong:
        value = json.dumps(content[wrong[0]])[:40]
        return _refuse(ledger, problem + f'its "{wrong[0]}" is {value}, not a list')
    if any(isinstance(a, dict) and 'segments_info' in a for a in content['annotations'][:1]):
        what = 'it holds panoptic segments, not objects'
        way = 'use the file of instances, or a panoptic recipe'
        return _refuse(ledger, problem + what, ('', way))
    return content


def _text(file: Path, ledger: Ledger) -> str:
    with file.open('rb') as stream:
        encoding = json.detect_encoding(stream.read(4))
    if encoding != 'utf-8':
        ledger.mend(BOM, encoding)
    return file.read_text(encoding=encoding)


def _where(error: json.JSONDecodeError, text: str) -> str:
    cut = error.pos >= len(text.rstrip()) or error.msg.startswith('Unterminated')
    end = ', where the file ends: it was cut off' if cut else ''
    return f'it is no JSON: {error.msg} in line {error.lineno}, column {error.colno}{end}'


def _refuse(ledger: Ledger, text: str, found: tuple[str, str] | None = None) -> None:
    way = f'; {found[1]}' if found else ''
    ledger.refuse(CHECK, text + way)
