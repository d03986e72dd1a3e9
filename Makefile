# Each target does its own set-up: a virtual environment in VENV, made by PYTHON, with this tree
# installed in it as editable. pip runs again when setup.cfg changes.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin

.DELETE_ON_ERROR:
.PHONY: help demo test test-all lint format clean

help:
	@echo 'make demo      encode and decode a photograph, print bytes, bpp and PSNR'
	@echo 'make test      the tests, but for the slow ones'
	@echo 'make test-all  all tests'
	@echo 'make lint      ruff and mypy'
	@echo 'make format    let ruff rewrite the sources'
	@echo 'make clean     remove VENV and all that was built'
	@echo 'Variables: VENV=$(VENV) PYTHON=$(PYTHON)'

demo: $(VENV)/.synced-base
	$(BIN)/python tools/demo.py

test: $(VENV)/.synced-test
	$(BIN)/python -m pytest -m 'not slow'

test-all: $(VENV)/.synced-test
	$(BIN)/python -m pytest

lint: $(VENV)/.synced-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.synced-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) build dist *.egg-info

# The stamps, one for each set of dependencies: .synced-base, .synced-test, .synced-dev.
$(VENV)/.synced-%: setup.cfg pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --editable '.$(if $(filter base,$*),,[$*])'
	touch $@

.PRECIOUS: $(VENV)/.synced-%

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
