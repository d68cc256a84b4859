# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Shows a dataset before it is trained on: samples, contact sheets, figures, suspicious things.

.. code-block:: text

    split.py --> listing.py --> statistics.py, suspects.py, duplicates.py   numbers, of all images
        |            |
        |            +-------> contact_sheets.py                            pictures, of some images
        +--> samples.py, label_maps.py
                        report.py puts all of it on one page
"""

from .report import browse

__all__ = ['browse']
