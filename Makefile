# The two commands that matter: `make quickstart` and `make test`. Each sets up all that it needs.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DEVELOPING := $(VENV)/.developing

.DEFAULT_GOAL := help
.PHONY: help quickstart test check clean

help:  ## Show this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

quickstart: $(READY)  ## Measure this machine, search, and export checked models, in a few minutes
	$(BIN)/hwnas quickstart --output runs/quickstart

test: $(DEVELOPING)  ## Run the tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow and not device and not gpu" -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

check: $(DEVELOPING)  ## Formatting, lint, types and the layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

clean:  ## Remove the virtual environment
	rm -rf $(VENV)

$(READY): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "hwnas needs Python 3.11 or newer: make PYTHON=python3.12 …")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(DEVELOPING): $(READY)
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@
