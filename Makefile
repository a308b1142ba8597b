# Two commands: `make bench` shows the product, `make test` proves it. `make help` lists all.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check -q

.PHONY: bench bench-hot bench-peers test check lint types help clean

bench: $(VENV)/.base  ## run the suite field-guide on the embedded gateway; prints the report's path
	@$(BIN)/tailproof run field-guide

test: $(VENV)/.dev  ## install the development extras and run the tests
	@$(BIN)/python -m pytest

check: lint types test  ## lint, types and tests: what has to pass before a commit

lint: $(VENV)/.dev
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(VENV)/.dev
	@$(BIN)/mypy bench benchmarks tests --exclude tests/show/
	@$(BIN)/mypy tests/show  # by itself: two folders have a conftest.py

bench-hot: $(VENV)/.base  ## the hot path in µs, beside its stored baseline
	@$(BIN)/python benchmarks/hot.py

bench-peers: $(VENV)/.base  ## tailproof beside AIPerf and GuideLLM (installs them into .peers, 5 GB)
	@$(BIN)/python benchmarks/peers.py

help:  ## list these targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/' | expand -t 12

clean:  ## remove the environment and caches; results/ stays
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "tailproof needs Python 3.11 or newer: make PYTHON=python3.11 ...")'
	@$(PYTHON) -m venv $(VENV) || { echo "python3-venv is missing: on Debian, apt-get install python3-venv"; exit 1; }

$(VENV)/.base: $(VENV)/bin/python pyproject.toml
	@echo "installing tailproof into $(VENV) ..."
	@$(PIP) install -e .
	@touch $@

$(VENV)/.dev: $(VENV)/bin/python pyproject.toml
	@echo "installing tailproof and its development extras into $(VENV) ..."
	@$(PIP) install -e '.[dev]'
	@touch $@ $(VENV)/.base
