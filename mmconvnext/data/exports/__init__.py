# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Brings the exports of labelling tools into the form that own_data reads.

`prepare.py` has the steps: `table.py` recognises the format, its module reads the folder into
COCO's content or pairs of label maps (`export.py`), `gather.py` checks them by the rules of
`data/coco`, `divide.py` gives each image its split, `write.py` writes, and `report.py` tells.

The formats are parsed here rather than by supervision (0.31.2), which was tried on 43 small
exports, most of them with a defect, and on a real one. It gives up the whole export for one bad
entry in 10 of them, loses images or objects without a word in 4 (such as those in subfolders) and
reads 3 wrongly (such as pixels for fractions). It skips circles and masks of LabelMe, and holds a
mask of the size of the image for each polygon: 452 MB for 120 images of 256 x 256 pixels with 3,443
nuclei.
"""
