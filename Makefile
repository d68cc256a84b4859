# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
# Every target makes the environment first where it is missing. `make help` tells the rest.

# openmmlab or onedl: two sets of the same modules, so each has a folder of its own.
STACK ?= openmmlab
VENV ?= $(if $(filter onedl,$(STACK)),.venv-onedl,.venv)
# The interpreter a new environment is made with: 3.11 or 3.12, as the lock files need.
PYTHON ?= python3

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint

help:
	@echo 'make demo        a small end-to-end run on toy data, on a CPU'
	@echo 'make test        all tests'
	@echo 'make lint        ruff: rules and format'
	@echo 'make setup       the environment only; mmcv is compiled once, about 15 minutes on 2 cores'
	@echo
	@echo 'STACK=openmmlab  or onedl: the maintained fork, in a folder of its own (.venv-onedl)'
	@echo 'VENV=.venv       the environment; one that has a torch of your own (CUDA) keeps it'
	@echo 'PYTHON=python3   the interpreter for a new environment: 3.11 or 3.12'
	@echo 'MAX_JOBS=2       compiler processes side by side; default: one per cpu, 2 GiB each'

setup:
	@$(PYTHON) tools/setup_env.py --stack $(STACK) --venv $(VENV)

demo: setup
	$(VENV)/bin/python tools/demo.py

test: setup
	$(VENV)/bin/python -m pytest

lint: setup
	$(VENV)/bin/python -m ruff check .
	$(VENV)/bin/python -m ruff format --check .
