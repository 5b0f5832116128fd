# Hushfold. `make` lists what there is; every target sets up what it needs.
# Nothing has to be installed but Python 3.11, make and git.

PYTHON ?= python3.11
UV := .tools/bin/uv
BIN := .venv/bin
DATA ?= ../shared/data

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-fast lint format models clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 22

setup: $(BIN)/.synced  ## create .venv with everything that the lock file names

$(UV):
	@command -v $(PYTHON) >/dev/null || { echo "Hushfold needs Python 3.11 ($(PYTHON) was not found). Install it, or name it: make PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv .tools
	.tools/bin/pip install --quiet --disable-pip-version-check 'uv>=0.9'

$(BIN)/.synced: $(UV) uv.lock pyproject.toml setup.cfg
	$(UV) sync --frozen --quiet --python $(PYTHON)
	@touch $@

# Sizes of the demo: make demo N=60 LOST=10 ROUNDS=4 SEED=2 TEXTS=people.jsonl.gz
N ?= 24
DEMO_OPTIONS = --phones $(N) $(if $(LOST),--lost $(LOST)) $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(SEED),--seed $(SEED)) \
	$(if $(TEXTS),--texts $(TEXTS))

demo: setup  ## the main job, from typing to the adopted release (N=60 LOST=10 ROUNDS=4 TEXTS=people.jsonl.gz)
	@$(BIN)/hushfold-demo run $(DEMO_OPTIONS)

models: setup  ## train the base model on public text (DATA=folder with text/*-public.jsonl.gz) and build its artifacts
	HUSHFOLD_DATA=$(DATA) $(BIN)/hushfold-models train
	$(BIN)/hushfold-models build

test: setup  ## run the whole test suite
	$(BIN)/pytest

test-fast: setup  ## run the tests that take seconds
	$(BIN)/pytest -m "not slow and not tff"

lint: setup  ## check style, types and the import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --config setup.cfg

format: setup  ## format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:  ## remove what was built (not the environment)
	rm -rf build .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
