# make demo    the main job on embedded real data, with the core dependencies alone
# make test    the test suite            make check   format, lint and types
# make docs    the site, into site/      make bench   benchmarks: make bench DATA=folder ONLY=start-up
# Each sets up .venv once. Another Python: make PYTHON=python3.12 demo

PYTHON ?= python3
VENV ?= .venv
PYTEST_FLAGS ?= -n 2
bin := $(VENV)/bin
install = $(bin)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.DEFAULT_GOAL := help
.PHONY: help demo test check bench docs clean

help:
	@sed -n 's/^# //p' Makefile

demo: $(VENV)/.core
	$(bin)/medloom demo

test: $(VENV)/.dev
	OMP_NUM_THREADS=1 $(bin)/python -m pytest $(PYTEST_FLAGS)

check: $(VENV)/.dev
	$(bin)/ruff format --check .
	$(bin)/ruff check .
	$(bin)/mypy

bench: $(VENV)/.dev
	$(bin)/python -m benchmarks $(if $(DATA),--data "$(DATA)") $(if $(ONLY),--only "$(ONLY)") $(BENCH_FLAGS)

docs: $(VENV)/.docs
	$(bin)/python docs/generate.py
	NO_MKDOCS_2_WARNING=1 $(bin)/mkdocs build --strict --quiet

clean:
	rm -rf $(VENV) build dist site .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.python:
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) was not found; medloom needs Python 3.11 or newer (make PYTHON=/path/to/python3.11 ...)"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "found $$($(PYTHON) --version); medloom needs Python 3.11 or newer (make PYTHON=/path/to/python3.11 ...)"; exit 1; }
	@test -x $(bin)/python || $(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.core: $(VENV)/.python pyproject.toml constraints.txt
	@echo "installing medloom and its core dependencies into $(VENV) (once)"
	@$(install) --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.core
	@echo "adding what tests and checks need (once)"
	@$(install) --editable '.[dev]'
	@touch $@

$(VENV)/.docs: $(VENV)/.core
	@echo "adding what the site needs (once)"
	@$(install) --editable '.[docs]'
	@touch $@
