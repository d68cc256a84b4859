# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""What other packages' ConvNeXts call otherwise, understood by the constructor.

A spelling that means the same is taken; one that asks for what we have under another name, or for
what we lack, is an error with the line to write. None is taken and ignored. :mod:`.table` is what
constructor, errors and manual (``docs/spellings.md``) have in common.
"""

from .table import TABLE, Spelling, as_markdown
from .translation import takes_spellings, translate

__all__ = ['TABLE', 'Spelling', 'as_markdown', 'takes_spellings', 'translate']
