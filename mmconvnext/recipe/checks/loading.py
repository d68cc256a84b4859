# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Do bits and channels of the images fit what loads and normalizes them, and the backbone?"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

from mmengine.config import Config

from ...data.images import ImageKind
from ...data.pixels import is_darkened, largest_value, loaded_channels, needs_own_loader
from ..own_data.loading import IMAGE_LOADERS
from ..walk import backbones, dicts, task, type_name
from .finding import Finding

TURNING = ('color', 'grayscale')  # color_type for which mmcv turns an image by its orientation
DEPTHS = (8, 10, 12, 14, 16)  # bits of usual cameras, to choose from; our choice
DARK = 2  # unused bits that are worth a warning: the values are a quarter of white; our choice
LARGEST = 255  # of 8 bits; means above belong to values of more bits
# mmdet's and mmseg's transforms that work on three channels only.
DISTORTIONS = ('PhotoMetricDistortion', 'YOLOXHSVRandomAug', 'ColorTransform')
OF_COLOURS = (*DISTORTIONS, 'Mosaic', 'MixUp')


def check_loading(
    cfg: Config, path: str, dataset: dict, kinds: list[ImageKind]
) -> Iterator[Finding]:
    """Check that a dataset's images suit its loader, the preprocessor and the backbone."""
    loader = image_loader(dataset)
    if loader is None or not kinds:
        return
    own = 'own_data' in cfg
    yield from _depth(path, loader, kinds, _means(cfg), own)
    yield from _distorted(cfg, path, loader, kinds)
    color_type = loader.get('color_type', 'color')
    counts: dict[int, ImageKind] = {}
    for kind in kinds:
        counts.setdefault(loaded_channels(kind, color_type), kind)
        if needs_own_loader(kind):
            # LoadImage reads arrays with any color_type.
            ours = type_name(loader) == 'LoadImage'
            if not (ours and (kind.format == 'NPY' or color_type == 'unchanged')):
                way = _way(own, f'channels={kind.channels}', "color_type='unchanged'")
                yield Finding(f'{path}: mmcv cannot load {kind}; {way}', 'image_channels')
            elif kind.format == 'TIFF' and not find_spec('tifffile'):
                yield Finding(
                    f'{path}: {kind}, need the package tifffile: pip install tifffile, or save '
                    'the images as arrays (H, W, C) in .npy files',
                    'image_channels',
                )
        elif kind.format == 'TIFF' and kind.mode == 'RGB' and kind.channels > 3:
            if color_type != 'unchanged':
                way = _way(own, f'channels={kind.channels}', "color_type='unchanged'")
                yield Finding(f'{path}: only three channels are loaded of {kind}; for all, {way}')
        elif color_type != 'unchanged' or type_name(loader) != 'LoadImage':
            if is_darkened(kind):
                way = _way(own, 'channels=4', "color_type='unchanged'")
                yield Finding(
                    f'{path}: cv2 multiplies the colours by the fourth channel of {kind}, which is '
                    f'marked as alpha; if it is none, such as near infrared, {way}'
                )
    if len(counts) > 1:
        shown = '; '.join(f'{n} channels: {kind}' for n, kind in sorted(counts.items()))
        yield Finding(
            f'{path}: the images have different numbers of channels when they are loaded '
            f"({shown}); convert them to one, or load three of each with color_type='color'",
            'image_channels',
        )
    for count, kind in counts.items():
        text = f'{kind.first} is loaded with {count} channel{"s" * (count > 1)}'
        yield from _channels(cfg, path, count, text)
        deep = type_name(loader) == 'LoadImage' and loader.get('bits', 8) > 8
        yield from _colours(cfg, path, count, text, deep)


def check_preprocessor(cfg: Config) -> Iterator[Finding]:
    """Check that mean and std of the preprocessor have a value for each channel."""
    for path, node in preprocessors(cfg):
        mean, std = node['mean'], node.get('std') or ()
        if len(mean) != len(std):
            yield Finding(
                f'{path} has {len(mean)} values in mean and {len(std)} in std; give one of each '
                'for every channel',
                'image_channels',
            )
        elif _is_mmdets(node) and len(mean) not in (1, 3):
            yield Finding(
                f"{path}: mmdet's {type_name(node)} takes 1 or 3 means, not {len(mean)}; set "
                f"{path}.type='mmconvnext.DetDataPreprocessor', which takes any number",
                'image_channels',
            )
        for where, backbone in backbones(cfg):
            channels = backbone.get('in_channels', 3)
            if len(mean) not in (1, channels):
                yield Finding(
                    f'{path} has {len(mean)} means, but {where}.in_channels={channels}; set both '
                    'to the number of channels of the images',
                    'image_channels',
                )


