# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Weights: find a file, read it safely, recognise its format, check it and load it, or refuse it.

The way of a file, in the order of its steps::

    lookup, zoo, download   short name or URL -> path
    read, safe_globals      path -> content, with weights_only
    checkpoint_key          content -> flat dict of tensors
    formats                 their names <-> ours; every quirk of a format is in tables
    final_norm              whether norm3 is the classifier's
    structure, size, numerics
                            what tensors and configs reveal of the network
    match                   our names -> what this backbone needs, or CheckpointMismatch
    backbone, load          all of it in order, for init_cfg and for every load_state_dict
    strictness              what happens to weights that do not fit

``convert`` goes from file to file. ``mmengine_io`` replaces mmengine's own loaders in the process
of a tool. ``docs/checkpoints.md`` has the details.
"""
