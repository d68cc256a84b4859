# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Starts the tools: parses the options, which takes milliseconds, then imports the package and
torch, which takes seconds. So `--help` and wrong options need not wait for torch.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

sys.path.append(str(Path(__file__).resolve().parents[1]))  # a checkout that is not installed


def start(tool: str) -> None:
    """Read the options of ``sys.argv``, then run ``mmconvnext.cli.<tool>.main``."""
    read_options(tool)
    run(lambda: import_module(f'mmconvnext.cli.{tool}').main())


def read_options(tool: str) -> argparse.Namespace:
    """Parse ``sys.argv``; ``--help`` and wrong options end the process here."""
    return load('cli/options').PARSERS[tool]().parse_args()


def run(main: Callable[[], object]) -> None:
    """Import the package and call ``main``; show user errors without a traceback, exit status 2."""
    # mmengine imports it, and the user can change nothing about it.
    warnings.filterwarnings('ignore', 'pkg_resources is deprecated', UserWarning)
    import_module('mmconvnext.cli.run').run_tool(main)


def load(path: str) -> ModuleType:
    """Load a file, or a folder, that imports only the standard library, without the package."""
    (root,) = find_spec('mmconvnext').submodule_search_locations
    place = Path(root, path)
    # A name of its own, for this moment only: a config may import a module called `options`.
    name = f'_mmconvnext_{place.stem}'
    if place.is_dir():
        spec = spec_from_file_location(
            name, place / '__init__.py', submodule_search_locations=[str(place)]
        )
    else:
        spec = spec_from_file_location(name, place)
    module = module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look up their module
    spec.loader.exec_module(module)
    for loaded in [key for key in sys.modules if key.partition('.')[0] == name]:
        del sys.modules[loaded]
    return module
