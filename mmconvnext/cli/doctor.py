# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""What ``tools/doctor.py`` finds: versions, operators, kernels, GPU, and what mends each fault.

Imports the standard library alone, because anything else may be what is broken: other packages are
imported by programs of their own, so that a crash there is a finding too.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import distributions
from pathlib import Path
from typing import NamedTuple

OK, NOTE, WRONG = 'ok', 'note', 'wrong'
PATIENCE = 300  # seconds for a program; our choice
SHARED_MEMORY = 1.0  # GiB of /dev/shm below which workers of a DataLoader may die; our choice
SETS = {  # the first is the client's, the default; requirements/*.txt pin them
    'openmmlab': ('mmengine', 'mmcv', 'mmdet', 'mmsegmentation'),
    'onedl': ('onedl-mmengine', 'onedl-mmcv', 'onedl-mmdetection', 'onedl-mmsegmentation'),
}
SHOWN = ('torch', 'torchvision', 'numpy', 'opencv-python', 'pycocotools', 'setuptools', 'triton')
OPENCV = ('opencv-python', 'opencv-python-headless', 'opencv-contrib-python')
FEATURES = ('avx2', 'fma', 'avx512f', 'avx512_bf16', 'amx_bf16')  # of Intel's and AMD's processors
BUILD = 'pip install "setuptools<81" wheel ninja psutil && '
COMPILE = BUILD + '{}pip install --no-build-isolation --no-cache-dir --force-reinstall --no-deps {}'

TORCH = """
import json, torch
gpus = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
print(json.dumps(dict(
    version=torch.__version__, cuda=torch.version.cuda, usable=torch.cuda.is_available(),
    built_for=torch.cuda.get_arch_list(), threads=torch.get_num_threads(),
    gpus=[[gpu.name, gpu.major, gpu.minor, round(gpu.total_memory / 2**30)] for gpu in gpus],
)))
"""
IMPORTS = """
import json, sys
from importlib import import_module
errors = {}
for name in sys.argv[1:]:
    try:
        import_module(name)
    except BaseException as error:
        errors[name] = f'{type(error).__name__}: {error}'
print(json.dumps(errors))
"""
# Of the boxes the second overlaps the first. The map holds its x coordinate, of which RoIAlign
# takes the mean in the middle of each bin: 0 and 1, then 2 and 3.
OPERATORS = """
import json, torch
from mmcv.ops import nms, roi_align
results = {}
for device in ['cpu', 'cuda'][: 1 + torch.cuda.is_available()]:
    try:
        boxes = torch.tensor([[0., 0, 10, 10], [1, 1, 11, 11], [20, 20, 30, 30]], device=device)
        kept = nms(boxes, torch.tensor([0.9, 0.8, 0.7], device=device), 0.5)[1].tolist()
        ramp = torch.arange(8., device=device).expand(1, 1, 8, 8).contiguous()
        rois = torch.tensor([[0., 0, 0, 4, 4]], device=device)
        bins = roi_align(ramp, rois, (2, 2), 1.0, 2, 'avg', True).flatten().tolist()
        right = kept == [0, 2] and bins == [0.5, 2.5, 0.5, 2.5]
        results[device] = '' if right else f'nms kept {kept}, RoIAlign gave {bins}'
    except Exception as error:
        results[device] = str(error)
print(json.dumps(results))
"""
KERNELS = """
import json, torch
from mmconvnext import ConvNeXt
from mmconvnext.kernels.ops import capability
made, why = capability()
difference = 0.0
if made:
    torch.manual_seed(0)
    plain = ConvNeXt('atto', kernels='plain', drop_path_rate=0.0, out_indices=3)
    fast = ConvNeXt('atto', kernels='fast', drop_path_rate=0.0, out_indices=3)
    fast.load_state_dict(plain.state_dict())
    maps = [model(torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1)))[0]
            for model in (plain, fast)]
    for one in maps:
        one.square().mean().backward()
    pairs = [maps, *((p.grad, f.grad) for p, f in zip(plain.parameters(), fast.parameters()))]
    difference = max(float((p - f).abs().max() / (p.abs().max() + 1e-12)) for p, f in pairs)
print(json.dumps(dict(made=made, why=why, difference=difference)))
"""
ROUNDING = 1e-3  # largest difference between the two, of the largest value; our choice


