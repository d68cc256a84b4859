# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Convert a backbone to another weight format, alone or inside a model."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from .atomic import atomic_path
from .checkpoint_key import unwrap
from .errors import CheckpointMismatch
from .final_norm import OUTPUT_NORM, settle_final_norm
from .format_spec import Format
from .formats import detect, find_network, format_to_write, from_native, listed, to_native
from .read import read_checkpoint
from .size import Size
from .tables import TARGETS

SUFFIXES = ('.pth', '.pt', '.bin', '.safetensors')


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
    """Convert the weights of ``source`` to another format.

    Inside a detector or segmentor only the backbone is renamed; the rest of the model stays. A
    classifier's head and norm are dropped.

    Args:
        source: anything that :func:`.read.read_checkpoint` reads.
        destination: .pth, .pt, .bin or .safetensors; must not exist. Missing folders are made.
        to: 'native' (this package's), 'meta', 'mmpretrain', 'timm' or 'hf'.
        backbone_only: drop the rest of the model.
        drop_optimizer: drop everything that only training needs.
        publish: the same, and append the first 8 digits of the file's SHA-256 to its name.
        drop_norms: drop the output norms, for formats that have none.
        prefix: the prefix of the network to convert, if the file holds several.
        envelope: the checkpoint key of the weights, such as 'ema_state_dict', if the file has
            several sets.

    Returns:
        The path of the new file, and lines that report what was converted and dropped.

    Raises:
        FileExistsError: the destination exists.
        CheckpointError: the source cannot be read or recognised, or the format has no name for a
            tensor.
        ValueError: an unknown format or file extension.
    """
    destination = _check(destination, to)
    content = read_checkpoint(source)
    found = unwrap(content, envelope)
    tensors, rest, lines = _convert(found.tensors, to, prefix, drop_norms)
    if rest and not backbone_only:
        if drop_norms:
            raise CheckpointMismatch(
                'drop_norms (--drop-norms) would leave the heads without the norms they were '
                'trained with; drop the heads too, with backbone_only (--backbone-only)'
            )
        slim = publish or drop_optimizer or destination.suffix == '.safetensors'
        output, left = _around(content, found.path, {**rest, **tensors.below(tensors.prefix)}, slim)
        if destination.suffix == '.safetensors':  # it holds nothing but tensors
            left = _other_keys(content, found.path)
        for key, value in output.items():
            if key != 'state_dict' and _is_network(value):  # EMAHook's second set of weights
                ema, ema_rest, _ = _convert(unwrap(value).tensors, to, None, drop_norms)
                output[key] = {**ema_rest, **ema.below(ema.prefix)}
    else:
        output, key = tensors.below(tensors.target.prefix), tensors.target.checkpoint_key
        output = {key: output} if key else output
        left = [*rest, *_other_keys(content, found.path)]
    if left:
        lines.append(f'left out: {listed(left, 10)}')
    return _write(output, destination, publish), lines


@dataclass(frozen=True)
class Converted:
    """A network under new names, and the prefix it had."""

    tensors: dict[str, Tensor]
    target: Format
    prefix: str

    def below(self, prefix: str) -> dict[str, Tensor]:
        return {prefix + name: value for name, value in self.tensors.items()}


def _convert(
    tensors: Mapping[str, Tensor], to: str, prefix: str | None, drop_norms: bool
) -> tuple[Converted, dict[str, Tensor], list[str]]:
    """The network under its new names, the rest of the model, and lines to report."""
    network = find_network(tensors, prefix)
    row = network.row
    native = to_native(network.inside, row)
    settled = settle_final_norm(native, network.has_head)
    weights = dict(settled.tensors)
    target = format_to_write(to, Size.of(weights).channels)
    if native.unknown and target.our_code and row.our_names:  # of an ablation
        weights.update({name: network.inside[name] for name in native.unknown})
    elif native.unknown:
        raise CheckpointMismatch(f'{listed(native.unknown)}: not names of the format {row.name}')
    if drop_norms:
        weights = {k: v for k, v in weights.items() if not OUTPUT_NORM.fullmatch(k)}
    try:
        renamed = from_native(weights, target)
    except CheckpointMismatch as error:
        norms = any(OUTPUT_NORM.fullmatch(name) for name in weights)
        hint = '; drop_norms (--drop-norms) drops the output norms' if norms else ''
        raise CheckpointMismatch(f'{error}{hint}') from error
    lines = [f'{len(renamed)} tensors, {row.name} -> {target.name} names']
    norms = [name for name in (*native.tensors, *native.unknown) if name not in weights]
    head = network.beside
    dropped = [*native.dropped, *norms, *head]
    if dropped:
        lines.append(f'dropped: {listed(dropped, 10)}')
    rest = {name: value for name, value in network.outside.items() if name not in head}
    return Converted(renamed, target, network.prefix), rest, lines


def _check(destination: str | Path, to: str) -> Path:
    if to not in TARGETS:
        raise ValueError(f'to={to!r} is not a target format; choose one of {list(TARGETS)}')
    destination = Path(destination).expanduser()
    if destination.suffix not in SUFFIXES:
        raise ValueError(f'{destination} must end in one of {", ".join(SUFFIXES)}')
    if destination.exists():
        raise FileExistsError(f'{destination} exists and would be overwritten; choose another name')
    return destination


def _around(content: Mapping, path: str, tensors: dict, slim: bool) -> tuple[dict, list[str]]:
    """The source's checkpoint with the new tensors, and the keys that were dropped."""
    if not path:
        return tensors, []
    if path != 'state_dict':  # such as an EMA: the optimizer state belongs to other weights
        slim = True
        tensors = {k.removeprefix('module.'): v for k, v in tensors.items() if k != 'steps'}
    others = _other_keys(content, path)
    kept = {key: content[key] for key in others if key == 'meta' or not slim}
    return {**kept, 'state_dict': tensors}, [key for key in others if key not in kept]


def _other_keys(content: object, path: str) -> list[str]:
    if not path or not isinstance(content, Mapping):
        return []
    return [key for key in content if key != path.partition('.')[0]]


def _is_network(value: object) -> bool:
    return isinstance(value, Mapping) and bool(
        detect({k: v for k, v in value.items() if isinstance(k, str)})
    )


def _write(output: dict, destination: Path, publish: bool) -> Path:
    with atomic_path(destination) as path:
        if destination.suffix == '.safetensors':
            from safetensors.torch import save_file

            tensors = unwrap(output).tensors
            # Copies, because safetensors refuses tensors that share memory.
            path.touch()
            mode = path.stat().st_mode  # set by the umask; safetensors would make the file private
            save_file({k: v.clone().contiguous() for k, v in tensors.items()}, path)
            path.chmod(mode)
        else:
            torch.save(output, path)
    if not publish:
        return destination
    digest = hashlib.sha256(destination.read_bytes()).hexdigest()
    named = destination.with_name(f'{destination.stem}-{digest[:8]}{destination.suffix}')
    destination.replace(named)
    return named
