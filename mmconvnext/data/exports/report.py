# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""What was read, left out and written: as a dict for report.json, and as lines."""

from __future__ import annotations

import shlex
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from pprint import pformat

from .gather import Data
from .write import SPLITS

SIZES = 5  # sizes of images that are listed, the most frequent ones; our choice
SHOWN = 20  # classes that are printed; the report has all; our choice


def facts_of(data: Data, source: Path, found: tuple[str, str], task: str, links: bool) -> dict:
    """Counts of everything; ``found`` is the format and why it seemed so."""
    objects = [entry for item in data.items for entry in item.objects]
    learnt = [entry for entry in objects if not entry['iscrowd']]
    sizes = Counter(f'{item.width} x {item.height}' for item in data.items)
    masks = sum(bool(entry.get('segmentation')) for entry in learnt)
    return dict(
        source=str(source),
        format=found[0],
        recognised_by=found[1],
        task='detection' if task == 'instance' and not masks else task,
        links=links,
        images=len(data.items),
        objects=len(learnt),
        boxes_without_mask=len(learnt) - masks,
        masks=masks,
        regions_to_ignore=len(objects) - len(learnt),
        classes=_counts(data, learnt),
        empty_images=[item.name for item in data.items if not item.objects and not item.label_map],
        sizes=dict(sizes.most_common()),
        splits={split: _split(data, split) for split in SPLITS if _has(data, split)},
        notes=data.notes,
        **{key: value for key, value in asdict(data.ledger).items() if key != 'refused'},
    )


def _counts(data: Data, entries: list[dict]) -> dict[str, int]:
    found = Counter(entry['class'] for entry in entries)
    return {name: found[name] for name in data.classes}


def _has(data: Data, split: str) -> bool:
    return any(item.split == split for item in data.items)


def _split(data: Data, split: str) -> dict:
    items = [item for item in data.items if item.split == split]
    learnt = [entry for item in items for entry in item.objects if not entry['iscrowd']]
    return dict(images=len(items), objects=len(learnt), classes=_counts(data, learnt))


def add_pixels(facts: dict, data: Data, own: dict, pixels: dict[str, Counter]) -> None:
    """For label maps: by class the maps that show it, and its share of the pixels."""
    total = sum(sum(one.values()) for one in pixels.values()) or 1
    shares = Counter()
    for one in pixels.values():
        shares.update(one)
    facts['pixels'] = {name: round(shares[name] / total, 6) for name in own['classes']}
    for split, entry in facts['splits'].items():
        members = [pixels[item.name] for item in data.items if item.split == split]
        entry['images'] = len(members)
        entry['classes'] = {name: sum(name in one for one in members) for name in own['classes']}
    facts['classes'] = {
        name: sum(name in one for one in pixels.values()) for name in own['classes']
    }
    facts['images'] = len(pixels)


def lines(facts: dict, out: Path) -> list[str]:
    """The report for people."""
    semantic, splits = facts['task'] == 'semantic', facts['splits']
    told = [f'{facts["format"]}: {facts["recognised_by"]}', '']
    rows = [['', 'images', '' if semantic else 'objects']]
    rows += [
        [s, str(e['images']), '' if semantic else str(e['objects'])] for s, e in splits.items()
    ]
    told += _table(rows)
    unit = 'label maps with the class, in' if semantic else 'objects of the class, in'
    told += ['', f'{unit} {", ".join(splits)}:']
    names = list(facts['classes'])
    rows = [[n, *(str(entry['classes'][n]) for entry in splits.values())] for n in names[:SHOWN]]
    if semantic:
        rows = [[*row, f'{facts["pixels"][row[0]]:.1%} of the pixels'] for row in rows]
    told += [f'  {row}' for row in _table(rows)]
    if len(names) > SHOWN:
        told.append(f'  ... and {len(names) - SHOWN} classes more, in report.json')
    told.append('')
    if not semantic:
        told.append(
            f'{facts["objects"]} objects, {facts["masks"]} of them with masks; '
            f'{len(facts["empty_images"])} images without objects'
        )
        if facts['regions_to_ignore']:
            ignored = f'{facts["regions_to_ignore"]} regions to ignore (iscrowd=1)'
            told.append(f'{ignored}; --crowd-as-object takes them as objects')
        if 0 < facts['masks'] < facts['objects']:
            told.append(
                f'mind: {facts["boxes_without_mask"]} objects have no mask, so that a recipe with '
                'masks would ignore them; own_data.masks_from_boxes=True takes their boxes'
            )
    sizes = list(facts['sizes'].items())
    more = f', and {len(sizes) - SIZES} sizes more' if len(sizes) > SIZES else ''
    told.append('sizes: ' + ', '.join(f'{n} of {size}' for size, n in sizes[:SIZES]) + more)
    for title, key in (('left out', 'left_out'), ('mended', 'mended'), ('noted', 'noted')):
        for kind, tally in facts[key].items():
            first = ', '.join(map(str, tally['first']))
            more = ', ...' if tally['count'] > len(tally['first']) else ''
            told.append(f'{title}: {tally["count"]} {kind} ({first}{more})')
    told += [f'note: {note}' for note in facts['notes']]
    if facts['links']:
        told.append(f'images are links to {facts["source"]}; --copy makes copies, to take along')
    task = facts['task'].replace('detection', 'det')  # as new_project's option
    return [
        *told,
        '',
        'For a config:',
        '',
        own_data(facts['own_data']),
        '',
        f'All figures are in {out / "report.json"}. To write a whole config:',
        f'    python tools/new_project.py {shlex.quote(str(out))} --task {task}',
    ]


def own_data(own: dict) -> str:
    """The dict as one writes it in a config."""
    rows = []
    for key, value in own.items():
        if key in SPLITS:
            inner = ', '.join(f'{k}={v!r}' for k, v in value.items())
            rows.append(f'    {key}=dict({inner}),')
        else:
            shown = pformat(value, width=88, compact=True).replace('\n', '\n    ')
            rows.append(f'    {key}={shown},')
    return '\n'.join(['own_data = dict(', *rows, ')'])


def _table(rows: list[list[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows)]
    return [
        '  '.join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths))
        ).rstrip()
        for row in rows
    ]