def image_loader(dataset: dict) -> dict | None:
    """The transform of a dataset's pipeline that loads the image; None if it is another one."""
    nodes = (node for _, node in dicts(dataset.get('pipeline')) if 'type' in node)
    return next((node for node in nodes if type_name(node) in IMAGE_LOADERS), None)


def turns_images(dataset: dict) -> bool:
    """Whether images are turned by their EXIF orientation when they are loaded."""
    return ((image_loader(dataset) or {}).get('color_type') or TURNING[0]) in TURNING


def _depth(
    path: str, loader: dict, kinds: list[ImageKind], means: list[float], own: bool
) -> Iterator[Finding]:
    """Bits: cv2 divides 16-bit values by 256 for 'color', and 32-bit ones it does not load."""
    given = loader.get('bits', 8) if type_name(loader) == 'LoadImage' else None
    unchanged = loader.get('color_type') == 'unchanged'
    for kind in kinds:
        if kind.bits <= 8 or (unchanged and max(means, default=0) > LARGEST):
            continue
        if not _is_scaled(kind, loader):
            text = f'{path}: {kind}, are 32-bit integers or floating-point numbers'
            if _as_stored(loader):
                yield Finding(f'{text}, which stay as they are: mean and std must be theirs')
            else:
                yield Finding(
                    f'{text}, which are not loaded as colours; save them with 8 or 16 bits, or '
                    + _way(own, f'channels={kind.channels}', "color_type='unchanged'")
                    + ' and mean and std of their values',
                    'image_bits',
                )
            continue
        largest = largest_value(kind)
        needed = next((bits for bits in DEPTHS if (largest or 2**15) < 2**bits), DEPTHS[-1])
        if given and largest is not None and largest < 2**given:
            if needed <= given - DARK:
                yield Finding(
                    f'{path}: {kind}, has values up to {largest}, of {2**given - 1} that '
                    f'bits={given} allows, so it is dark; if those of all images are as small, '
                    + _way(own, f'bits={needed}')
                )
            continue
        found = '' if largest is None else f', with values up to {largest} in the first file'
        what = (
            f'more than bits={given} allows'
            if given
            else 'which would be divided by 256'
            if not unchanged
            else 'but mean and std are those of 8 bits'
        )
        yield Finding(
            f'{path}: {kind}{found}, {what}; to scale them to those of 8 bits, '
            f'{_way(own, f"bits={needed}")}, the number of bits that the values of all images have',
            'image_bits',
        )


def _is_float(kind: ImageKind) -> bool:
    return kind.mode == 'F' or 'float' in kind.mode


def _as_stored(loader: dict) -> bool:
    """Whether all channels are loaded, with the values of the file."""
    return loader.get('color_type') == 'unchanged' or bool(loader.get('channels'))


def _is_scaled(kind: ImageKind, loader: dict) -> bool:
    """Whether values of over 8 bits can be brought to those of 8 bits; of 32, by LoadImage."""
    if kind.bits <= 16:
        return not _is_float(kind)
    ours = type_name(loader) == 'LoadImage' and _as_stored(loader)
    return ours and (kind.mode == 'I' or 'int' in kind.mode)


def _distorted(cfg: Config, path: str, loader: dict, kinds: list[ImageKind]) -> Iterator[Finding]:
    """Transforms of colours that would ruin values whose white is not 255."""
    names = dict.fromkeys(
        type_name(n) for _, n in dicts(cfg.get(path.split('.')[0])) if 'type' in n
    )
    found = [name for name in names if name in DISTORTIONS]
    ours = type_name(loader) == 'LoadImage'
    for kind in kinds if found else []:
        if kind.bits <= 8 or (ours and _is_scaled(kind, loader)):
            continue
        if not ours and loader.get('color_type') != 'unchanged':
            continue  # divided by 256, or refused
        largest = largest_value(kind)
        if largest is None or not LARGEST / 2**DARK < largest <= LARGEST:
            value = '' if largest is None else f' with values up to {largest:g} in the first file,'
            yield Finding(
                f'{path}: {kind},{value} keep their values, but {found[0]} takes {LARGEST} for '
                'white and would ruin them; remove it from the pipeline',
                'image_bits',
            )


