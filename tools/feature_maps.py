# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Draw feature maps: python tools/feature_maps.py CONFIG CHECKPOINT IMAGE --out FILE."""

try:
    from _start import start
except ModuleNotFoundError:  # a copy of this file, or `python -m`
    from mmconvnext.cli.run import start

if __name__ == '__main__':
    start('feature_maps')
