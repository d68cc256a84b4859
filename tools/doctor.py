#!/usr/bin/env python
# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Is the environment sound? Versions, operators, kernels, GPU; and the line that mends a fault."""

from __future__ import annotations

import json
import sys

from _start import load, read_options


def main() -> None:
    args = read_options('doctor')
    doctor = load('cli/doctor.py')
    facts, findings = doctor.examine()
    wrong = any(finding.state == doctor.WRONG for finding in findings)
    if args.json:
        listed = [finding._asdict() for finding in findings]
        print(json.dumps(dict(facts, ok=not wrong, findings=listed), indent=1))
    else:
        print('\n'.join(doctor.report(facts, findings)))
    sys.exit(int(wrong))


if __name__ == '__main__':
    main()
