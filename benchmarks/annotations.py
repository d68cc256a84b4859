# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Time and memory of looking at annotations: python benchmarks/annotations.py [--objects 1000000]

Writes a COCO file with eight objects an image and 80 classes, and an image file for each entry
(hard links to one JPEG file). Then a process of its own does what tools/train.py does before it
builds the runner, prepare_config, for a sound file and for one without "area" and "iscrowd" and
with ids from 0 on, which is written anew; each twice, because the second start finds what the
first one kept. Files and cache lie in a temporary folder.
"""

import argparse
import json
import math
import multiprocessing
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
PER_IMAGE, CLASSES, WIDTH, HEIGHT = 8, 80, 640, 480
LINKS = 30_000  # to one file; ext4 takes at most 65,000
CONFIG = f"""_base_ = {str(ROOT / 'configs/_base_/mask-rcnn_convnext-atto_cpu.py')!r}
split = dict(images='images', annotations=FILE)
own_data = dict(
    root=ROOT, classes=[f'class {{i}}' for i in range({CLASSES})], train=split, val=split)
__import__('mmconvnext').use_own_data(locals())
"""
START = """
import logging, resource, sys, time
start = time.perf_counter()
from mmengine.logging import MMLogger
MMLogger.get_instance('mmengine', log_level='ERROR')
from mmconvnext.recipe.prepare import prepare_config
imported = time.perf_counter()
prepare_config(sys.argv[1], work_dir=sys.argv[2])
used = resource.getrusage(resource.RUSAGE_SELF)
print(time.perf_counter() - start, imported - start, used.ru_utime + used.ru_stime, used.ru_maxrss)
"""


def write_data(root: Path, objects: int) -> None:
    """Write images, and the files sound.json and mended.json."""
    rng = random.Random(0)
    images = [
        dict(id=i + 1, file_name=f'{i:012}.jpg', width=WIDTH, height=HEIGHT)
        for i in range(math.ceil(objects / PER_IMAGE))
    ]
    (root / 'images').mkdir()
    Image.effect_noise((WIDTH, HEIGHT), 50).convert('RGB').save(root / 'one.jpg')
    picture = (root / 'one.jpg').read_bytes()
    for number, image in enumerate(images):
        file = root / 'images' / image['file_name']
        linked = root / 'images' / images[number - number % LINKS]['file_name']
        if file == linked:
            file.write_bytes(picture)
        else:
            os.link(linked, file)
    annotations = []
    for i in range(objects):
        x, y = rng.uniform(0, 500), rng.uniform(0, 360)
        w, h = rng.uniform(5, 130), rng.uniform(5, 110)
        corners = rng.choice([8, 12, 16, 20, 30])
        polygon = []
        for turn in (2 * math.pi * corner / corners for corner in range(corners)):
            polygon += [x + w * (1 + math.cos(turn)) / 2, y + h * (1 + math.sin(turn)) / 2]
        annotations.append(
            dict(
                id=i + 1,
                image_id=i // PER_IMAGE + 1,
                category_id=i % CLASSES + 1,
                segmentation=[[round(value, 2) for value in polygon]],
                area=round(w * h * 0.785, 2),
                bbox=[round(value, 2) for value in (x, y, w, h)],
                iscrowd=0,
            )
        )
    categories = [dict(id=i + 1, name=f'class {i}') for i in range(CLASSES)]
    content = dict(images=images, annotations=annotations, categories=categories)
    (root / 'sound.json').write_text(json.dumps(content))
    for number, annotation in enumerate(annotations):
        annotation['id'] = number
        del annotation['area'], annotation['iscrowd']
    (root / 'mended.json').write_text(json.dumps(content))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--objects', type=int, default=1_000_000)
    objects = parser.parse_args().objects
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        # A process of its own, because the peak of memory is inherited.
        writer = multiprocessing.get_context('spawn').Process(
            target=write_data, args=(root, objects)
        )
        writer.start()
        writer.join()
        if writer.exitcode:
            raise SystemExit('the data could not be written')
        print(f'{objects} objects on {math.ceil(objects / PER_IMAGE)} images')
        print('| file | MB | start | seconds | of these, imports | processor | peak memory, GB |')
        print('|---|---|---|---|---|---|---|')
        for name in ('sound', 'mended'):
            file = root / f'{name}.json'
            config = root / f'{name}.py'
            config.write_text(CONFIG.replace('FILE', repr(file.name)).replace('ROOT', repr(folder)))
            environment = {**os.environ, 'XDG_CACHE_HOME': str(root / f'cache of {name}')}
            environment['PYTHONPATH'] = str(ROOT)
            for start in ('first', 'second'):
                command = [sys.executable, '-c', START, str(config), str(root / 'work')]
                run = subprocess.run(
                    command, env=environment, check=True, capture_output=True, text=True
                )
                seconds, imports, processor, peak = map(float, run.stdout.splitlines()[-1].split())
                print(
                    f'| {name} | {file.stat().st_size / 1e6:.0f} | {start} | {seconds:.1f} | '
                    f'{imports:.1f} | {processor:.1f} | {peak * 1024 / 1e9:.2f} |'
                )


if __name__ == '__main__':
    main()
