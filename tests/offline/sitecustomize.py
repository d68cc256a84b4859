# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Python imports this at its start, in the programs that tests start: they use no network either.

`tests/isolation.py` puts this folder into PYTHONPATH.
"""

import os

import no_network

if no_network.LOG in os.environ:
    no_network.close()