class Finding(NamedTuple):
    """What was looked at, whether it is right, and the command or the step that mends it."""

    state: str
    text: str
    mend: str = ''


def examine() -> tuple[dict, list[Finding]]:
    """Facts about the machine and its packages, and what is right and wrong with them."""
    versions = installed()
    modules = ('mmengine', 'mmcv', 'mmdet', 'mmseg', 'mmdet.apis', 'mmseg.apis', 'pycocotools.mask')
    jobs = [(TORCH,), (IMPORTS, *modules), (OPERATORS,), (KERNELS,)]
    with ThreadPoolExecutor(2) as pool:
        torch, imports, operators, kernels = pool.map(lambda job: ask(*job), jobs)
    facts = dict(
        mmconvnext=(Path(__file__).parents[1] / 'version.py').read_text().split("'")[1],
        python=platform.python_version(),
        executable=sys.executable,
        system=platform.platform(),
        processor=processor(),
        set=', '.join(name for name in SETS if sets_in(versions)[name]) or 'none',
        versions={n: versions[n] for n in (*SHOWN, *sum(SETS.values(), ())) if n in versions},
        torch=torch,
    )
    findings = [
        *of_versions(versions, facts['python']),
        *of_torch(torch, bool(shutil.which('nvidia-smi'))),
        *(() if 'error' in torch else of_imports(imports)),
        *(() if {'error', 'mmcv'} & {*torch, *imports} else of_operators(operators, versions)),
        *(() if {'error', 'mmengine'} & {*torch, *imports} else of_kernels(kernels)),
        *of_shared_memory(Path('/dev/shm')),
    ]
    return facts, findings


def ask(program: str, *arguments: str) -> dict:
    """What a program prints as JSON; its error under the key 'error'."""
    command = [sys.executable, '-W', 'ignore', '-c', program, *arguments]
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
        return json.loads(run.stdout.splitlines()[-1])
    except subprocess.TimeoutExpired:
        return dict(error=f'no answer in {PATIENCE} seconds')
    except (ValueError, IndexError):
        lines = run.stderr.strip().splitlines() or [f'it ended with status {run.returncode}']
        return dict(error=lines[-1])


def installed() -> dict[str, str]:
    """Versions of all distributions, by their names in lower case with dashes."""
    found = {}
    for one in distributions():
        found.setdefault(re.sub(r'[-_.]+', '-', one.metadata['Name'] or '').lower(), one.version)
    return found


def sets_in(versions: dict[str, str]) -> dict[str, list[str]]:
    return {name: [one for one in members if one in versions] for name, members in SETS.items()}


def number(version: str | None) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r'\d+', (version or '0').partition('+')[0])[:3]))


def processor() -> dict:
    """Its name, cores and features; the system's answers may be empty."""
    file = Path('/proc/cpuinfo')
    lines = file.read_text().splitlines() if file.is_file() else []
    rows = dict(line.split(':', 1) for line in reversed(lines) if ':' in line)
    rows = {key.strip(): value.strip() for key, value in rows.items()}
    flags = rows.get('flags', '').split()
    name = rows.get('model name') or platform.processor() or platform.machine()
    return dict(name=name, cores=os.cpu_count(), features=[f for f in FEATURES if f in flags])


