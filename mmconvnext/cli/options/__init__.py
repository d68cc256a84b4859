# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Command-line options of the tools: a function for each, which returns its parser.

These files import the standard library and each other: ``tools/_start.py`` loads them before the
package, so that ``--help`` and wrong options need no torch.
"""

from .analysis import analyze_parser, flops_parser, maps_parser, plot_parser
from .first_steps import demo_parser, doctor_parser
from .own_data import browse_parser, prepare_parser, project_parser
from .results import predict_parser
from .runs import check_parser, repeat_parser, soak_parser, test_parser, train_parser
from .weights import TARGETS, convert_parser, migrate_parser, weights_parser

PARSERS = {
    'train': train_parser,
    'test': test_parser,
    'predict': predict_parser,
    'analyze': analyze_parser,
    'check_config': check_parser,
    'soak': soak_parser,
    'repeat_step': repeat_parser,
    'convert': convert_parser,
    'migrate': migrate_parser,
    'list_weights': weights_parser,
    'demo': demo_parser,
    'doctor': doctor_parser,
    'prepare_data': prepare_parser,
    'new_project': project_parser,
    'plot_run': plot_parser,
    'get_flops': flops_parser,
    'feature_maps': maps_parser,
    'browse_dataset': browse_parser,
}
__all__ = ['PARSERS', 'TARGETS', *(parser.__name__ for parser in PARSERS.values())]
