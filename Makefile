# `make demo` and `make test` set everything up on their own, once: a Python of 3.11 or newer is all
# they need. `make PYTHON=python3.12 test` chooses another Python.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
TORCH := $(shell grep '^torch==' constraints.txt)
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2
PROMPT := a small red circle moves left on a navy background

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-all fuzz check lint types arrows format pin-cli ship clean

help: ## list what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(INSTALLED) ## create .venv and install the library with everything that tests need

$(INSTALLED): pyproject.toml constraints.txt
	@test -x $(BIN)/pip || $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Kinema needs Python 3.11 or newer; try: make PYTHON=python3.12"; exit 1; }
	@test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV), once; torch is large, so this takes a few minutes"
	@$(BIN)/python -m pip install -qq -c constraints.txt $(TORCH)
	@$(BIN)/python -m pip install -qq -c constraints.txt -e '.[dev]'
	@touch $@

demo: $(INSTALLED) ## write demo.mp4 and its contact sheet demo.png with the shipped model
	$(BIN)/kinema generate "$(PROMPT)" --output demo.mp4 --overwrite

test: check ## check the laws and run every quick test
	$(PYTEST) -m "not slow"

test-all: check ## the same with the slow tests
	$(PYTEST)

fuzz: $(INSTALLED) ## read 10,000 spoilt clips and 1,000 checkpoints, kill 200 trainings; goes on if stopped
	$(BIN)/python bench/fuzz_inputs.py media --count 10000 --json runs/fuzz/media.json
	$(BIN)/python bench/fuzz_inputs.py checkpoints --count 1000 --json runs/fuzz/checkpoints.json
	$(BIN)/python bench/kill_trainings.py --count 200 --json runs/fuzz/kills.json

check: lint types arrows

lint: $(INSTALLED)
	$(BIN)/ruff format --check --quiet
	$(BIN)/ruff check --quiet

types: $(INSTALLED)
	$(BIN)/mypy

arrows: $(INSTALLED)
	$(BIN)/lint-imports --no-logo

format: $(INSTALLED) ## format the code and mend what the linter can mend
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

pin-cli: $(INSTALLED) ## record the verbs and options of the command line as intended
	$(BIN)/python tests/laws/test_cli_surface.py

ship: $(INSTALLED) ## store RUN=.../model.safetensors in bf16 as the shipped ltx_video:shapes
	$(BIN)/python bench/ship.py $(RUN)

clean: ## remove caches and what the demo wrote; .venv stays
	rm -rf .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis dist build
	rm -f demo.mp4 demo.png demo.json
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +
