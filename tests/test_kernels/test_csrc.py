# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""The house rules of the C++ sources, executed: short functions, one format, a README that names
every file, no warnings.

Each rule is a function that returns the violations, so that it is also tested on a bad example.
"""

import ast
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from torch.utils import cpp_extension

from mmconvnext.kernels import library

ROOT = Path(__file__).resolve().parents[2]
CSRC = library.FOLDER / 'csrc'
SOURCES = sorted(library.cpp_files(library.FOLDER))
COMPILER = shutil.which('g++') or shutil.which('c++')
MAX_LINES = 60  # of a function; our choice


def spans(source: str) -> dict[int, int]:
    """For each line, how many lines its opening brace spans; types and namespaces are left out."""
    text = re.sub(r'//[^\n]*|"[^"\n]*"', '', source)  # comments and strings contain no code
    lines, found, opened = text.splitlines(), {}, []
    for number, line in enumerate(lines, 1):
        for brace in re.findall('[{}]', line):
            if brace == '{':
                opened.append(number)
            elif not re.match(r'\s*(namespace|struct|class)\b', lines[opened[-1] - 1]):
                first = opened.pop()
                found[first] = max(number - first + 1, found.get(first, 0))
            else:
                opened.pop()
    assert not opened, f'the braces of line {opened} stay open'
    return found


def long_functions(source: str) -> list[str]:
    found = spans(source).items()
    return [f'line {first}: {lines} lines' for first, lines in found if lines > MAX_LINES]


@pytest.mark.parametrize('path', SOURCES, ids=lambda path: path.name)
def test_functions_are_short(path):
    found = long_functions(path.read_text(encoding='utf-8'))
    assert not found, f'{path.name} has functions of more than {MAX_LINES} lines: {found}'


def test_a_long_function_is_seen():
    body = '    for (;;) {\n      f("}");  // }\n    }\n'
    short, long = (f'  int f(int a) {{\n{body * n}  }}\n' for n in (19, 20))
    source = f'namespace n {{\nstruct S {{\n  int x[2] = {{1, 2}};\n{short}{long}}};\n}}\n'
    assert long_functions(source) == ['line 63: 62 lines']


@pytest.mark.skipif(not SOURCES, reason='the C++ sources are not installed')
def test_readme_names_every_file():
    text = (CSRC / 'README.md').read_text(encoding='utf-8')
    files = {path.name for path in SOURCES}
    named = set(re.findall(r'`(\w+\.(?:h|cpp))`', text))
    assert named == files, f'missing: {files - named}; not there: {named - files}'


def formatter() -> str | None:
    beside = Path(sys.executable).with_name('clang-format')  # the environment need not be active
    return str(beside) if beside.is_file() else shutil.which('clang-format')


def badly_formatted(path: Path) -> str:
    style = f'--style=file:{ROOT / ".clang-format"}'
    command = [formatter(), style, '--dry-run', '--Werror', str(path)]
    return subprocess.run(command, capture_output=True, text=True).stderr


@pytest.mark.skipif(not formatter(), reason='clang-format is not installed')
@pytest.mark.skipif(not (ROOT / '.clang-format').is_file(), reason='not in a checkout')
def test_clang_format_is_followed(tmp_path):
    assert not ''.join(map(badly_formatted, SOURCES))
    bad = tmp_path / 'bad.h'
    bad.write_text('int f( int a ){return a;}\n')
    assert 'code should be clang-formatted' in badly_formatted(bad)


def setup_constant(name: str):
    """The value of a literal in setup.py, which cannot be imported without installing."""
    for node in ast.parse((ROOT / 'setup.py').read_text(encoding='utf-8')).body:
        if isinstance(node, ast.Assign) and node.targets[0].id == name:
            return ast.literal_eval(node.value)
    raise AssertionError(f'setup.py assigns no {name}')


def warnings(source: Path) -> str:
    """The compiler's output for a file, with the warning options of setup.py."""
    headers = [*cpp_extension.include_paths(), sysconfig.get_paths()['include']]
    instructions = 'AVX2' if platform.machine() in ('x86_64', 'AMD64') else 'DEFAULT'
    flags = [*setup_constant('WARNINGS').split(), *setup_constant('CAPABILITY_FLAGS')[instructions]]
    flags += [f'-DCPU_CAPABILITY={instructions}', f'-DCPU_CAPABILITY_{instructions}']
    flags += ['-fopenmp', '-std=c++20', *(f'-isystem{path}' for path in headers)]
    command = [COMPILER, '-fsyntax-only', '-Werror', *flags, f'-I{CSRC}', str(source)]
    return subprocess.run(command, capture_output=True, text=True).stderr


@pytest.mark.slow
@pytest.mark.skipif(not COMPILER, reason='there is no C++ compiler')
@pytest.mark.skipif(not (ROOT / 'setup.py').is_file(), reason='not in a checkout')
def test_no_warnings(tmp_path):
    assert warnings(CSRC / 'ops.cpp') == ''
    bad = tmp_path / 'bad.cpp'
    bad.write_text('int f(int C) { for (int C = 0; C;) ++C; return C; }\n')
    assert 'shadows a parameter' in warnings(bad)