def of_versions(versions: dict[str, str], python: str) -> Iterator[Finding]:
    """Combinations that are known to fail."""
    sets = sets_in(versions)
    torch, numpy, mmengine = (number(versions.get(n)) for n in ('torch', 'numpy', 'mmengine'))
    if not (3, 10) <= number(python)[:2] <= (3, 12):
        yield Finding(WRONG, f'Python {python}; mmcv builds on 3.10 to 3.12', 'take one of these')
    if sets['openmmlab'] and sets['onedl']:
        both = ', '.join(sets['openmmlab'] + sets['onedl'])
        yield Finding(
            WRONG,
            f'both sets are installed, with the same modules: {both}',
            f'pip uninstall {both.replace(",", "")}, then install one set again: make setup',
        )
    elif not sets['openmmlab'] and not sets['onedl']:
        yield Finding(WRONG, 'neither openmmlab nor onedl is installed', 'make setup')
    if 'mmcv-lite' in versions:
        mend = 'pip uninstall mmcv-lite mmcv && ' + COMPILE.format('', 'mmcv==2.1.0')
        yield Finding(WRONG, 'mmcv-lite has no compiled operators', mend)
    if number(versions.get('mmcv')) >= (2, 2) and {'mmdet', 'mmsegmentation'} & versions.keys():
        mend = COMPILE.format('', 'mmcv==2.1.0')
        yield Finding(WRONG, f'mmcv {versions["mmcv"]}: mmdet and mmseg refuse 2.2 and later', mend)
    if 'mmengine' in versions:
        if number(versions.get('setuptools', '99')) >= (81,):
            what = f'setuptools {versions.get("setuptools", "is missing")}'
            text = f'{what}, but mmengine imports pkg_resources, which left it with 81'
            yield Finding(WRONG, text, 'pip install "setuptools<81"')
        if torch >= (2, 5) and mmengine < (0, 10, 6):
            text = f'mmengine {versions["mmengine"]} registers Adafactor, which torch has since 2.5'
            yield Finding(WRONG, text, 'pip install mmengine==0.10.7')
    if 'torch' in versions and torch < (2, 1):
        yield Finding(WRONG, f'torch {versions["torch"]}; 2.1 is the oldest', 'install a newer one')
    missing = [name for name in ('ftfy', 'regex') if name not in versions]
    if 'mmsegmentation' in versions and missing:
        text = f'mmsegmentation needs {" and ".join(missing)}, which it does not declare'
        yield Finding(WRONG, text, f'pip install {" ".join(missing)}')
    if numpy >= (2,) and number(versions.get('pycocotools', '9')) < (2, 0, 8):
        text = f'pycocotools {versions["pycocotools"]} was built for numpy 1'
        yield Finding(WRONG, text, 'pip install "pycocotools>=2.0.8"')
    several = [name for name in OPENCV if name in versions]
    if len(several) > 1:
        mend = f'pip uninstall {" ".join(several)} && pip install {several[0]}'
        yield Finding(NOTE, f'{", ".join(several)} overwrite each other', mend)


