# Set-up and the commands that people and continuous integration run. `make demo` and `make test` need only
# Python 3.11 or newer, make and a C-less pip: everything goes into .venv.

# The first of these that runs and is new enough; python3.11 is what the constraints were resolved for.
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for python in python3.11 python3.12 python3.13 python3; do \
	$$python -c '$(NEW_ENOUGH)' 2>/dev/null && echo $$python && break; done)
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
DEMO_OUT ?= runs/demo
# Tests at once. On two cores a third worker costs more than it brings: each collects all tests and starts Ray anew.
JOBS ?= 2
# Where tests put files: in memory if there is room, because hundreds of them wait for a disk otherwise.
TEST_FILES ?= $(or $(TMPDIR),$(shell df -Pk /dev/shm 2>/dev/null | awk 'NR == 2 && $$4 > 4000000 { print "/dev/shm" }'))

.PHONY: help demo test lint types unit format clean

help:  ## Show the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:[^#]*## /\t/' | expand -t 12

# PIP_CONSTRAINT, unlike -c, also pins what pip builds this package with.
$(INSTALLED): pyproject.toml .ci/constraints.txt
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || { \
		$(PYTHON) -c '$(NEW_ENOUGH)' 2>/dev/null || { \
			echo 'Python 3.11 or newer is needed, not found on PATH. Install it, or: make PYTHON=/path/to/python' >&2; \
			exit 1; }; \
		$(PYTHON) -m venv $(VENV); }
	PIP_CONSTRAINT=.ci/constraints.txt $(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

demo: $(INSTALLED)  ## Train a teacher, serve it behind a meter, distil it over HTTP, report
	$(BIN)/python -m edge.experiments.demo --out $(DEMO_OUT)

test: lint  ## All checks
	@$(MAKE) --no-print-directory -j 2 types unit

lint: $(INSTALLED)  ## Style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(INSTALLED)  ## Strict types, tests included
	$(BIN)/mypy

# With bytecode, or each of the hundreds of processes that tests start would compile all modules anew.
unit: $(INSTALLED)  ## Tests
	PYTHONDONTWRITEBYTECODE= $(if $(TEST_FILES),TMPDIR=$(TEST_FILES)) $(BIN)/python -m pytest -n $(JOBS) --dist worksteal

format: $(INSTALLED)  ## Rewrite the code in the project's style
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:  ## Remove what the targets made
	rm -rf $(VENV) *.egg-info runs
