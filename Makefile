# `make search` and `make test` set up what they need in .venv, once, and again when
# pyproject.toml or constraints.txt changes.

PYTHON ?= python3
BUDGET ?= 2.4GFLOPs
SEED ?= 0
ARGS ?=
WORKERS ?= 2

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
RUN := $(VENV)/.installed-run
DEV := $(VENV)/.installed-dev
MOBILE_VENV := .venv-mobile
MOBILE := $(MOBILE_VENV)/.installed
DATA := dataset-fashion-mnist
SUDO = $(if $(filter 0,$(shell id -u)),,sudo)

.PHONY: search test mobile postgres chromium lint format data clean

search: $(RUN)
	$(BIN)/smt-nas search --budget "$(BUDGET)" --seed $(SEED) $(ARGS)

# one torch thread a worker: two that wait on each other are several times slower than one
test: lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) $(ARGS)

# converters of phones' formats, for their tests: large, so once, and only in CI or when asked for
mobile: $(MOBILE)

# the server that tests of shared studies start; without it they are skipped
postgres:
	@ls /usr/lib/postgresql/*/bin/initdb > /dev/null 2>&1 || command -v initdb > /dev/null || \
	  $(SUDO) apt-get install --yes postgresql >&2 || \
	  { $(SUDO) apt-get update && $(SUDO) apt-get install --yes postgresql; } >&2

# the browser that tests of pages start; without it they are skipped
chromium:
	@command -v chromium > /dev/null || \
	  $(SUDO) apt-get install --yes --no-install-recommends chromium >&2 || \
	  { $(SUDO) apt-get update && $(SUDO) apt-get install --yes --no-install-recommends chromium; } >&2

lint: $(DEV)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/deptry .

format: $(DEV)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Fashion-MNIST from Debian, for `smt-nas train`; the tool itself downloads nothing
data:
	@command -v apt-get > /dev/null || { \
	  echo "make data: needs apt-get (got none). Put the four idx files of Fashion-MNIST" \
	       "into a folder DIR yourself: --data fashion-mnist:DIR" >&2; exit 1; }
	@dpkg -L $(DATA) > /dev/null 2>&1 || $(SUDO) apt-get install --yes $(DATA) >&2 || \
	  { $(SUDO) apt-get update && $(SUDO) apt-get install --yes $(DATA); } >&2
	@file=$$(dpkg -L $(DATA) | grep train-images) && folder=$$(dirname "$$file") && \
	  echo "$$folder" && echo "--data fashion-mnist:$$folder"

clean:
	rm -rf build dist .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find smt_nas tests benchmarks tools -name __pycache__ -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "smt-nas: needs Python 3.11 or later (got $$($(PYTHON) --version 2>/dev/null || echo no $(PYTHON)))." \
	       "Name one: make PYTHON=python3.11" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

$(RUN): pyproject.toml constraints.txt | $(BIN)/python
	@echo "smt-nas: installing into $(VENV) (some minutes, once)" >&2
	$(PIP) -e ".[train,report]"
	@touch $@

$(DEV): pyproject.toml constraints.txt $(RUN)
	$(PIP) -e ".[dev]"
	@touch $@

$(MOBILE): tests/mobile-requirements.txt | $(DEV)
	@echo "smt-nas: installing into $(MOBILE_VENV) (a minute or two, once)" >&2
	$(BIN)/python -m venv --clear $(MOBILE_VENV)
	$(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' > \
	  "$$($(MOBILE_VENV)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/beside.pth"
	$(MOBILE_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps \
	  -r tests/mobile-requirements.txt
	@touch $@