def of_torch(facts: dict, has_nvidia: bool) -> Iterator[Finding]:
    if 'error' in facts:
        yield Finding(WRONG, f'torch does not import: {facts["error"]}', 'install torch again')
        return
    yield Finding(OK, f'torch {facts["version"]}, threads: {facts["threads"]}')
    if facts['cuda'] and not facts['usable']:
        text = f'torch is built for CUDA {facts["cuda"]}, but sees no GPU'
        yield Finding(NOTE, text, 'nvidia-smi shows the driver; CUDA_VISIBLE_DEVICES may hide GPUs')
    elif has_nvidia and not facts['cuda']:
        text = 'nvidia-smi is here, but torch is a build for CPUs'
        mend = 'install torch for CUDA (pytorch.org/get-started), then make setup compiles mmcv'
        yield Finding(NOTE, text, mend)
    for name, major, minor, memory in facts['gpus']:
        text = f'{name}, {memory} GiB, compute capability {major}.{minor}'
        built = [int(re.sub(r'\D', '', one)) for one in facts['built_for'] if '_' in one]
        runs = any(one // 10 == major and one % 10 <= minor for one in built)
        runs = runs or any(o.startswith('compute_') for o in facts['built_for'])
        mend = '' if runs else 'install a torch that is built for this GPU'
        known = ', '.join(facts['built_for'])
        yield Finding(*((OK, text) if runs else (WRONG, f'{text}; torch has {known}', mend)))


def of_imports(errors: dict) -> Iterator[Finding]:
    if not errors:
        yield Finding(OK, 'mmengine, mmcv, mmdet, mmseg and pycocotools import')
    for error in dict.fromkeys(errors.values()):  # mmdet fails if mmcv does, with its words
        names = ', '.join(name for name in errors if errors[name] == error)
        mend = 'pip install "setuptools<81"' if 'pkg_resources' in error else 'make setup'
        yield Finding(WRONG, f'import of {names}: {error}', mend)


def of_operators(results: dict, versions: dict[str, str]) -> Iterator[Finding]:
    name = 'onedl-mmcv' if 'onedl-mmcv' in versions else 'mmcv'
    for device, error in results.items():
        if not error:
            yield Finding(OK, f"mmcv's operators compute right on {device} (nms, roi_align)")
            continue
        force = 'FORCE_CUDA=1 ' * (device == 'cuda')
        where = '' if device == 'error' else f' on {device}'
        mend = COMPILE.format(force, f'{name}=={versions.get(name, "2.1.0")}')
        yield Finding(WRONG, f"mmcv's operators do not work{where}: {error}", mend)


def of_kernels(facts: dict) -> Iterator[Finding]:
    again = 'pip install --no-build-isolation --no-deps -e . (-v shows why)'
    if 'error' in facts:
        yield Finding(WRONG, f'the backbone does not run: {facts["error"]}', again)
    elif not facts['made']:
        yield Finding(NOTE, f'no CPU kernels, plain PyTorch runs: {facts["why"]}', again)
    elif not facts['difference'] < ROUNDING:
        text = f'CPU kernels ({facts["made"]}) differ from PyTorch by {facts["difference"]:.1e}'
        yield Finding(WRONG, text, "set kernels='plain' and report this; " + again)
    else:
        text = f'CPU kernels ({facts["made"]}) agree with PyTorch to {facts["difference"]:.1e}'
        yield Finding(OK, text)


def of_shared_memory(folder: Path) -> Iterator[Finding]:
    if folder.is_dir() and (size := shutil.disk_usage(folder).total / 2**30) < SHARED_MEMORY:
        text = f'{folder} has {size:.2f} GiB; workers of a DataLoader may die ("bus error")'
        yield Finding(NOTE, text, 'docker run --shm-size=8g, or num_workers=0')


def report(facts: dict, findings: list[Finding]) -> Iterator[str]:
    """The facts, one line for each finding with what mends it below, and a verdict."""
    cpu, gpus = facts['processor'], facts['torch'].get('gpus') or []
    yield f'mmconvnext {facts["mmconvnext"]}, {facts["system"]}'
    yield f'Python {facts["python"]}, {facts["executable"]}'
    yield f'processor: {cpu["name"]}, {cpu["cores"]} cores, {" ".join(cpu["features"]) or "no AVX"}'
    yield f'GPUs: {len(gpus)}, CUDA of torch: {facts["torch"].get("cuda") or "none"}'
    yield f'packages ({facts["set"]}): ' + ', '.join(map(' '.join, facts['versions'].items()))
    for finding in findings:
        yield f'{finding.state:5} {finding.text}'
        yield from [f'      mend: {finding.mend}'] * bool(finding.mend)
    yield verdict(findings)


def verdict(findings: list[Finding]) -> str:
    """All in one line."""
    wrong = [finding.text.partition(': ')[0] for finding in findings if finding.state == WRONG]
    notes = sum(finding.state == NOTE for finding in findings)
    said = f'{len(wrong)} problem{"s" * (len(wrong) > 1)}' if wrong else 'All checks passed'
    said += f', {notes} note{"s" * (notes > 1)}' * bool(notes)
    return f'{said}: {"; ".join(wrong)}' if wrong else said
