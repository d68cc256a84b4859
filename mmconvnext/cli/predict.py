# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Predictions on images and videos: what ``tools/predict.py`` does."""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from PIL import Image

from ..checkpoint.atomic import atomic_path
from ..inference import Model, load
from ..inference.coco_files import Ids, write_coco
from ..inference.outputs import CROPS, LABELS, PICTURES, TABLE, Outputs, label_values, write_values
from ..inference.progress import Progress, duration
from ..inference.records import Records
from ..inference.run import Run, weights_digest
from ..inference.sources import Source, find_sources, keys_of
from ..recipe.errors import RecipeError
from ..recipe.walk import dicts
from .options import predict_parser
from .stack import require_extra, require_stack

GPU_BATCH = 4  # images at once on a GPU; a CPU gains nothing from more than one; our choice
TOLD = 5  # bad files that the summary names; our choice
VALUES = 5  # of label maps, that the summary names; our choice
BAD = 'bad_files.txt'


def main(argv: list[str] | None = None) -> None:
    """Parse ``argv``, predict, print a summary; exit status 1 if some files were bad."""
    args = predict_parser().parse_args(argv)
    config, checkpoint, inputs = _split(args.paths)
    out = Path(os.path.expanduser(args.out))
    sources = find_sources(inputs, out)
    if not (args.pictures or args.json or args.crops or args.label_pngs):
        raise RecipeError('--no-pictures: nothing would be written; add --json, --crops or others')
    require_stack()
    # Its annotators draw objects, and it brings av, which reads and writes videos.
    require_extra('supervision', *['av'] * any(source.kind != 'image' for source in sources))
    warnings.filterwarnings('ignore', category=Image.DecompressionBombWarning)
    model = load(
        config,
        checkpoint,
        device=args.device,
        score=args.score,
        tiles=args.tiles,
        overlap=args.overlap,
        tta=args.tta,
        config_only_data=args.config_only_data,
    )
    _check_outputs(args, model)
    ids = Ids(model.classes, args.ids_of)
    batch = args.batch or (1 if str(next(model.net.parameters()).device) == 'cpu' else GPU_BATCH)
    with Records(out, _settings(args, model)) as records:
        try:
            done = _predict(args, model, records, sources, batch)
            written = [*_write_files(args, model, records, sources, ids)]
        except KeyboardInterrupt:
            print('\nstopped; the same command continues', file=sys.stderr)
            sys.exit(130)
        except OSError as error:
            raise RecipeError(
                f'{error.filename or out} cannot be written: {error.strerror or error}; when that '
                'is mended, the same command continues'
            ) from error
        print('\n'.join(_summary(records, sources, done, written, model.scope == 'mmdet')))
        if args.label_pngs:
            print(_values(model, out))
        if any('error' in records.done[source.path] for source in sources):
            sys.exit(1)


def _split(paths: list[str]) -> tuple[str, str | None, list[str]]:
    """Config, checkpoint and inputs; a work dir stands for the first two."""
    if os.path.isdir(os.path.expanduser(paths[0])):  # Path's fails for a name that is too long
        config, checkpoint, inputs = paths[0], None, paths[1:]
    else:
        config, checkpoint, inputs = paths[0], (paths[1:2] or [None])[0], paths[2:]
    if not inputs:
        raise RecipeError('give CONFIG CHECKPOINT INPUT..., or WORK_DIR INPUT...')
    return config, checkpoint, inputs


def _check_outputs(args: argparse.Namespace, model: Model) -> None:
    kinds = _predicts(model)
    for flag, kind, way in (
        ('json', 'objects', 'label maps are written with --label-pngs'),
        ('crops', 'objects', 'label maps are written with --label-pngs'),
        ('label_pngs', 'label maps', 'objects are written with --json'),
    ):
        if getattr(args, flag) and kind not in kinds:
            name = f'--{flag.replace("_", "-")}'
            raise RecipeError(f'{name}: this model predicts no {kind}; {way}')


def _predicts(model: Model) -> set[str]:
    if model.scope == 'mmseg':
        return {'label maps'}
    panoptic = any(
        'panoptic_on' in node or 'num_stuff_classes' in node for _, node in dicts(model.cfg.model)
    )
    return {'objects', 'label maps'} if panoptic else {'objects'}


