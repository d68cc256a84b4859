# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Weights: found, read safely, recognised, renamed, checked tensor by tensor, loaded or refused.

How a file becomes the backbone's weights, one module a step::

    zoo, download   short name or URL -> path
    read            path -> content, under weights_only
    envelope        content -> flat dict of tensors
    formats         names of any published format <-> ours, by tables alone
    structure, size, numerics
                    what tensors and configs tell of a network: its size and design
    fit             our names -> exactly what this backbone needs, or CheckpointMismatch
    load            the steps in a row: for init_cfg, and for every load_state_dict

``mmengine_io`` makes mmengine's own entry points (``load_from``, ``load_checkpoint``, resume, save)
use ``read`` and write whole files or none, in the tools' own process; ``convert`` goes from file to
file.
"""
