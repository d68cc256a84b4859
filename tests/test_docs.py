# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Contract: the paths, names and commands in the documentation exist.

Each check is a function that returns what is wrong in a text, so that it can be tested on bad
examples too. What a single document says is tested separately, see `test_readme.py`.
"""

import ast
import functools
import re
import shlex
from fnmatch import fnmatch
from importlib import import_module

import processes
import pytest
from fixtures import ROOT

PATTERNS = ('*.md', 'docs/*.md', 'examples/*.md', 'tools/*.md', 'benchmarks/*.md', 'configs/*/*.md')
DOCUMENTS = sorted(
    str(path.relative_to(ROOT))
    for pattern in (*PATTERNS, 'mmconvnext/**/*.md')
    for path in ROOT.glob(pattern)
    # A change log names what was; `.mim` links to configs and tools.
    if path.name != 'CHANGELOG.md' and '.mim' not in path.parts
)
# Paths that commands make, or that a user brings.
NOT_SHIPPED = (
    'data/*',
    'work_dirs/*',
    '.venv*',
    'mmconvnext/.mim*',
    '*_cpu.*.so',
    'mine.py',
    'bad_data.txt',
)
SOURCE = r'\.(?:py|md|h|cpp|sh|csv|yml|toml|txt|cff|ipynb)'
HIDDEN = {'.git', '.mim', '__pycache__', 'build', 'work_dirs', 'data'}


@functools.cache
def shipped() -> tuple[str, ...]:
    """Files and folders of the checkout, from its root."""
    found, todo = [], [ROOT]
    for folder in todo:
        for path in folder.iterdir():
            name = str(path.relative_to(ROOT))
            if path.name in HIDDEN - {'data'} or name == 'data' or name.startswith('.venv'):
                continue
            found.append(name)
            if path.is_dir():
                todo.append(path)
    return tuple(found)


def inline(text: str) -> list[str]:
    """The texts in single backticks."""
    text = re.sub(r'^```.*?^```', '', text, flags=re.DOTALL | re.MULTILINE)
    return [' '.join(code.split()) for code in re.findall(r'(?<!`)`([^`]+)`(?!`)', text)]


# Paths


def alternatives(path: str) -> list[str]:
    """Expand a path: `a/{b,c}.py` is two; <name> and CAPITALS stand for anything."""
    braces = re.search(r'\{([^{}]*,[^{}]*)\}', path)
    if braces:
        head, tail = path[: braces.start()], path[braces.end() :]
        return [p for word in braces[1].split(',') for p in alternatives(head + word + tail)]
    names = {name.rpartition('/')[2] for name in shipped()}  # README.md is no placeholder
    parts = re.sub(r'<[^>/]*>', '*', path).split('/')
    parts = [p if p in names else re.sub(r'^[A-Z_]{3,}(?=\.|$)', '*', p) for p in parts]
    return ['/'.join(part for part in parts if part not in ('', '.', '..'))]


def exists(path: str) -> bool:
    """Whether the checkout has it. A path may leave out its first folders: `models/block.py`."""
    if any(fnmatch(path, pattern) for pattern in NOT_SHIPPED):
        return True
    return any(fnmatch(name, path) or fnmatch(name, f'*/{path}') for name in shipped())


def is_path(code: str) -> bool:
    if not re.fullmatch(r'[\w.{},<>*/-]+', code) or code.startswith('/'):
        return False
    folders = {'mmconvnext', *(name for name in shipped() if (ROOT / name).is_dir())}
    below = {name.rpartition('/')[2] for name in folders if name.count('/') < 2}
    return bool(re.search(rf'\w{SOURCE}$', code)) or ('/' in code and code.split('/')[0] in below)


def heading_ids(text: str) -> set[str]:
    """The ids that GitHub gives to headings."""
    titles = re.findall(r'^#+ (.+)', text, re.MULTILINE)
    return {re.sub(r'[^\w -]', '', title.lower()).replace(' ', '-') for title in titles}


def path_faults(text: str, file: str = 'README.md') -> list[str]:
    """Links are relative to ``file``; paths in backticks to any folder."""
    faults = []
    for link in re.findall(r'\]\(([^()\s]+)\)', text):
        if re.match('[a-z]+:', link):
            continue
        path, _, anchor = link.partition('#')
        target = (ROOT / file).parent / path if path else ROOT / file
        if not target.exists():
            faults.append(f'the link {link} leads nowhere')
        elif anchor and anchor not in heading_ids(target.read_text() if path else text):
            faults.append(f'{path or file} has no heading #{anchor}')
    for code in filter(is_path, inline(text)):
        faults += [f'there is no {path}' for path in alternatives(code) if not exists(path)]
    return faults


# Names


def resolves(name: str) -> bool:
    """Whether the dotted name is a module, an attribute, or registered in the scope mmconvnext."""
    *parts, last = name.split('.')
    try:
        owner = import_module(parts[0])
        for part in parts[1:]:
            owner = getattr(owner, part, None) or import_module(f'{owner.__name__}.{part}')
        if hasattr(owner, last) or is_registered(name):
            return True
        import_module(name)
    except (ImportError, AttributeError):
        return False
    return True


def is_registered(name: str) -> bool:
    from mmengine import registry

    kinds = (
        *('MODELS', 'MODEL_WRAPPERS', 'DATASETS', 'HOOKS'),
        'OPTIM_WRAPPER_CONSTRUCTORS',
    )
    return any(getattr(registry, kind).get(name) for kind in kinds)


def words_of(path: str) -> set[str]:
    """All words in the files that the path may refer to."""
    files = [name for name in shipped() if name == path or name.endswith(f'/{path}')]
    return {word for name in files for word in re.findall(r'\w+', (ROOT / name).read_text())}


def name_faults(text: str) -> list[str]:
    """`mmconvnext.x.y` anywhere, `part.module.name` in backticks, and `name` in `path`."""
    names = set(re.findall(r'(?<![\w./-])mmconvnext(?:\.[A-Za-z_]\w*)+(?![\w/-])', text))
    parts = {path.parent.name for path in (ROOT / 'mmconvnext').glob('*/__init__.py')}
    for code in inline(text):
        code = code.removesuffix('()')
        if re.fullmatch(r'\w+(\.\w+)+', code) and not re.search(rf'{SOURCE}$', code):
            names |= {f'mmconvnext.{code}'} if code.split('.')[0] in parts else set()
    faults = [f'there is no {name}' for name in sorted(names) if not resolves(name)]
    listed = r'((?:`[\w.]+(?:\(\))?`(?:, | and | or )?)+) (?:in|of) `([\w/.]+\.(?:py|h|cpp))`'
    for group, path in re.findall(listed, ' '.join(text.split())):
        for name in re.findall(r'`([\w.]+)', group):
            if not set(name.split('.')) <= words_of(path) and not exists(name):
                faults.append(f'{path} has no {name}')
    return faults


# Commands


def commands(text: str) -> list[list[str]]:
    """The commands in shell blocks and in backticks, split into words and at pipes."""
    blocks = re.findall(r'^```(?:bash|sh|console)\n(.*?)^```', text, re.DOTALL | re.MULTILINE)
    lines = [line for block in blocks for line in block.replace('\\\n', ' ').splitlines()]
    starts = r'(?:[A-Z_]+=\S+ )*(?:make|python|\.venv\S*/bin/python|(?:tools|benchmarks)/\S+\.\w+) '
    lines += [code for code in inline(text) if re.match(starts, f'{code} ')]
    found = []
    for line in lines:
        lexer = shlex.shlex(line.removeprefix('$ '), posix=True, punctuation_chars='|&;<>()')
        lexer.whitespace_split = True
        words: list[str] = []
        for word in [*lexer, ';']:
            if set(word) <= set('|&;<>()'):
                found.append(words)
                words = []
            elif words or not re.fullmatch(r'[A-Z_]+=.*', word):
                words.append(word)
    return [words for words in found if words]


@functools.cache
def options(script: str) -> frozenset[str]:
    """The options that a script's --help lists; a shell script passes them to the tool it runs."""
    if script.endswith('.sh'):
        tools = re.findall(r'(\w+\.py)', (ROOT / script).read_text())
        return frozenset().union(*(options(f'tools/{name}') for name in set(tools)))
    done = processes.script(ROOT / script, '--help')
    assert done.returncode == 0, done.stderr
    return frozenset(re.findall(r'(?<![\w-])--?[a-zA-Z][\w-]*', done.stdout))