def _settings(args: argparse.Namespace, model: Model) -> dict:
    """What the results depend on: a folder is only continued with the same."""
    names = ('score', 'tiles', 'overlap', 'tta', 'pictures', 'json', 'crops', 'label_pngs')
    names += ('outline',)
    return dict(
        recipe=model.recipe,
        classes=hashlib.sha256(repr(model.classes).encode()).hexdigest()[:12],
        weights=weights_digest(model),
        **{name: getattr(args, name) for name in names},
    )


def _predict(
    args: argparse.Namespace,
    model: Model,
    records: Records,
    sources: Sequence[Source],
    batch: int,
) -> list[Progress]:
    outputs = Outputs(
        records.folder,
        pictures=args.pictures,
        labels=args.label_pngs,
        crops=args.crops,
        values=label_values(model.cfg, model.classes),
        outline=args.outline,
    )
    keys = keys_of(
        sources, {path: row['key'] for path, row in records.done.items() if 'key' in row}
    )
    run = Run(model, records, outputs, keys, batch=batch, objects=args.json)
    done = []
    images = [source for source in sources if source.kind == 'image']
    if images:
        done.append(run.images(images))
    for source in sources:
        if source.kind != 'image' and not records.is_done(source.path, source.stamp):
            done.append(run.video(source))
    return done


def _write_files(
    args: argparse.Namespace,
    model: Model,
    records: Records,
    sources: Sequence[Source],
    ids: Ids,
) -> Iterator[Path]:
    """The files that describe all images; what was written."""
    for wanted, name in ((args.pictures, PICTURES), (args.crops, CROPS)):
        if wanted and (records.folder / name).is_dir():
            yield records.folder / name
    if args.label_pngs:
        values = label_values(model.cfg, model.classes)
        write_values(records.folder, values, model.classes, model.colours)
        yield records.folder / LABELS
    if args.json:
        yield from write_coco(records, ids)
    bad = [(one.path, records.done[one.path].get('error')) for one in sources]
    lines = [f'{path}: {error}\n' for path, error in bad if error]
    if lines:
        with atomic_path(records.folder / BAD) as part:
            part.write_bytes(os.fsencode(''.join(lines)))
        yield records.folder / BAD
    else:
        (records.folder / BAD).unlink(missing_ok=True)


def _summary(
    records: Records,
    sources: Sequence[Source],
    done: Sequence[Progress],
    written: list[Path],
    objects: bool,
) -> Iterator[str]:
    rows = [records.done[source.path] for source in sources]
    good, bad = ([row for row in rows if ('error' in row) == wrong] for wrong in (False, True))
    seconds = sum(progress.seconds for progress in done)
    now = sum(progress.done - progress.before for progress in done)
    videos = sum('frames' in row for row in good)
    before = sum(progress.before for progress in done)
    parts = [
        f'{len(good) - videos} images' * (len(good) > videos or not videos),
        f'{videos} video{"s" * (videos > 1)}' * bool(videos),
        f'{len(bad)} bad file{"s" * (len(bad) > 1)}' * bool(bad),
    ]
    early = f', {before} of them from an earlier start' * bool(before)
    rate = f', {now / seconds:.1f} a second' * bool(now)
    yield f'{", ".join(filter(None, parts))}{early}; {duration(seconds)}{rate}'
    counts: Counter[str] = Counter()
    for row in good:
        counts.update(row['counts'])
    total = sum(counts.values())
    most = ', '.join(
        f'{count} {name}' if objects else f'{name} {100 * count / total:.1f} %'
        for name, count in counts.most_common(12)
    )
    yield f'found: {most or "nothing"}{", ..." if len(counts) > 12 else ""}'
    yield f'written: {", ".join(map(_shown, written))}'
    if bad:
        yield 'bad:'
        yield from (f'  {_shown(row["source"])}: {row["error"]}' for row in bad[:TOLD])
        if len(bad) > TOLD:
            yield f'  and {len(bad) - TOLD} more in {_shown(records.folder / BAD)}'


def _values(model: Model, out: Path) -> str:
    """What stands in the label maps, which look black, and the table of it."""
    values = label_values(model.cfg, model.classes)
    named = [f'{value} {name}' for value, name in zip(values, model.classes)]
    more = f', and {len(named) - VALUES} more' * (len(named) > VALUES)
    table = _shown(out / LABELS / TABLE)
    return f'values in the label maps: {", ".join(named[:VALUES])}{more}; all in {table}'


def _shown(path: object) -> str:
    """A path that every terminal can show."""
    return os.fsencode(str(path)).decode('utf-8', 'replace')
