# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Fixtures for the tests of the tools: fake programs."""

import pytest


@pytest.fixture
def fake_program(tmp_path, monkeypatch):
    """A function that puts a program first on PATH; it only prints its arguments, one per line."""

    def put(name):
        folder = tmp_path / 'fake bin'
        folder.mkdir(exist_ok=True)
        file = folder / name
        file.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
        file.chmod(0o755)
        monkeypatch.setenv('PATH', f'{folder}:/usr/bin:/bin')

    return put
