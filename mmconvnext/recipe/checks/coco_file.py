# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""The categories of a COCO file, read without parsing its annotations, which can be huge."""

from __future__ import annotations

import copy
import json
import mmap
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import NamedTuple

from ..errors import RecipeError

LONGEST = 2**24  # bytes read at most; LVIS's 1203 categories take less than 2**20; our choice
KEY = re.compile(rb'"categories"\s*:\s*')
CATEGORY_ID = re.compile(rb'"category_id"\s*:\s*("[^"]*"|-?\d+)')

ID = (int, float, str)  # what pycocotools can sort; strings must then be in the annotations too


class Category(NamedTuple):
    """An entry of "categories"."""

    id: int
    name: str


def read_categories(ann_file: str) -> list[Category]:
    """The categories of a COCO file, in its order.

    Raises:
        RecipeError: it is not a COCO file.
    """
    problem = f'{ann_file} is not a COCO annotation file: '
    if os.path.isdir(ann_file):
        raise RecipeError(problem + 'it is a folder')
    if os.path.getsize(ann_file) == 0:
        raise RecipeError(problem + 'it is empty')
    try:
        entries = raw_categories(ann_file)
        if entries is None:
            raise RecipeError(problem + 'it has no "categories"')
        categories = [Category(entry['id'], entry['name']) for entry in entries]
    except RecipeError:
        raise
    except KeyError as error:
        raise RecipeError(
            problem + f'its "categories" cannot be read (one has no {error})'
        ) from error
    except (ValueError, TypeError) as error:
        raise RecipeError(problem + f'its "categories" cannot be read ({error})') from error
    for category in categories:
        if not isinstance(category.name, str):
            raise RecipeError(
                f'{ann_file} has the category name {category.name!r}, which is not a string; '
                f'write "{category.name}"'
            )
        if type(category.id) is not type(categories[0].id) or not isinstance(category.id, ID):
            raise RecipeError(
                f'{ann_file} has category ids of mixed or invalid types: {category.id!r}; '
                'renumber its "categories", and its annotations to match'
            )
    return categories


def ids_with_objects(ann_file: str, wanted: set[int]) -> set[int]:
    """The ``wanted`` category ids that have annotations; stops reading once all are found."""
    return set(_ids_with_objects(ann_file, frozenset(wanted), _stamp(ann_file)))


@lru_cache(maxsize=32)  # several loaders and metrics read a file
def _ids_with_objects(ann_file: str, wanted: frozenset[int], stamp: tuple) -> frozenset[int]:
    # "1" is not the id 1, but 1.0 is.
    left = {json.dumps(int(i) if isinstance(i, float) else i).encode(): i for i in wanted}
    with mapped(ann_file) as text:
        for match in CATEGORY_ID.finditer(text):
            if left.pop(match[1], None) is not None and not left:
                break
    return wanted - set(left.values())


def raw_categories(ann_file: str) -> list[dict] | None:
    """The list "categories" as it stands in the file; None if there is none."""
    return copy.deepcopy(_raw_categories(ann_file, _stamp(ann_file)))


def _stamp(ann_file: str) -> tuple[int, int]:
    stat = os.stat(ann_file)
    return stat.st_size, stat.st_mtime_ns


@lru_cache(maxsize=32)
def _raw_categories(ann_file: str, stamp: tuple) -> list[dict] | None:
    with mapped(ann_file) as text:
        if text.find(b'"categories"') < 0:
            return None
        # Usually at the end of the file; far quicker than parsing all of it.
        start = text.rfind(b'"categories"')
        found = KEY.match(text, start)
        if found and text.find(b'"categories"', 0, start) < 0:
            value = text[found.end() : found.end() + LONGEST].decode('utf-8', 'replace')
            return json.JSONDecoder().raw_decode(value)[0]
    with open(ann_file, encoding='utf-8') as file:  # images may have a key of that name too
        content = json.load(file)
    return content.get('categories') if isinstance(content, dict) else None


@contextmanager
def mapped(ann_file: str) -> Iterator[mmap.mmap]:
    """The bytes of a file, read as they are needed."""
    with open(ann_file, 'rb') as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
        yield text
