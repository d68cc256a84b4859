# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""A look at the mistakes of a model: what ``tools/analyze.py`` does."""

from __future__ import annotations

import argparse
import copy
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from mmengine.config import Config, ConfigDict
from mmengine.registry import TRANSFORMS, init_default_scope
from mmengine.runner import Runner

from ..analysis.results import label_maps_page, objects_page
from ..analysis.results.keep import KeepLabelMaps, KeepObjects, measures_objects
from ..analysis.results.label_maps import LabelMapAnalysis
from ..analysis.results.objects import ObjectAnalysis, analyze_objects
from ..checkpoint.mmengine_io import install
from ..data.listed_name import with_listed_names
from ..draw import as_picture, brightened, brightness, fill_up
from ..draw.page import Page
from ..inference.find import find_run
from ..recipe.checks.classes import metric_type
from ..recipe.errors import RecipeError
from ..recipe.prepare import prepare_config
from ..recipe.walk import LOADERS, datasets, pipelines, task, type_name
from .cfg_options import read_cfg_options
from .commands import command
from .options import analyze_parser
from .out_folder import new_folder
from .stack import require_extra, require_stack
from .test import load_for_test, testing_runner

FILE = 'analysis.json'
MEASURED = ('bbox', 'segm')  # by CocoMetric; proposals have no classes
WRITES = ('output_dir', 'outfile_prefix')  # where metrics would write predictions
SUPPORTED = (
    "tools/analyze.py looks at a detector's boxes and masks (test_evaluator with CocoMetric, "
    "metric 'bbox' or 'segm') and at a segmentor's label maps (IoUMetric)"
)
# Where mmengine's lines say test.
MEASURES = dict(
    val='measured on the validation data (--split test for the test data); below they are "test"',
    test='measured on the test data',
)

Analysis = ObjectAnalysis | LabelMapAnalysis


def main(argv: list[str] | None = None) -> Path:
    """Parse ``argv``, test, write the page; returns its path."""
    args = analyze_parser().parse_args(argv)
    folder = new_folder(args.out)
    config, checkpoint = find_run(args.config, args.checkpoint)
    # A work dir is given alone, to tools/predict.py too.
    run = [str(config), checkpoint] if args.checkpoint else [args.config]
    args.config, args.checkpoint = str(config), checkpoint
    require_stack()
    require_extra('supervision')
    install()
    print(MEASURES[args.split])
    cfg = prepare_config(
        args.config,
        read_cfg_options(args.cfg_options),
        only_data=args.config_only_data,
        training=False,
        toy=args.toy,
        lenient=args.lenient,
        edit=lambda cfg: _apply_arguments(cfg, args),
    )
    runner = testing_runner(cfg)
    analyze = _analyze_objects if task(cfg) == 'mmdet' else _analyze_label_maps
    analysis, fill = analyze(runner, args)
    try:
        file = _write(folder, cfg, args, analysis, fill)
    except OSError as error:
        raise RecipeError(f'--out: {folder} cannot be written: {error}') from error
    lines = ['', *analysis.summary(), f'page: {file}', f'figures: {folder / FILE}']
    print('\n'.join([*lines, *_predict_line(args, analysis, run)]))
    return file


def _apply_arguments(cfg: Config, args: argparse.Namespace) -> None:
    load_for_test(cfg, args.checkpoint)
    for part in ('dataloader', 'evaluator'):
        node = cfg.get(f'{args.split}_{part}')
        if not node:
            raise RecipeError(
                f'--split {args.split}: the config has no {args.split}_{part}, or its images have '
                'no labels; choose the other split, or set it'
            )
        cfg[f'test_{part}'] = copy.deepcopy(node)
    cfg.test_cfg = cfg.get('test_cfg') or {}
    metrics = list(_metrics(cfg.test_evaluator))
    if not can_analyze(cfg, cfg.test_evaluator):
        names = ', '.join(type_name(metric) for metric in metrics)
        raise RecipeError(f'the config measures with {names}; {SUPPORTED}')
    for metric in metrics:
        if metric.get('format_only'):
            raise RecipeError(
                f'--split {args.split}: {type_name(metric)} has format_only=True, for data without '
                'labels, which cannot be compared with; choose the other split'
            )
        for key in WRITES:
            metric.pop(key, None)


def can_analyze(cfg: Config, evaluator: ConfigDict | list | None) -> bool:
    """Whether an evaluator of the config measures what this tool looks at."""
    metrics = list(_metrics(evaluator)) if evaluator else []
    wanted = _measures_objects if task(cfg) == 'mmdet' else _measures_maps
    panoptic = any(_is_a(cfg, metric, 'CocoPanopticMetric') for metric in metrics)
    return not panoptic and any(wanted(cfg, metric) for metric in metrics)


