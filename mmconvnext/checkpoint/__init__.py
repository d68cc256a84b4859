# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Weights: find a file, read it safely, recognise its format, check it and load it, or refuse it.

The steps that a weight file goes through, in order::

    lookup, zoo, download   short name or URL -> path
    read, safe_globals      path -> content, with weights_only
    checkpoint_key          content -> flat dict of tensors
    formats                 their names <-> ours; every quirk of a format is in tables
    final_norm              whether norm3 belongs to the classifier
    structure, size, numerics
                            what tensors and configs reveal about the network
    match                   our names -> what this backbone needs, or CheckpointMismatch
    backbone, load          all of these in order, for init_cfg and for every load_state_dict
    strictness              what happens to weights that do not fit

``convert`` writes weights in another format. ``mmengine_io`` replaces mmengine's own loaders, in
the tools only. ``docs/checkpoints.md`` has the details.
"""
