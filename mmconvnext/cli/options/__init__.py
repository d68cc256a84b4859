# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Command-line options of the tools: a function for each, which returns its parser.

These files import the standard library and each other: ``tools/_start.py`` loads them before the
package, so that ``--help`` and wrong options need no torch.
"""

from .analyze import analyze_parser
from .datasets import browse_parser
from .first_steps import demo_parser, doctor_parser
from .runs import test_parser, train_parser
from .weights import TARGETS, convert_parser, migrate_parser, weights_parser

PARSERS = {
    'train': train_parser,
    'test': test_parser,
    'analyze': analyze_parser,
    'convert': convert_parser,
    'migrate': migrate_parser,
    'list_weights': weights_parser,
    'demo': demo_parser,
    'doctor': doctor_parser,
    'browse_dataset': browse_parser,
}
__all__ = ['PARSERS', 'TARGETS', *(parser.__name__ for parser in PARSERS.values())]
