# The few commands of a contributor. PYTHON picks the interpreter that `make setup` builds the environment with.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help setup format lint types test test-all docs docs-update screenshots speed check tables clean

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 14

setup:  ## environment in .venv, editable install, git hooks
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -e ".[test,lint,pocket,docs]"
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/pre-commit install

format:  ## rewrite the sources in house style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lint:  ## style and simple mistakes, nothing is changed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types:  ## mypy --strict
	$(BIN)/mypy

test:  ## the quick tests
	$(BIN)/pytest

test-all:  ## all tests, the slow ones too
	$(BIN)/pytest -m "slow or not slow"

docs:  ## the documentation as a site/, warnings are errors
	$(BIN)/mkdocs build --strict

docs-update:  ## write what commands print today into README and docs
	UPDATE_DOCUMENTATION=1 $(BIN)/pytest -m "slow or not slow" tests/harness/test_documentation.py tests/harness/test_notebook.py

screenshots:  ## terminal and page as the documentation shows them
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python docs/screenshots.py

speed:  ## the hot paths against tests/benchmarks/speed.json
	mkdir -p .benchmarks
	OMP_NUM_THREADS=1 $(BIN)/pytest tests/benchmarks -q -m "gate and not slow" --benchmark-only \
	  --benchmark-timer=time.process_time --benchmark-json=.benchmarks/speed.json
	$(BIN)/syncdiff-bench check .benchmarks/speed.json --baseline tests/benchmarks/speed.json --tolerance 2

check: lint types docs test-all speed  ## what CI runs

tables:  ## the paper's tables as Markdown
	$(BIN)/syncdiff-bench paper tables

clean:  ## remove caches and build outputs
	rm -rf build dist site .mypy_cache .pytest_cache .ruff_cache .hypothesis .benchmarks
	find . -name __pycache__ -type d -not -path "./$(VENV)/*" -prune -exec rm -rf {} +