def script_faults(words: list[str]) -> list[str]:
    script, *rest = words
    if not (ROOT / script).is_file():
        return [f'there is no {script}']
    if '/' not in script:  # setup.py has setuptools' options
        return []
    given = [word.partition('=')[0] for word in rest if re.match('--?[a-zA-Z]', word)]
    return [f'{script} has no {name}' for name in given if name not in options(script)]


def make_faults(words: list[str]) -> list[str]:
    makefile = (ROOT / 'Makefile').read_text()
    targets = set(re.findall(r'^([a-z][\w-]*):', makefile, re.MULTILINE))
    variables = set(re.findall(r'\b([A-Z_]+) ?\??=', makefile))
    faults = []
    for word in words:
        name, equals, _ = word.partition('=')
        if not word.startswith('-') and name not in (variables if equals else targets):
            faults.append(f'Makefile has no {name}')
    return faults


def module_faults(words: list[str]) -> list[str]:
    """`python -m pytest`: its markers; `python -m mmconvnext.x`: the module."""
    module, *rest = words
    if module.startswith('mmconvnext'):
        return [] if resolves(module) else [f'there is no {module}']
    if module != 'pytest' or '-m' not in rest:
        return []
    expression = rest[rest.index('-m') + 1]
    config = (ROOT / 'pyproject.toml').read_text()
    markers = set(re.findall(r'"(\w+): ', config))
    used = {node.id for node in ast.walk(ast.parse(expression)) if isinstance(node, ast.Name)}
    return [f'pytest has no marker {name}' for name in sorted(used - markers)]


