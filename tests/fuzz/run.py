# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Fuzz the readers: python tests/fuzz/run.py [TARGET ...] [--minutes 10]

Needs atheris (pip install atheris), which looks for inputs that reach new code. Inputs that a
reader does not survive are kept in .fuzz/TARGET, one for each place in the code; exit status 1.
"""

import argparse
import hashlib
import shutil
import subprocess
import sys
import tempfile
import traceback
from importlib import import_module
from pathlib import Path

HERE = Path(__file__).resolve()
ROOT = HERE.parents[2]
sys.path[:0] = [str(HERE.parents[1]), str(ROOT)]

from fuzz import TARGETS  # noqa: E402
from fuzz.guard import Guard  # noqa: E402

KEPT = ROOT / '.fuzz'
LONGEST = 8192  # bytes of an input; our choice
SECONDS = 60  # after which an input is a finding; our choice


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('targets', nargs='*', metavar='TARGET', help=f'of {", ".join(TARGETS)}')
    parser.add_argument('--minutes', type=float, default=10, help='for each target (default: 10)')
    parser.add_argument('--inside', action='store_true', help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.inside:
        fuzz(args.targets[0], args.minutes)
    unknown = {*args.targets} - {*TARGETS}
    if unknown:
        parser.error(f'{sorted(unknown)}: choose from {", ".join(TARGETS)}')
    found = 0
    for name in args.targets or TARGETS:
        print(f'{name}: {args.minutes:g} minutes', flush=True)
        command = [sys.executable, str(HERE), name, '--inside', '--minutes', str(args.minutes)]
        status = subprocess.run(command).returncode
        inputs = len([*(KEPT / name).glob('finding-*')])
        print(f'{name}: exit status {status}, {inputs} findings in {KEPT / name}', flush=True)
        found += inputs + bool(status)
    return min(found, 1)


def fuzz(name: str, minutes: float) -> None:
    """Does not return: libFuzzer ends the process."""
    import atheris

    with atheris.instrument_imports(include=['mmconvnext']):
        target = import_module(f'fuzz.{name}')
    guard, seen = Guard(), set()
    place = KEPT / name
    place.mkdir(parents=True, exist_ok=True)
    corpus = Path(tempfile.mkdtemp(prefix=f'mmconvnext-fuzz-{name}-'))
    for i, seed in enumerate(target.SEEDS):
        (corpus / f'seed-{i}').write_bytes(seed)
    scratch = Path(tempfile.mkdtemp(prefix='mmconvnext-fuzz-'))

    def one(data: bytes) -> None:
        folder = scratch / 'x'
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        try:
            with guard:
                target.run(data, folder)
        except BaseException as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            if isinstance(error, KeyboardInterrupt) or (where.filename, where.lineno) in seen:
                return
            seen.add((where.filename, where.lineno))
            file = place / f'finding-{hashlib.sha256(data).hexdigest()[:8]}'
            file.write_bytes(data)
            print(f'FINDING {file}\n{traceback.format_exc()}', flush=True)

    options = [f'-max_total_time={60 * minutes:.0f}', f'-max_len={LONGEST}', f'-timeout={SECONDS}']
    options += ['-rss_limit_mb=8192', '-print_final_stats=1', '-verbosity=0']
    atheris.Setup([sys.argv[0], *options, f'-artifact_prefix={place}/finding-', str(corpus)], one)
    atheris.Fuzz()


if __name__ == '__main__':
    sys.exit(main())
