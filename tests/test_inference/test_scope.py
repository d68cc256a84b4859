# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""inference/scope.py: the default scope is put back, whatever other threads do."""

from threading import Event, Thread

from mmengine.registry import DefaultScope

from mmconvnext.inference.scope import in_scope, one_at_a_time


def current():
    scope = DefaultScope.get_current_instance()
    return scope and scope.scope_name


def test_threads_take_turns():
    before, inside, leave, seen = current(), Event(), Event(), []

    def first():
        with in_scope('mmdet'):
            inside.set()
            leave.wait(5)
            seen.append(current())

    def second():
        with in_scope('mmseg'):
            seen.append(current())

    threads = [Thread(target=first), Thread(target=second)]
    threads[0].start()
    assert inside.wait(5)
    threads[1].start()
    threads[1].join(0.1)
    assert threads[1].is_alive() and not seen  # it waits
    leave.set()
    for thread in threads:
        thread.join(5)
    assert seen == ['mmdet', 'mmseg'] and current() == before


def test_a_scope_in_a_scope_and_a_function_of_one_thread():
    @one_at_a_time
    def named(name, *, end=''):
        """What it does."""
        with in_scope('mmseg'):
            return name + end + current()

    with in_scope('mmdet'):
        assert named('a', end='-') == 'a-mmseg' and current() == 'mmdet'
    assert named.__doc__ == 'What it does.'
