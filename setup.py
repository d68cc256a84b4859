# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Builds and installs mmconvnext, with `mmconvnext/.mim`: configs, tools and the model index.

mim and mmengine look for a package's recipes in its `.mim` folder. sdist and wheel contain copies
of them; `pip install -e .` puts relative links into the checkout, so that edits take effect at
once.

mmcv compiles its operators against the installed torch, so the extras with it need
`pip install --no-build-isolation`, after torch and requirements/build.txt. `make setup` does it.
Our own CPU kernels are compiled in the same step, for this machine's processor; where that is not
possible the package works without them. The environment variable MMCONVNEXT_BUILD skips them (0) or
selects another instruction set (AVX512, AVX2 or DEFAULT). They are always recompiled, never taken
from an earlier build, which may have used another torch. Before loading them,
`mmconvnext/kernels/library.py` checks the record that is written here.
"""

import importlib.util
import os
import re
import shlex
import shutil
import sysconfig
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py
from setuptools.command.editable_wheel import editable_wheel
from setuptools.command.sdist import sdist

ROOT = Path(__file__).resolve().parent
MIM = Path('mmconvnext', '.mim')
MIM_CONTENT = ('configs', 'tools', 'model-index.yml')


def requirements(name: str) -> list[str]:
    lines = (ROOT / 'requirements' / f'{name}.txt').read_text(encoding='utf-8').splitlines()
    return [line for line in map(str.strip, lines) if line and not line.startswith('#')]


def pinned(stack: str, *names: str) -> list[str]:
    """The lines of a lock file for the named distributions."""
    lines = {line.partition('==')[0]: line for line in requirements(stack)}
    return [lines[name] for name in names]


def copy_mim(target: Path) -> None:
    for name in MIM_CONTENT:
        source, copy = ROOT / name, target / MIM / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            ignored = shutil.ignore_patterns('__pycache__', '*.py[cod]')
            shutil.copytree(source, copy, ignore=ignored, dirs_exist_ok=True)
        else:
            shutil.copyfile(source, copy)


def link_mim() -> None:
    folder = ROOT / MIM
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name in MIM_CONTENT:
        (folder / name).symlink_to(os.path.relpath(ROOT / name, folder))


def load_library_module():
    """Load `mmconvnext/kernels/library.py` by its path: the package may not be importable yet."""
    path = ROOT / 'mmconvnext/kernels/library.py'
    spec = importlib.util.spec_from_file_location('library', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


LIBRARY = load_library_module()
# Compiler flags for ATen's vector classes; without flags these are plain loops.
CAPABILITY_FLAGS = {
    'AVX512': ['-mavx512f', '-mavx512bw', '-mavx512vl', '-mavx512dq', '-mfma', '-mf16c'],
    'AVX2': ['-mavx2', '-mfma', '-mf16c'],
    'DEFAULT': [],
}
# psabi: a note that GCC passes vectors differently from GCC 4.5. GCC 12 calls variables of its own
# AVX512 intrinsics uninitialized (GCC bug 105593).
WARNINGS = '-Wall -Wextra -Wshadow -Wno-psabi -Wno-uninitialized -Wno-maybe-uninitialized'


def kernels() -> dict:
    """The arguments of `setup` that compile the CPU kernels; empty if torch does not work."""
    wanted = os.environ.get('MMCONVNEXT_BUILD', '')
    if wanted not in ('', '0', *CAPABILITY_FLAGS):
        allowed = f'0 (no kernels), {", ".join(CAPABILITY_FLAGS)}, or unset it for this processor'
        raise SystemExit(f'MMCONVNEXT_BUILD={wanted!r} is unknown; choose {allowed}')
    if wanted == '0':
        return {}
    try:
        from torch.utils.cpp_extension import BuildExtension, CppExtension, include_paths

        capability = wanted or LIBRARY.capability()
    except Exception as error:  # a broken torch raises anything; an old one lacks some names
        print(f'mmconvnext: no CPU kernels, because torch does not work in this build: {error}')
        return {}
    flags = ['-O3', '-g0', '-fopenmp', *CAPABILITY_FLAGS[capability]]
    flags += [f'-DCPU_CAPABILITY={capability}', f'-DCPU_CAPABILITY_{capability}']
    # Warnings are for our own files, so torch's and Python's headers are system headers.
    headers = [*include_paths(), sysconfig.get_paths()['include']]
    flags += [*WARNINGS.split(), *(f'-isystem{path}' for path in headers)]
    # Last, so that they win over ours. Not CXXFLAGS, in which conda sets -std and -O2.
    flags += shlex.split(os.environ.get('MMCONVNEXT_CXXFLAGS', ''))
    folder = Path('mmconvnext/kernels')
    extension = CppExtension(
        'mmconvnext.kernels._cpu',
        ['mmconvnext/kernels/csrc/ops.cpp'],
        depends=[str(path) for path in LIBRARY.cpp_files(folder)],
        extra_compile_args=flags,
        extra_link_args=['-fopenmp'],
    )
    extension.optional = True  # a failure only warns; blocks then run plain

    class BuildExt(BuildExtension):
        def __init__(self, *args, **options) -> None:
            # No ninja: setuptools cannot recognize its failures, and there is only one file.
            super().__init__(*args, **{**options, 'use_ninja': False})

        def build_extensions(self) -> None:
            try:
                super().build_extensions()
            except Exception as error:  # torch 2.4 raises if it finds no compiler
                print(f'mmconvnext: no CPU kernels: {error}')

        def build_extension(self, ext) -> None:
            library = Path(self.get_ext_fullpath(ext.name))
            # Otherwise a failure would leave the old one, and one of the same age would stay.
            library.unlink(missing_ok=True)
            needed = LIBRARY.needs(folder)  # first: files may change during compilation
            super().build_extension(ext)
            LIBRARY.write(library, capability, needed)

        def copy_extensions_to_source(self) -> None:
            super().copy_extensions_to_source()
            for record in records(self):
                shutil.copyfile(record, folder / record.name)

        def get_outputs(self) -> list[str]:
            return [*super().get_outputs(), *map(str, records(self))]

    def records(command: BuildExt) -> list[Path]:
        built = LIBRARY.record_file(Path(command.build_lib, folder, LIBRARY.FILE))
        return [built] if built.is_file() else []

    return dict(ext_modules=[extension], cmdclass_build=BuildExt)


class BuildPy(build_py):
    def run(self) -> None:
        if not self.editable_mode:
            # Everything in there is packed, including an old library and deleted modules.
            earlier = Path(self.build_lib, 'mmconvnext')
            if earlier.resolve() != ROOT / 'mmconvnext':
                shutil.rmtree(earlier, ignore_errors=True)
        super().run()
        if not self.editable_mode:
            copy_mim(Path(self.build_lib))


class Sdist(sdist):
    def make_release_tree(self, base_dir: str, files: list[str]) -> None:
        super().make_release_tree(base_dir, files)
        copy_mim(Path(base_dir))


class EditableWheel(editable_wheel):  # what `pip install -e .` runs; `develop` is obsolete
    def run(self) -> None:
        link_mim()
        # If no new library is built, none must remain from an earlier build.
        library = ROOT / 'mmconvnext/kernels' / LIBRARY.FILE
        for path in (LIBRARY.record_file(library), library):
            path.unlink(missing_ok=True)
        super().run()


KERNELS = kernels()
COMMANDS = {'build_py': BuildPy, 'sdist': Sdist, 'editable_wheel': EditableWheel}
if KERNELS:
    COMMANDS['build_ext'] = KERNELS.pop('cmdclass_build')

setup(
    name='mmconvnext',
    version=re.search(r"'(.+)'", (ROOT / 'mmconvnext/version.py').read_text()).group(1),
    description='ConvNeXt backbone for MMDetection and MMSegmentation',
    long_description=(ROOT / 'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    author='mmconvnext contributors',
    license='Apache-2.0',
    license_files=['LICENSE'],
    python_requires='>=3.10',
    packages=find_packages(include=['mmconvnext', 'mmconvnext.*']),
    # Explicit, so that `pip install -e` puts the checkout on sys.path. Otherwise it would come
    # after all folders there, and in the parent folder of a clone called mmconvnext, Python would
    # import the clone as an empty package.
    package_dir={'': '.'},
    package_data={'mmconvnext': ['**/*.csv', '**/*.yml', '**/*.txt', '**/*.cpp', '**/*.h']},
    exclude_package_data={'mmconvnext': ['.mim/**']},
    cmdclass=COMMANDS,
    **KERNELS,
    install_requires=requirements('runtime'),
    # Install one of the two sets, never both.
    extras_require={
        'openmmlab': [
            *pinned('openmmlab', 'mmengine', 'mmcv', 'mmdet', 'mmsegmentation'),
            *('pycocotools', 'ftfy', 'regex'),  # mmsegmentation needs two and declares neither
            'setuptools<81',  # mmengine imports pkg_resources
        ],
        'onedl': [
            *pinned('onedl', 'onedl-mmengine', 'onedl-mmcv'),
            *pinned('onedl', 'onedl-mmdetection', 'onedl-mmsegmentation'),
            *('pycocotools', 'ftfy', 'regex', 'setuptools<81'),
        ],
        'tools': requirements('tools'),
        'tests': requirements('tests'),
    },
    classifiers=[
        'Programming Language :: Python :: 3',
        'Operating System :: POSIX :: Linux',
        'Topic :: Scientific/Engineering :: Image Recognition',
    ],
    zip_safe=False,
)
