# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Fixtures of the recipe's tests: configs, small data of one's own, tiny toy data."""

from fixtures import (  # noqa: F401
    coco_data,
    config_cache,
    label_map_cache,
    load,
    seg_data,
    toy_data,
    toy_root,
    workplace,
)
