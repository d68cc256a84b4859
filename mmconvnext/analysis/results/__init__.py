# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""What a model does wrong, and where: `tools/analyze.py`.

Objects: :mod:`.coco` measures as COCO does, :mod:`.matching` and :mod:`.mistakes` find what is
missed and what is wrong in each image, :mod:`.objects` joins them into `analysis.json`, and
:mod:`.objects_page` and :mod:`.objects_pictures` draw. Label maps: :mod:`.label_maps` and
:mod:`.label_maps_page`. The JSON has fractions
from 0 to 1, and counts; the page shows IoU in percent, as mmseg does.
"""