def _channels(cfg: Config, path: str, count: int, text: str) -> Iterator[Finding]:
    """The channels of a loaded image, against the preprocessor, the backbone and transforms."""
    for where, node in preprocessors(cfg):
        means, kind = len(node['mean']), type_name(node)
        spreads = count == 1 and kind == 'SegDataPreProcessor'  # over as many as there are means
        converts = node.get('bgr_to_rgb') or node.get('rgb_to_bgr')
        if means not in (1, count) and not spreads:
            yield Finding(
                f'{path}: {text}, but {where} has {means} means; {_lines(cfg, where, count)}',
                'image_channels',
            )
        elif converts and count != 3 and _is_mmdets(node):
            yield Finding(
                f"{path}: {text}, but {where}.bgr_to_rgb=True of mmdet's {kind} keeps three; set "
                f"bgr_to_rgb=False, or type='mmconvnext.DetDataPreprocessor'",
                'image_channels',
            )
        elif converts and count > 3 and not _is_ours(node):
            yield Finding(
                f'{path}: {text}, whose order (BGR, then the others) {kind} leaves as it is; '
                f"{where}.type='mmconvnext.{kind}' makes it RGB, as pretrained weights expect"
            )
        count = means if spreads else count
    for where, backbone in backbones(cfg):
        channels = backbone.get('in_channels', 3)
        if channels != count:
            parts = [name for name, _ in preprocessors(cfg)] or ['model.data_preprocessor']
            yield Finding(
                f'{path}: {text}, but {where}.in_channels={channels}; '
                + _lines(cfg, parts[0], count),
                'image_channels',
            )


def _colours(cfg: Config, path: str, count: int, text: str, deep: bool) -> Iterator[Finding]:
    """Transforms of colours; mmseg's PhotoMetricDistortion needs values of 8 bits too."""
    loader = path.split('.')[0]
    steps = [node for _, node in dicts(cfg.get(loader)) if 'type' in node and not _is_ours(node)]
    for name in dict.fromkeys(map(type_name, steps)):
        ours = name == OF_COLOURS[0]
        way = f"set its type to 'mmconvnext.{name}'" if ours else 'remove it from the pipeline'
        if name in OF_COLOURS and count != 3:
            yield Finding(f'{path}: {text}, but {name} works on three; {way}', 'image_channels')
        elif ours and deep and task(cfg) == 'mmseg':
            yield Finding(f"{path}: mmseg's {name} works on 8 bits only; {way}", 'image_bits')


def _lines(cfg: Config, where: str, count: int) -> str:
    """The settings for this number of channels."""
    backbone = next((path for path, _ in backbones(cfg)), 'model.backbone')
    three = 'own_data.channels=3' if 'own_data' in cfg else "color_type='color'"
    return (
        f'set {backbone}.in_channels={count}, and {where}.mean and std to {count} values, or load '
        f'three channels ({three})'
    )


def _way(own: bool, option: str, settings: str = '') -> str:
    """How to let LoadImage load the images, with own_data and without."""
    if own:
        return f'set own_data.{option}'
    settings = settings or option
    return (
        f"load them with dict(type='mmconvnext.LoadImage', {settings}) instead of "
        'LoadImageFromFile in all pipelines'
    )


def preprocessors(cfg: Config) -> list[tuple[str, dict]]:
    """Those that normalize, with paths."""
    return [
        (path, node)
        for path, node in dicts(cfg.get('model'), 'model')
        if node.get('mean') is not None and type_name(node).lower().endswith('preprocessor')
    ]


def _means(cfg: Config) -> list[float]:
    return [value for _, node in preprocessors(cfg) for value in node['mean']]


def _is_ours(node: dict) -> bool:
    return str(dict.get(node, 'type')).startswith('mmconvnext.')


def _is_mmdets(node: dict) -> bool:
    return type_name(node) in ('DetDataPreprocessor', 'ImgDataPreprocessor') and not _is_ours(node)
