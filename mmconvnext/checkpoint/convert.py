# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""From file to file: a backbone's names changed to another format's, alone or inside a model."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from .atomic import atomic_path
from .envelope import unwrap
from .errors import CheckpointMismatch
from .fit import OUTPUT_NORM
from .formats import choose, from_native, is_classifier, listed, split, to_native
from .read import read_checkpoint
from .tables import FORMATS, TIMM, TIMM_CONV, Format

TARGETS = ('native', 'meta', 'mmpretrain', 'timm', 'hf')
SUFFIXES = ('.pth', '.pt', '.bin', '.safetensors')
# timm/models/convnext.py: atto, femto, pico and nano have convolutions as pointwise layers.
TIMM_CONV_CHANNELS = (40, 48, 64, 80)


def convert(
    source: str | Path,
    destination: str | Path,
    to: str,
    *,
    backbone_only: bool = False,
    drop_optimizer: bool = False,
    publish: bool = False,
    drop_norms: bool = False,
    prefix: str | None = None,
    envelope: str | None = None,
) -> tuple[Path, list[str]]:
    """Write the weights of ``source`` under the names of another format.

    A backbone inside a detector or segmentor is renamed in place, the rest of the model stays. A
    classifier's head and norm are left out: only the network is converted.

    Args:
        source: anything that :func:`.read.read_checkpoint` reads.
        destination: .pth, .pt, .bin or .safetensors; must not exist. The folders are made.
        to: 'native' (this package's), 'meta', 'mmpretrain', 'timm' or 'hf'.
        backbone_only: leave the rest of the model out.
        drop_optimizer: leave out all that only a training needs.
        publish: the same, and the first 8 digits of the file's SHA-256 join its name.
        drop_norms: leave out the norms of the returned maps, for formats that have none.
        prefix: where the network lies, if the file holds several.
        envelope: the key to open where a file has several, such as 'ema_state_dict'.

    Returns:
        The path that was written, and lines that say what was done and left out.

    Raises:
        FileExistsError: the destination exists.
        CheckpointError: the source cannot be read or recognised, or the format has no name for a
            tensor.
    """
    destination = _check(destination, to)
    content = read_checkpoint(source)
    found = unwrap(content, envelope)
    row, prefix = choose(found.tensors, prefix)
    inside, outside = split(found.tensors, prefix)
    native = to_native(inside, row)
    if native.unknown:
        raise CheckpointMismatch(f'{source}: {listed(native.unknown)} are no names of {row.name}')
    norms = [name for name in native.tensors if OUTPUT_NORM.fullmatch(name)]
    if not drop_norms and not (native.final_norm and is_classifier(inside, outside, prefix)):
        norms = []  # they stay; mmpretrain's classifiers call their final norm norm3
    dropped = [*native.dropped, *norms]
    weights = {name: value for name, value in native.tensors.items() if name not in norms}
    target = _target(to, weights)
    tensors = _rename(weights, target)
    lines = [f'{len(tensors)} tensors, {row.name} -> {target.name} names']
    rest = {name: found.tensors[name] for name in outside if not row.is_other(name)}
    if rest and not backbone_only:
        dropped += [name for name in outside if name not in rest]
        slim = publish or drop_optimizer or destination.suffix == '.safetensors'
        output, left = _inside(content, found.path, {**rest, **_below(prefix, tensors)}, slim)
        dropped += left
    else:
        tensors = _below(target.prefix, tensors)
        output = {target.envelope: tensors} if target.envelope else tensors
        dropped += outside
    if dropped:
        lines.append(f'left out: {listed(dropped, 10)}')
    return _write(output, destination, publish), lines


def _check(destination: str | Path, to: str) -> Path:
    if to not in TARGETS:
        raise ValueError(f'to={to!r} is no format to write; choose one of {list(TARGETS)}')
    destination = Path(destination).expanduser()
    if destination.suffix not in SUFFIXES:
        raise ValueError(f'{destination} must end in one of {", ".join(SUFFIXES)}')
    if destination.exists():
        raise FileExistsError(f'{destination} exists and would be overwritten; choose another name')
    return destination


def _target(to: str, weights: Mapping[str, Tensor]) -> Format:
    channels = weights['downsample_layers.0.0.weight'].shape[0]
    target = FORMATS[to]
    return TIMM_CONV if target is TIMM and channels in TIMM_CONV_CHANNELS else target


def _rename(weights: Mapping[str, Tensor], target: Format) -> dict[str, Tensor]:
    try:
        return from_native(weights, target)
    except CheckpointMismatch as error:
        hint = '; drop_norms (--drop-norms) leaves them out' if 'norm0' in str(error) else ''
        raise CheckpointMismatch(f'{error}{hint}') from error


def _below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {prefix + name: value for name, value in tensors.items()}


def _inside(content: Mapping, path: str, tensors: dict, slim: bool) -> tuple[dict, list[str]]:
    """The source's checkpoint with other tensors in it, and the keys that were left out."""
    if not path:
        return tensors, []
    around = {key: value for key, value in content.items() if key != path.partition('.')[0]}
    kept = {key: value for key, value in around.items() if key == 'meta' or not slim}
    return {**kept, 'state_dict': tensors}, [key for key in around if key not in kept]


def _write(output: dict, destination: Path, publish: bool) -> Path:
    with atomic_path(destination) as path:
        if destination.suffix == '.safetensors':
            from safetensors.torch import save_file

            tensors = unwrap(output).tensors
            # Copies, because safetensors refuses tensors that share memory.
            save_file({k: v.clone().contiguous() for k, v in tensors.items()}, path)
        else:
            torch.save(output, path)
    if not publish:
        return destination
    digest = hashlib.sha256(destination.read_bytes()).hexdigest()
    named = destination.with_name(f'{destination.stem}-{digest[:8]}{destination.suffix}')
    destination.replace(named)
    return named
