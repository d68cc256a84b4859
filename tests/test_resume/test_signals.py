# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Signals are noted, and their handlers put back."""

import os
import signal
import threading
import time

import pytest

from mmconvnext.resume.signals import SIGNALS, Signals, StopWaiting


def send(number):
    os.kill(os.getpid(), number)


@pytest.mark.parametrize('number', SIGNALS)
def test_a_signal_is_noted_and_the_handlers_are_put_back(number, capfd):
    before = [signal.getsignal(n) for n in SIGNALS]
    with Signals() as signals:
        assert not signals.caught
        send(number)
        assert signals.caught == number
    assert [signal.getsignal(n) for n in SIGNALS] == before
    again = '; press Ctrl-C again to stop at once' if number == signal.SIGINT else ''
    name = number.name
    assert capfd.readouterr().err == f'\n{name}: saving a checkpoint after this iteration{again}\n'


def test_a_signal_ends_a_wait(capfd):
    with Signals() as signals:
        with pytest.raises(StopWaiting), signals.waiting():
            send(signal.SIGUSR1)
            time.sleep(9)
        with pytest.raises(StopWaiting), signals.waiting():  # and so does one that came before
            raise AssertionError
        send(signal.SIGTERM)  # not outside of a wait
        assert signals.caught == signal.SIGUSR1
    assert capfd.readouterr().err == '\nSIGUSR1: saving a checkpoint now\n'


def test_of_several_processes_none_leaves_a_wait_alone(monkeypatch):
    monkeypatch.setattr('mmconvnext.resume.signals.get_world_size', lambda: 2)
    with Signals() as signals, signals.waiting():
        send(signal.SIGTERM)
    assert signals.caught == signal.SIGTERM


def test_the_first_signal_counts_and_a_second_ctrl_c_stops():
    before = signal.getsignal(signal.SIGINT)  # ignored, if the tests run in the background
    with Signals() as signals:
        send(signal.SIGTERM)
        send(signal.SIGUSR1)
        send(signal.SIGTERM)
        assert signals.caught == signal.SIGTERM
    with pytest.raises(KeyboardInterrupt), Signals() as signals:
        assert not signals.caught
        send(signal.SIGINT)
        send(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_an_error_after_a_signal_has_its_number():
    """One of several processes that has lost another need not wait for the launcher any more."""
    with pytest.raises(RuntimeError) as told, Signals():
        send(signal.SIGTERM)
        raise RuntimeError('lost')
    assert told.value.signal == signal.SIGTERM
    with pytest.raises(RuntimeError) as told, Signals():
        raise RuntimeError('another fault')
    assert not hasattr(told.value, 'signal')


def test_a_thread_takes_no_signals():
    found = []

    def run():
        with Signals() as signals:
            found.append(signals.caught)

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert found == [0] and signal.getsignal(signal.SIGTERM) == before


def test_a_child_that_was_forked_ignores_them(monkeypatch, capfd):
    with Signals() as signals:
        here = os.getpid()
        monkeypatch.setattr(os, 'getpid', lambda: here + 1)
        os.kill(here, signal.SIGUSR1)
        assert not signals.caught
    assert capfd.readouterr().err == ''


def test_handlers_that_python_cannot_put_back_stay(monkeypatch):
    signals = Signals()
    with signals:
        original, signals._before[signal.SIGUSR1] = signals._before[signal.SIGUSR1], None
    assert signal.getsignal(signal.SIGUSR1) == signals._note
    signal.signal(signal.SIGUSR1, original)
