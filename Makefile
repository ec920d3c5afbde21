# Set-up and the commands that people and continuous integration run. `make demo` and `make test` need only
# Python 3.11 or newer, make and a C-less pip: everything goes into .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
DEMO_OUT ?= runs/demo

.PHONY: help demo test lint types unit format clean

help:  ## Show the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:[^#]*## /\t/' | expand -t 12

$(INSTALLED): pyproject.toml .ci/constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c .ci/constraints.txt -e '.[dev]'
	@touch $@

demo: $(INSTALLED)  ## Train a teacher, serve it behind a meter, distil it over HTTP, report
	$(BIN)/python -m edge.experiments.demo --out $(DEMO_OUT)

test: lint types unit  ## All checks

lint: $(INSTALLED)  ## Style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(INSTALLED)  ## Strict types, tests included
	$(BIN)/mypy

unit: $(INSTALLED)  ## Tests
	$(BIN)/python -m pytest

format: $(INSTALLED)  ## Rewrite the code in the project's style
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:  ## Remove what the targets made
	rm -rf $(VENV) *.egg-info runs
