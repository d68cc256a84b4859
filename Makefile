# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
# Every target creates the environment first if it is missing. `make help` lists the targets.

# openmmlab or onedl: both provide the same modules, so each has its own environment.
STACK ?= openmmlab
VENV ?= $(if $(filter onedl,$(STACK)),.venv-onedl,.venv)
# For setup: 1 refuses packages whose hashes differ from those of requirements/hashes.
HASHES ?=
# The oldest version that requirements/runtime.txt allows.
TORCH ?= 2.1.2
# The interpreter for a new environment: 3.11 or 3.12, which the lock files need.
PYTHON ?= python3
# For mutants: a commit, to try only the files changed since, for ten minutes; options of
# tests/mutation/run.py.
SINCE ?=
ARGS ?=
# For soak: how often runs are killed.
KILLS ?= 50
# Processes that run tests side by side; each takes 2 GiB of memory.
JOBS ?= 2

.DEFAULT_GOAL := help
.PHONY: help setup demo demo-seg test test-torch lint mutants soak

help:
	@echo 'make demo        train and evaluate a small detector on toy data, on a CPU'
	@echo 'make demo-seg    the same with a small segmentor'
	@echo 'make test        lint, then all tests'
	@echo 'make test-torch  test backbone, learning rates and checkpoints on another torch'
	@echo 'make mutants     put faults into the package and list those that no test notices'
	@echo 'make soak        kill and resume toy runs, and compare; KILLS=50'
	@echo 'make lint        ruff: rules and format; clang-format'
	@echo 'make setup       create the environment only; compiles mmcv once, 2 minutes on 2 cores'
	@echo
	@echo 'STACK=openmmlab  or onedl, the maintained fork; it has its own environment, .venv-onedl'
	@echo 'VENV=.venv       the environment; if it has a torch already (CUDA), that torch is kept'
	@echo 'HASHES=1         for setup: refuse packages whose SHA-256 differs from requirements/hashes'
	@echo 'PYTHON=python3   the interpreter for a new environment: 3.11 or 3.12'
	@echo 'JOBS=2           processes that run the tests'
	@echo 'TORCH=2.1.2      the torch for test-torch; known to pass: 2.1.2 (the oldest), 2.4.1'
	@echo 'SINCE=main       for mutants: only the files changed since this commit, ten minutes'
	@echo 'ARGS=PATH        for mutants: a folder or file, or options of tests/mutation/run.py'
	@echo 'MAX_JOBS=2       parallel compiler processes; default: one per CPU, 2 GiB of memory each'

setup:
	@$(PYTHON) tools/setup_env.py --stack $(STACK) --venv "$(VENV)" $(if $(HASHES),--hashes)

demo: setup
	"$(VENV)/bin/python" tools/demo.py

demo-seg: setup
	"$(VENV)/bin/python" tools/demo.py --task semantic

test: lint
	"$(VENV)/bin/python" -m pytest -n $(JOBS) --dist worksteal

# In an environment without mmcv and mmdet. The package is installed as a copy, so that the compiled
# library of the checkout stays; bin/pytest, unlike python -m pytest, imports that copy.
# numpy<2: torch before 2.3 needs it. torch 2.1 has no wheels for Python 3.12.
# -W default: warnings of another torch are shown, not errors.
test-torch: OLD = .venv-torch-$(TORCH)/bin
test-torch:
	$(PYTHON) -m venv .venv-torch-$(TORCH)
	$(OLD)/pip install -q torch==$(TORCH) 'numpy<2' safetensors pytest 'setuptools<81' wheel \
		$(shell grep '^mmengine==' requirements/openmmlab.txt)
	$(OLD)/pip install -q --no-build-isolation --no-deps --force-reinstall .
	$(OLD)/pytest -W default tests/test_models tests/test_optim tests/test_checkpoint \
		$(patsubst %,tests/test_kernels/test_%.py,block compat library selection)

lint: setup
	"$(VENV)/bin/python" -m ruff check .
	"$(VENV)/bin/python" -m ruff format --check .
	"$(VENV)/bin/clang-format" --dry-run --Werror mmconvnext/kernels/csrc/*.h mmconvnext/kernels/csrc/*.cpp

# Stop it and call it again as you like.
soak: setup
	"$(VENV)/bin/python" tools/soak.py --kills $(KILLS)

# Stop it and call it again as you like.
mutants: setup
	"$(VENV)/bin/pip" install -q -r requirements/mutants.txt -c requirements/$(STACK).txt
	"$(VENV)/bin/python" tests/mutation/run.py $(if $(SINCE),--since $(SINCE) --minutes 10) $(ARGS)
