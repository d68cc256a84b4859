# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Arguments of other packages' ConvNeXts, which our constructor accepts.

An argument that means the same here is translated. One that means something else, or that a
backbone does not have, raises an error with the line to write. No argument is ignored.
:mod:`.table` defines them for the constructor, the errors and ``docs/spellings.md``.
"""

from .table import TABLE, Spelling, as_markdown
from .translation import takes_spellings, translate

__all__ = ['TABLE', 'Spelling', 'as_markdown', 'takes_spellings', 'translate']
