# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Contract: strictness applies only within its context, also with errors and threads."""

import threading

import pytest

from mmconvnext.checkpoint.strictness import (
    Strictness,
    current_strictness,
    lenient_loading,
    whole_loading,
)


def test_contexts_nest_and_end():
    assert current_strictness() is Strictness.STRICT
    with lenient_loading():
        assert current_strictness() is Strictness.LENIENT
        with pytest.raises(KeyError), whole_loading():
            assert current_strictness() is Strictness.WHOLE
            raise KeyError
        assert current_strictness() is Strictness.LENIENT
    assert current_strictness() is Strictness.STRICT


def test_another_thread_is_not_affected():
    seen = []
    with lenient_loading():
        thread = threading.Thread(target=lambda: seen.append(current_strictness()))
        thread.start()
        thread.join()
    assert seen == [Strictness.STRICT]