def _metrics(given: ConfigDict | list) -> Iterator[ConfigDict]:
    given = given.get('metrics', given) if isinstance(given, dict) else given
    yield from given if isinstance(given, (list, tuple)) else [given]


def _is_a(cfg: Config, metric: dict, name: str) -> bool:
    kinds = getattr(metric_type(cfg, metric), '__mro__', ())
    return any(kind.__name__ == name for kind in kinds)


def _measures_objects(cfg: Config, metric: dict) -> bool:
    what = metric.get('metric', 'bbox')
    what = what if isinstance(what, (list, tuple)) else [what]
    return measures_objects(metric_type(cfg, metric) or object) and any(w in MEASURED for w in what)


def _measures_maps(cfg: Config, metric: dict) -> bool:
    return _is_a(cfg, metric, 'IoUMetric')


def _analyze_objects(runner: Runner, args: argparse.Namespace) -> tuple[Analysis, Callable]:
    keep = KeepObjects()
    runner.register_hook(keep)
    runner.test()
    classes = runner.test_loop.dataloader.dataset.metainfo['classes']
    options = dict(score=args.score, iou=args.iou)
    analysis = analyze_objects(keep.rules, keep.predictions, classes, keep.kinds, **options)
    read = reader(runner.cfg)
    return analysis, lambda page: objects_page.fill_page(page, analysis, read, args.worst)


def _analyze_label_maps(runner: Runner, args: argparse.Namespace) -> tuple[Analysis, Callable]:
    metainfo = runner.test_loop.dataloader.dataset.metainfo
    metrics = _metrics(runner.cfg.test_evaluator)
    metric = next(metric for metric in metrics if _measures_maps(runner.cfg, metric))
    ignored = metric.get('ignore_index', 255)  # IoUMetric's default
    analysis = LabelMapAnalysis(metainfo['classes'], ignored, args.worst)
    runner.register_hook(KeepLabelMaps(analysis))
    runner.test()
    colours = fill_up(metainfo.get('palette'), len(analysis.classes))
    read = reader(runner.cfg)
    return analysis, lambda page: label_maps_page.fill_page(page, analysis, read, colours)


def reader(cfg: Config) -> Callable[[str], np.ndarray]:
    """A function that reads the picture of a file as the test pipeline loads it: RGB, turned.

    Dark pictures are brightened, so that what is in them can be seen.
    """
    test = Config(dict(test_dataloader=cfg.test_dataloader))
    node = next(node for node in pipelines(test) if type_name(node).startswith('LoadImage'))
    init_default_scope(task(cfg))
    load = TRANSFORMS.build(node)

    def read(path: str) -> np.ndarray:
        image = load(dict(img_path=path))['img']
        if image.ndim == 3 and image.shape[2] >= 3:
            image = image[..., 2::-1]  # mmcv's order of channels is BGR
        picture = as_picture(image)
        return brightened(picture, brightness(picture))

    return read


def _write(
    folder: Path, cfg: Config, args: argparse.Namespace, analysis: Analysis, fill: Callable
) -> Path:
    text = json.dumps(analysis.to_json(), ensure_ascii=False)
    (folder / FILE).write_text(text, encoding='utf-8', errors='backslashreplace')
    page = Page(folder, f'Mistakes of {Path(args.checkpoint).name}')
    _, data = next(datasets(cfg, LOADERS[2:]), ('', {}))
    where = data.get('ann_file') or data.get('data_root') or ''
    page.text(
        f'Config {args.config}, checkpoint {args.checkpoint}, {args.split} data: '
        f'{with_listed_names(str(where))}. The figures of all classes and images are in {FILE}. '
        'Dark images are drawn brighter.'
    )
    fill(page)
    return page.write()


def _predict_line(args: argparse.Namespace, analysis: Analysis, run: list[str]) -> list[str]:
    """How to predict, with the best threshold, if tools/predict.py would build the same model."""
    if args.toy or args.cfg_options or args.lenient:
        return []
    flags = []
    if isinstance(analysis, ObjectAnalysis):
        best = analysis.best()
        if not best:
            return []
        flags = ['--score', f'{math.floor(best["score"] * 1000) / 1000:g}']  # never above it
    out = Path(args.out).with_name('predictions')
    return [f'predict with it: {command("predict", *run, "IMAGES", *flags, "--out", out)}']
