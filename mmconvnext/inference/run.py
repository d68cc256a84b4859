# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Predicts many images and videos into a folder; continues where it stopped."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack, suppress

import numpy as np
import torch

from ..checkpoint.atomic import atomic_path
from ..recipe.errors import RecipeError
from .coco import annotations
from .model import Model
from .outputs import PICTURES, Outputs
from .progress import Progress
from .records import Records
from .result import Result
from .sources import Source
from .video import Camera, Video, VideoWriter

SMALL = 4  # an image that is shrunk more than so many times gets a note about tiles; our choice


class Run:
    """The work on a folder of predictions.

    Args:
        keys: by path of a source, the name of its outputs.
        objects: keep objects in the records, for COCO files.
    """

    def __init__(
        self,
        model: Model,
        records: Records,
        outputs: Outputs,
        keys: dict[str, str],
        *,
        batch: int,
        objects: bool,
    ) -> None:
        self.model, self.records, self.outputs, self.keys = model, records, outputs, keys
        self.batch, self.objects = batch, objects
        self.noted = False

    def images(self, sources: Sequence[Source]) -> Progress:
        """Predict images; a bad one is noted, and the others go on."""
        left = [one for one in sources if not self.records.is_done(one.path, one.stamp)]
        progress = Progress('images', len(sources), len(sources) - len(left))
        attempts = self.model.attempts([source.path for source in left], self.batch)
        for source, (_, result, shrunk) in zip(left, attempts):
            record = dict(source=source.path, stamp=source.stamp, name=source.name)
            if isinstance(result, Exception):
                record['error'] = reason(result, source.path)
            else:
                self._note_small(progress, source, result, shrunk)
                self.outputs.write(result, self.keys[source.path])
                record.update(self._of(result), key=self.keys[source.path])
            self.records.add(record)
            progress.step(bad='error' in record)
        progress.end()
        return progress

    def video(self, source: Source) -> Progress:
        """Predict the frames of a video or a camera, which is stopped with Ctrl-C."""
        record = dict(source=source.path, stamp=source.stamp, name=source.name)
        key = self.keys[source.path]
        self.records.add(dict(source=source.path, begin=True))
        progress = Progress('frames', None)
        try:
            video = Camera(int(source.path)) if source.kind == 'camera' else Video(source.path)
            progress.total = video.frames
            counts = self._frames(video, source, key, progress)
            record.update(key=key, frames=progress.done, counts=counts)
        except ValueError as error:
            if isinstance(error, RecipeError):
                raise
            record['error'] = reason(error, source.path)
        progress.end()
        self.records.add(record)
        return progress

    def _frames(
        self, video: Video | Camera, source: Source, key: str, progress: Progress
    ) -> dict[str, int]:
        counts: Counter[str] = Counter()
        others = self.outputs.without_pictures()
        with ExitStack() as stack:
            stack.callback(video.close)
            writer = None
            if self.outputs.pictures:
                file = self.records.folder / PICTURES / f'{key}.mp4'
                writer = VideoWriter(stack.enter_context(atomic_path(file)), video.rate)
                stack.callback(writer.close)
            with suppress(*[KeyboardInterrupt] * (source.kind == 'camera')):
                for _, result, _ in self.model.attempts(video, self.batch):
                    if isinstance(result, Exception):
                        raise result
                    counts.update(result.counts)
                    if writer:
                        # Each frame by another factor would flicker.
                        drawn = result.draw(
                            least=0, legend=False, outline=self.outputs.outline, brighten=False
                        )
                        writer.add(np.asarray(drawn))
                    progress.step()
                    others.write(result, f'{key}/{progress.done:06}')
                    if self.objects:
                        name = f'{source.name}/{progress.done:06}.jpg'
                        frame = dict(source=source.path, frame=progress.done, name=name)
                        self.records.add({**frame, **self._of(result)})
            if not progress.done:
                raise ValueError(f'{source.path}: it has no frames')
        return dict(counts)

    def _of(self, result: Result) -> dict:
        found = dict(size=[result.width, result.height], counts=result.counts)
        if self.objects:
            found['objects'] = annotations(result._found, result.height, result.width)
        return found

    def _note_small(
        self, progress: Progress, source: Source, result: Result, shrunk: float
    ) -> None:
        if shrunk > SMALL and not self.noted:
            self.noted = True
            progress.note(
                f'note: the model sees {source.name} ({result.width} x {result.height}) '
                f'{shrunk:.1f} times smaller, so small objects are lost; --tiles auto looks at '
                'parts of such images'
            )


def reason(error: Exception, path: str) -> str:
    """The first line of an error, without the path, which stands beside it."""
    text = (str(error).strip() or type(error).__name__).splitlines()[0]
    if 'out of memory' in text.lower():
        text = 'out of memory: try --batch 1, --tiles auto or --device cpu'
    return text.removeprefix(f'failed to load image: {path}: ').removeprefix(f'{path}: ')


def weights_digest(model: Model) -> str:
    """A short hash of the weights."""
    found = hashlib.sha256()
    for name, value in model.net.state_dict().items():
        found.update(name.encode())
        found.update(value.detach().cpu().reshape(-1).view(torch.uint8).numpy())
    return found.hexdigest()[:12]
