# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Builds and installs mmconvnext, with `mmconvnext/.mim`: configs, tools and the model index.

mim and mmengine look for a package's recipes in its `.mim` folder. sdist and wheel carry copies
of them; `pip install -e .` puts relative links into the checkout, so that edits count at once.

mmcv compiles its operators against the torch that is installed, so the extras with it need
`pip install --no-build-isolation`, after torch and requirements/build.txt. `make setup` does it.
Our own CPU kernels are compiled on the same occasion, for the processor at hand; where that is not
possible the package works without them. The variable MMCONVNEXT_BUILD leaves them out (0) or names
another processor (AVX512, AVX2 or DEFAULT). They are always compiled anew and never taken from an
earlier build, which may have had another torch; `mmconvnext/kernels/library.py` compares once more
before it loads them, with the record that is written here.
"""

import importlib.util
import os
import re
import shutil
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
    """The lines of a lock file for some of its distributions."""
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
    """Load `mmconvnext/kernels/library.py` by its path: its requirements may be missing."""
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


def kernels() -> dict:
    """The arguments of `setup` that compile the CPU kernels; none if torch does not work."""
    wanted = os.environ.get('MMCONVNEXT_BUILD', '')
    if wanted not in ('', '0', *CAPABILITY_FLAGS):
        allowed = f'0 (none), {", ".join(CAPABILITY_FLAGS)}, or nothing for this processor'
        raise SystemExit(f'MMCONVNEXT_BUILD={wanted!r} is unknown; choose {allowed}')
    if wanted == '0':
        return {}
    try:
        from torch.utils.cpp_extension import BuildExtension, CppExtension

        capability = wanted or LIBRARY.capability()
    except Exception as error:  # a broken torch raises anything; one that is too old has no name
        print(f'mmconvnext: without CPU kernels, as torch does not work in this build: {error}')
        return {}
    flags = ['-O3', '-g0', '-fopenmp', '-w', *CAPABILITY_FLAGS[capability]]
    flags += [f'-DCPU_CAPABILITY={capability}', f'-DCPU_CAPABILITY_{capability}']
    folder = Path('mmconvnext/kernels')
    extension = CppExtension(
        'mmconvnext.kernels._cpu',
        ['mmconvnext/kernels/csrc/ops.cpp'],
        depends=[str(path) for path in LIBRARY.cpp_files(folder)],
        extra_compile_args=flags,
        extra_link_args=['-fopenmp'],
    )
    extension.optional = True  # a failure is a warning, and the plain path runs

    class BuildExt(BuildExtension):
        def __init__(self, *args, **options) -> None:
            # Without ninja, whose failures setuptools cannot tell from others; it is one file.
            super().__init__(*args, **{**options, 'use_ninja': False})

        def initialize_options(self) -> None:
            super().initialize_options()
            self.force = True

        def build_extensions(self) -> None:
            try:
                super().build_extensions()
            except Exception as error:  # as torch 2.4 does where it finds no compiler
                print(f'mmconvnext: without CPU kernels: {error}')

        def build_extension(self, ext) -> None:
            library = Path(self.get_ext_fullpath(ext.name))
            library.unlink(missing_ok=True)  # otherwise a failure would leave an old one
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
            # All that lies there is packed: also an old library, and modules that are gone.
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


class EditableWheel(editable_wheel):  # what `pip install -e .` runs; `develop` is of the past
    def run(self) -> None:
        link_mim()
        # Where none is made anew, no old one stays.
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
    # Said, so that `pip install -e` puts the checkout on sys.path. Else it comes after all folders,
    # and beside a clone called mmconvnext Python would take that for an empty package.
    package_dir={'': '.'},
    package_data={'mmconvnext': ['**/*.csv', '**/*.yml', '**/*.txt', '**/*.cpp', '**/*.h']},
    exclude_package_data={'mmconvnext': ['.mim/**']},
    cmdclass=COMMANDS,
    **KERNELS,
    install_requires=requirements('runtime'),
    # Take one of the two sets, never both.
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
        'tests': requirements('tests'),
    },
    classifiers=[
        'Programming Language :: Python :: 3',
        'Operating System :: POSIX :: Linux',
        'Topic :: Scientific/Engineering :: Image Recognition',
    ],
    zip_safe=False,
)