def command_faults(text: str) -> list[str]:
    faults = []
    for program, *rest in commands(text):
        if program == 'make':
            faults += make_faults(rest)
        elif re.fullmatch(r'python3?|\.venv\S*/bin/python', program):
            if rest[:1] == ['-m']:
                faults += module_faults(rest[1:])
            elif rest and rest[0].endswith('.py'):
                faults += script_faults(rest)
        elif re.match(r'(tools|benchmarks)/', program):
            faults += script_faults([program, *rest])
        for word in rest:
            if re.match(r'(configs|tests|docs|tools|benchmarks|requirements)/', word):
                paths = alternatives(word.partition('::')[0])
                faults += [f'there is no {path}' for path in paths if not exists(path)]
    return faults


@pytest.mark.parametrize('file', DOCUMENTS)
def test_what_a_document_names_exists(file):
    text = (ROOT / file).read_text(encoding='utf-8')
    faults = [*path_faults(text, file), *name_faults(text), *command_faults(text)]
    assert not faults, '\n'.join([file, *dict.fromkeys(faults)])


def test_the_documents_are_found():
    assert {'README.md', 'CONTRIBUTING.md', 'tools/README.md', 'docs/testing.md'} <= set(DOCUMENTS)
    assert 'configs/upernet/README.md' in DOCUMENTS and 'CHANGELOG.md' not in DOCUMENTS


@pytest.mark.parametrize(
    ('text', 'fault'),
    [
        ('see `mmconvnext/nothing.py`', 'no mmconvnext/nothing.py'),
        ('see `models/nothing.py`', 'no models/nothing.py'),
        ('see `nothing.py`', 'no nothing.py'),
        ('see `docs/nothing`', 'no docs/nothing'),
        ('see `../nothing.py`', 'no nothing.py'),
        ('see `docs/CITATION.cff`', 'no docs/CITATION.cff'),
        ('see `docs/FILE.toml`', r'no docs/\*.toml'),
        ('see `configs/upernet/<name>.toml`', r'no configs/upernet/\*.toml'),
        ('see `requirements/{openmmlab,nothing}.txt`', 'no requirements/nothing.txt'),
        ('see [it](docs/nothing.md)', 'link docs/nothing.md'),
        ('see [it](CONTRIBUTING.md#nothing-of-it)', 'no heading #nothing-of-it'),
        ('call `mmconvnext.nothing`', 'no mmconvnext.nothing'),
        ("```python\ntype='mmconvnext.Nothing'\n```", 'no mmconvnext.Nothing'),
        ('call `checkpoint.zoo.nothing()`', 'no mmconvnext.checkpoint.zoo.nothing'),
        ('a field of `Nothing` in `models/design.py`', 'models/design.py has no Nothing'),
        ('`Design` and\n`Nothing` in `models/design.py`', 'models/design.py has no Nothing'),
        ('```bash\nmake test nothing\n```', 'Makefile has no nothing'),
        ('run `make setup STOCK=onedl`', 'Makefile has no STOCK'),
        ('```bash\npython tools/nothing.py CONFIG\n```', 'no tools/nothing.py'),
        ('```bash\ntools/nothing.sh CONFIG 8\n```', 'no tools/nothing.sh'),
        ('run `python tools/setup_env.py --nothing`', 'tools/setup_env.py has no --nothing'),
        ('```sh\ncd x && python tools/setup_env.py \\\n  --venv a --no\n```', 'has no --no$'),
        ('```bash\npython -m pytest tests/nothing.py\n```', 'no tests/nothing.py'),
        ("run `python -m pytest -m 'not nothing'`", 'no marker nothing'),
        ('```bash\nA=1 python tools/setup_env.py -x | cat\n```', 'tools/setup_env.py has no -x'),
    ],
)
def test_what_does_not_exist_is_seen(text, fault):
    (found,) = dict.fromkeys([*path_faults(text), *name_faults(text), *command_faults(text)])
    assert re.search(fault, found), found


@pytest.mark.parametrize(
    'text',
    [
        'see `models/block.py`, `block.py`, `configs/*/README.md`, `configs/<folder>/metafile.yml`',
        'see `docs/FILE.md`, `../arch.py`',
        '`work_dirs/<config>/last_checkpoint`, `data/coco/`, `.venv/bin/python`, `a/b` and `N / A`',
        '[here](CONTRIBUTING.md#house-rules), [there](https://x.org/y.py), [up](#up)\n\n# Up',
        'call `mmconvnext.ConvNeXt(...)`, `checkpoint.zoo.find()`, `torch.ops.mmconvnext`, `a.b.c`',
        'a field of `Design` in `models/design.py`; `Design`, `FUSIBLE` of `models/design.py`',
        '```bash\nmake setup STACK=onedl  # a comment --nothing\npip install -q --nothing x\n```',
        '```bash\nCUDA_VISIBLE_DEVICES=0 python tools/setup_env.py --venv=a && ls --nothing\n```',
        "`python -m pytest -m 'not slow' tests/test_docs.py::test_x`, `python -m pip list --x`",
    ],
)
def test_what_exists_passes(text):
    assert [*path_faults(text), *name_faults(text), *command_faults(text)] == []
