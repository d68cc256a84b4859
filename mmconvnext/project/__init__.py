# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""From a folder of data to a config for it: what ``tools/new_project.py`` does.

`look.py` lists what lies in the folder. `find.py` tells the kind of data; `coco.py` and `maps.py`
find out which files belong together and read them into a `Survey` (`survey.py`). `choices.py`
derives each setting from it, with its reason, and `write.py` makes the text of the config.
"""
