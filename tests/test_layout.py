# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Check the house rules of CONTRIBUTING.md: import arrows, sizes, file heads, mirrors, text.

Each rule is a function that returns what breaks it, so that it can be tested on bad examples too.
"""

import ast
import re
import sys
from pathlib import Path

import fixtures
import pytest

ROOT = Path(__file__).resolve().parents[1]
HEAD = '# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0'
FOLDERS = ('.ci', 'benchmarks', 'configs', 'docs', 'examples', 'mmconvnext', 'requirements')
FOLDERS += ('tests', 'tools')
TEXT = {'.cff', '.in', '.json', '.md', '.py', '.sh', '.toml', '.txt', '.yaml', '.yml', ''}

# What each module may import besides the standard library; a leading dot is mmconvnext, and a name
# covers what is below it. The longest row that matches a module counts; '' is mmconvnext itself.
MAY_IMPORT = {
    '': '.version .checkpoint.safe_globals mmengine',
    '.version': '',
    '.arch': '',
    '.registry': 'mmengine',
    '.checkpoint': '.checkpoint mmengine numpy torch',
    '.checkpoint.zoo': '',
    '.checkpoint.errors': '',
    '.checkpoint.atomic': '',
    '.checkpoint.format_spec': '',
    '.checkpoint.tables': '.checkpoint.format_spec',
    '.checkpoint.strictness': '',
    '.checkpoint.final_norm': '.checkpoint.formats',
    '.checkpoint.layouts': 'torch',
    '.checkpoint.formats': '.checkpoint torch',
    '.checkpoint.stem': 'torch',
    '.checkpoint.structure': 'torch',
    '.checkpoint.size': '.checkpoint.structure torch',
    '.checkpoint.match': '.checkpoint torch',
    '.checkpoint.backbone': '.checkpoint .arch mmengine torch',
    '.checkpoint.lookup': '.checkpoint',
    '.checkpoint.read': '.checkpoint safetensors torch',
    '.checkpoint.whole': '.checkpoint',
    '.checkpoint.convert': '.checkpoint safetensors torch',
    '.checkpoint.load': '.checkpoint mmengine torch',
    '.models': '.models .arch',
    '.models.arch': '.arch',
    '.models.design': '',
    '.models.layer_depth': '',
    '.models.arguments': '',
    '.models.spellings': '.models.spellings .arch .models.design .checkpoint.zoo',
    '.models.images': 'torch',
    '.models.initialize': 'torch',
    '.models.layers': '.models.design torch',
    '.models.ablation': '.models.layers torch',
    '.models.fast_path': '.kernels torch',
    '.models.fusion': '.models.layers .models.fast_path .kernels torch',
    '.models.block': '.models.ablation .models.design .models.fast_path .models.fusion'
    ' .models.layers .kernels torch',
    '.models.stages': '.models.block .models.design .models.layers .arch torch',
    '.models.convnext': '.models .arch .checkpoint .kernels .registry mmengine torch',
    '.kernels': '.kernels mmengine torch',
    '.kernels.triton': '.kernels.triton torch triton',
    '.kernels.reference': 'torch',
    '.optim': '.optim .registry mmengine torch',
    '.toy': '.toy numpy PIL',
    '.data.values': '',
    '.data.ledger': '',
    '.data.listing': '',
    '.data.formats': '',
    '.data.split': '',
    '.data.texts': '',
    '.data.archives': '.data.cache',
    '.data.exports': '.data cv2 numpy PIL pycocotools yaml',
    '.data.exports.xml_file': '.data.exports.folder defusedxml',
    '.recipe': '.recipe .data .toy .arch .checkpoint.atomic mmengine numpy PIL torch',
    '.recipe.config_faults': 'yaml',
    '.recipe.quiet': '',
    '.recipe.data_config': '.recipe mmengine yaml',
    '.recipe.load': '.recipe mmengine yaml',
    '.recipe.label_maps': '.recipe .data .registry mmengine',
    '.recipe.load_label_map': '.data .registry mmcv mmengine numpy',
    '.recipe.prepare': '.recipe .checkpoint.lookup mmengine',
    '.recipe.resume_from': '.recipe .checkpoint',
    '.recipe.families': '.recipe.families .recipe.walk .recipe.errors mmengine torch',
    '.project': '.project .arch .checkpoint.zoo .data .recipe.errors numpy',
    '.draw': '.draw cv2 matplotlib numpy PIL supervision',
    '.analysis': '',
    '.analysis.dataset': '.analysis.dataset .data .draw .recipe .checkpoint.atomic cv2 matplotlib'
    ' mmengine numpy pycocotools torch',
    '.analysis.results': '.analysis.results .draw mmengine numpy pycocotools',
    '.data': '.data .checkpoint.atomic cv2 mmengine numpy PIL pycocotools',
    '.models.preprocessor': '.registry mmdet mmseg torch',
    '.recipe.image_folder': '.data.listing .registry mmengine',
    '.recipe.wandb_backend': '.registry mmengine',
    '.recipe.photo_metric_distortion': '.registry cv2 mmcv numpy',
    '.recipe.load_image': '.data.undecoded .registry cv2 mmcv mmengine numpy PIL tifffile',
    '.migrate': '.migrate .arch .models.convnext .models.layer_depth .models.spellings'
    ' .checkpoint.zoo .recipe mmengine torch',
    '.migrate.proof': '.migrate .arch .models.convnext mmengine mmpretrain torch',
    '.analysis.runs': '.analysis.runs .checkpoint.atomic .draw .recipe.errors .recipe.walk'
    ' matplotlib mmengine numpy PIL torch',
    '.analysis.flops': '.recipe.errors .recipe.walk mmengine torch',
    '.analysis.feature_maps': '.draw .inference .recipe.errors matplotlib mmengine numpy torch',
    '.distributed': '.distributed .checkpoint.errors .recipe .registry mmengine torch',
    '.distributed.memory': '.arch',
    '.distributed.shards': 'torch',
    '.distributed.launch': 'torch',  # tools/_launch.py loads it by its path
    '.distributed.sync_batch_norm': 'torch',
    '.faults': '.faults .checkpoint .data .distributed.shards .recipe .registry .resume mmengine'
    ' numpy torch',
    '.hooks': '.hooks .checkpoint .recipe mmengine torch',
    '.inference': '.inference .checkpoint .data.header .data.listing .data.pairs .data.undecoded'
    ' .draw .hooks .recipe av cv2 mmengine numpy PIL pycocotools torch',
    '.resume': '.resume .checkpoint .distributed.process .distributed.sharded .distributed.shards'
    ' .distributed.together .recipe mmengine numpy torch',
    '.cli': '.cli .analysis .checkpoint .data .distributed .draw .faults .hooks .inference'
    ' .migrate .recipe .resume .toy .version matplotlib mmcv mmdet mmengine mmseg numpy PIL torch'
    ' wandb',
    '.cli.prepare_data': '.cli .data .recipe.errors',
    '.cli.new_project': '.cli .checkpoint .project .recipe torch',
    '.cli.doctor': '',  # what it looks at may be broken
    '.cli.options': '.cli.options',  # no other of ours: tools/_start.py loads them by their path
}

# Machine paths and package indices, which work on one machine only. Spelt so that this file passes.
FORBIDDEN = {
    'a path of one machine': r'(^|[^A-Za-z0-9_.])/(work|root|home|Users)/',
    'a package index': r'py[p]i\.(org|python)|python[h]osted',
}


def below(*folders: str, suffix: str = '.py') -> list[str]:
    """Files below the folders, as paths from the root."""
    found = [path for folder in folders for path in (ROOT / folder).rglob(f'*{suffix}')]
    hidden = {'__pycache__', '.mim'}
    return sorted(str(p.relative_to(ROOT)) for p in found if not hidden & set(p.parts))


def text_files() -> list[str]:
    folders = [name for name in FOLDERS if (ROOT / name).is_dir()]
    names = below(*folders, suffix='') + [path.name for path in ROOT.iterdir()]
    return sorted(n for n in names if Path(n).suffix in TEXT and (ROOT / n).is_file())


def read(file: str) -> str:
    return (ROOT / file).read_text(encoding='utf-8')


PACKAGE = below('mmconvnext')
TOOLS = below('tools') + below('tools', suffix='.sh')
LEAVES = [str(path.relative_to(ROOT)) for path in fixtures.LEAVES]
PYTHON = PACKAGE + below('tools', 'tests')


# Import arrows


def module_of(file: str) -> str:
    """'mmconvnext/arch.py' -> '.arch'; the package itself is ''."""
    parts = Path(file).with_suffix('').parts[1:]
    return ''.join(f'.{part}' for part in parts if part != '__init__')


MODULES = {module_of(file) for file in PACKAGE}


def imports(source: str, file: str) -> set[str]:
    """Every module that the source imports anywhere, ours with a leading dot.

    Found are import statements, and `import_module` and `__import__` with a literal.
    """
    package = (
        module_of(file) if file.endswith('__init__.py') else module_of(file).rpartition('.')[0]
    )
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ''
            if node.level:
                up = package.split('.')
                up = '.'.join(up[: len(up) - node.level + 1])
                base = f'mmconvnext{up}' + (f'.{base}' if base else '')
            found |= {f'{base}.{alias.name}' if base else alias.name for alias in node.names}
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            name = getattr(node.func, 'attr', getattr(node.func, 'id', ''))
            if name in ('import_module', '__import__'):
                found.add(str(node.args[0].value))
    return {_known(name) for name in found}


def _known(name: str) -> str:
    """Strip imported objects: one of our modules with a leading dot, otherwise the distribution."""
    top, _, rest = name.partition('.')
    if top != 'mmconvnext':
        return top
    name = f'.{rest}' if rest else ''
    return name if name in MODULES or not name else name.rpartition('.')[0]


def covers(row: str, module: str) -> bool:
    return module == row or (row != '' and module.startswith(f'{row}.'))


def wrong_imports(source: str, file: str) -> set[str]:
    module = module_of(file)
    rows = [row for row in MAY_IMPORT if covers(row, module)]
    assert rows, f'{file} has no row in MAY_IMPORT: add what it may import'
    allowed = MAY_IMPORT[max(rows, key=len)].split()
    return {
        name
        for name in imports(source, file) - sys.stdlib_module_names
        if not any(covers(row, name) for row in allowed)
    }


@pytest.mark.parametrize('file', PACKAGE)
def test_imports_follow_the_arrows(file):
    wrong = wrong_imports(read(file), file)
    assert not wrong, f'{file} may not import {sorted(wrong)}; see MAY_IMPORT'


@pytest.mark.parametrize(
    ('file', 'source', 'wrong'),
    [
        ('arch.py', 'import torch.nn as nn', {'torch'}),
        ('arch.py', 'from .models.design import Design', {'.models.design'}),
        ('models/layers.py', 'from .block import ConvNeXtBlock', {'.models.block'}),
        ('models/block.py', 'from mmconvnext.models import convnext', {'.models.convnext'}),
        ('optim/groups.py', 'from ..models import ConvNeXt', {'.models'}),
        ('optim/groups.py', 'def f():\n    import mmdet', {'mmdet'}),
        ('checkpoint/load.py', 'from ..models.design import Design', {'.models.design'}),
        ('registry.py', 'import torch', {'torch'}),
        ('registry.py', 'from importlib import import_module\nimport_module("mmseg.x")', {'mmseg'}),
        ('toy/coco.py', 'import torch\nfrom .. import version', {'torch', '.version'}),
        ('recipe/checks/model.py', 'from ...cli.runner import x', {'.cli.runner'}),
        ('recipe/walk.py', 'from .. import cli', {'.cli'}),
        ('recipe/walk.py', 'import mmdet.apis', {'mmdet'}),
        ('__init__.py', 'from .models import ConvNeXt', {'.models'}),
        ('recipe/checks/__init__.py', 'from .files import a\nfrom ..walk import b', set()),
        ('models/convnext.py', 'import math\nimport torch\nfrom ..registry import MODELS', set()),
        ('cli/train.py', 'from ..recipe.load import load_config\nimport mmdet', set()),
    ],
)
def test_wrong_imports_are_seen(file, source, wrong):
    assert wrong_imports(source, f'mmconvnext/{file}') == wrong


# Sizes


def too_long(source: str, limit: int) -> str:
    count = len(source.splitlines())
    return f'{count} lines, at most {limit} are allowed' if count > limit else ''


LIMITS = [
    *((file, 300) for file in PACKAGE),
    *((file, 25) for file in LEAVES),
    # These run before anything is installed, so they cannot use the package.
    *((file, 60) for file in TOOLS if file not in ('tools/setup_env.py', 'tools/_mmcv_build.py')),
]


@pytest.mark.parametrize(('file', 'limit'), LIMITS)
def test_files_are_short(file, limit):
    assert not too_long(read(file), limit), f'{file}: {too_long(read(file), limit)}'


def test_a_long_file_is_seen():
    assert not too_long('x\n' * 25, 25)
    assert too_long('x\n' * 26, 25) == '26 lines, at most 25 are allowed'


# File heads


def head_fault(source: str, docstring: bool = True) -> str:
    lines = source.splitlines()
    if lines and lines[0].startswith('#!'):
        lines = lines[1:]
    if not lines or lines[0] != HEAD:
        return f'the first line must be {HEAD!r}'
    if docstring and not ast.get_docstring(ast.parse(source)):
        return 'the module has no docstring'
    return ''


@pytest.mark.parametrize('file', PYTHON)
def test_head(file):
    # In the tests an __init__.py is only a marker for pytest and needs no docstring.
    fault = head_fault(read(file), docstring=not re.match('tests/.*__init__.py', file))
    assert not fault, f'{file}: {fault}'


def test_a_bad_head_is_seen():
    assert not head_fault(f'{HEAD}\n"""Purpose."""\n')
    assert not head_fault(f'#!/usr/bin/env python\n{HEAD}\n"""Purpose."""\n')
    assert 'first line' in head_fault('"""Purpose."""\n')
    assert 'first line' in head_fault(f'\n{HEAD}\n"""Purpose."""\n')
    assert 'docstring' in head_fault(f'{HEAD}\nimport os\n')


# Mirrors


def mirrored(file: str) -> list[str]:
    """The modules that a test file may test, for `test_block_speed.py`: block_speed, block."""
    *folders, name = Path(file).with_suffix('').parts[1:]
    package = ['mmconvnext', *(folder.removeprefix('test_') for folder in folders)]
    words = name.removeprefix('test_').split('_')
    return ['/'.join([*package, '_'.join(words[:end])]) for end in range(len(words), 0, -1)]


@pytest.mark.parametrize('file', [f for f in below('tests') if f.count('/') > 1 and '/test_' in f])
def test_tests_mirror_the_package(file):
    if Path(file).name in ('__init__.py', 'conftest.py'):
        folder = Path(mirrored(file)[0]).parent
        assert (ROOT / folder).is_dir(), f'{file}: there is no folder {folder}'
        return
    modules = mirrored(file)
    found = [m for m in modules if (ROOT / f'{m}.py').is_file() or (ROOT / m).is_dir()]
    assert found, f'{file}: there is no {modules[0]}.py, nor a module whose name is a prefix of it'


def test_mirrors_are_found():
    assert mirrored('tests/test_recipe/test_checks/test_model.py') == [
        'mmconvnext/recipe/checks/model'
    ]
    assert mirrored('tests/test_models/test_layer_depth.py') == [
        'mmconvnext/models/layer_depth',
        'mmconvnext/models/layer',
    ]


def test_every_tool_has_its_line():
    text = read('tools/README.md')
    names = [Path(file).name for file in TOOLS if not Path(file).name.startswith('_')]
    missing = [name for name in names if f'`{name}' not in text]
    assert not missing, f'tools/README.md does not name {missing}'


# Text


def text_faults(source: str) -> list[str]:
    faults = []
    for number, line in enumerate(source.splitlines(), 1):
        if not line.isascii():
            faults.append(f'line {number} is not ASCII: {ascii(line)}')
        faults += [
            f'line {number} names {what}: {line.strip()}'
            for what, pattern in FORBIDDEN.items()
            if re.search(pattern, line)
        ]
    return faults


@pytest.mark.parametrize('file', text_files())
def test_text_is_plain_and_of_no_machine(file):
    faults = text_faults(read(file))
    assert not faults, '\n'.join([file, *faults])


@pytest.mark.parametrize(
    ('parts', 'fault'),
    [
        (('', 'work', 'main'), 'a path of one machine'),
        (('see file://', 'root', 'x'), 'a path of one machine'),
        (('https://py' + 'pi.org', 'x'), 'a package index'),
        (('files.python' + 'hosted.org', 'x'), 'a package index'),
        (('caf\u00e9',), 'not ASCII'),
    ],
)
def test_bad_text_is_seen(parts, fault):
    assert fault in text_faults('fine\n' + '/'.join(parts))[0]


@pytest.mark.parametrize('line', ['work_dirs/run', 'a/work/b', './root/x', 'https://x.org/home/y'])
def test_good_text_passes(line):
    assert text_faults(line) == []
