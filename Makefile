# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
# Every target makes the environment first where it is missing. `make help` tells the rest.

# openmmlab or onedl: two sets of the same modules, so each has a folder of its own.
STACK ?= openmmlab
VENV ?= $(if $(filter onedl,$(STACK)),.venv-onedl,.venv)
# The oldest that requirements/runtime.txt allows.
TORCH ?= 2.1.2
# The interpreter a new environment is made with: 3.11 or 3.12, as the lock files need.
PYTHON ?= python3

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-torch lint

help:
	@echo 'make demo        a small end-to-end run on toy data, on a CPU'
	@echo 'make test        all tests'
	@echo 'make test-torch  backbone, learning rates and checkpoints on another torch (TORCH=2.1.2)'
	@echo 'make lint        ruff: rules and format'
	@echo 'make setup       the environment only; mmcv is compiled once, about 15 minutes on 2 cores'
	@echo
	@echo 'STACK=openmmlab  or onedl: the maintained fork, in a folder of its own (.venv-onedl)'
	@echo 'VENV=.venv       the environment; one that has a torch of your own (CUDA) keeps it'
	@echo 'PYTHON=python3   the interpreter for a new environment: 3.11 or 3.12'
	@echo 'TORCH=2.1.2      of test-torch; what is tested: 2.1.2 (the oldest), 2.4.1 and the lock files'
	@echo 'MAX_JOBS=2       compiler processes side by side; default: one per cpu, 2 GiB each'

setup:
	@$(PYTHON) tools/setup_env.py --stack $(STACK) --venv $(VENV)

demo: setup
	$(VENV)/bin/python tools/demo.py

test: setup
	$(VENV)/bin/python -m pytest

# In a folder of its own, with neither mmcv nor mmdet. The package is installed as a copy, so that
# the library of the checkout stays; bin/pytest, unlike python -m pytest, then imports that copy.
# numpy: torch before 2.3 was compiled for 1. Of torch 2.1, there is none for Python 3.12.
test-torch: OLD = .venv-torch-$(TORCH)/bin
test-torch:
	$(PYTHON) -m venv .venv-torch-$(TORCH)
	$(OLD)/pip install -q torch==$(TORCH) 'numpy<2' safetensors pytest 'setuptools<81' wheel \
		$(shell grep '^mmengine==' requirements/openmmlab.txt)
	$(OLD)/pip install -q --no-build-isolation --no-deps --force-reinstall .
	$(OLD)/pytest tests/test_models tests/test_optim tests/test_checkpoint \
		$(patsubst %,tests/test_kernels/test_%.py,block compat library selection)

lint: setup
	$(VENV)/bin/python -m ruff check .
	$(VENV)/bin/python -m ruff format --check .
