# Each target does its own set-up: a virtual environment in VENV, made by PYTHON, with this tree
# installed in it as editable. pip runs again when setup.cfg changes.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
# Kodak's 24 pictures as PNG, and what is measured on them.
KODAK ?= kodak
MODELS = mbt-paon-small-variable-v5
CODECS = jpeg webp avif jpeg2000

.DELETE_ON_ERROR:
.PHONY: help demo test test-all kodak lint format clean

help:
	@echo 'make demo      encode and decode a photograph, print bytes, bpp and PSNR'
	@echo 'make test      the tests, but for the slow ones'
	@echo 'make test-all  all tests'
	@echo 'make kodak     measure everything on the pictures in KODAK, for the README (15 to 30 minutes)'
	@echo 'make lint      ruff and mypy'
	@echo 'make format    let ruff rewrite the sources'
	@echo 'make clean     remove VENV and all that was built'
	@echo 'Variables: VENV=$(VENV) PYTHON=$(PYTHON) KODAK=$(KODAK)'

demo: $(VENV)/.synced-base
	$(BIN)/python tools/demo.py

# In two processes of one thread: the tests' networks are so small that a second thread costs more
# than it brings.
test: $(VENV)/.synced-test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m 'not slow' -n 2

# With MONAI, whose figures some of the slow tests are of.
test-all: $(VENV)/.synced-test,surfaces
	$(BIN)/python -m pytest

# One picture at a time, so that the times mean something.
kodak: $(VENV)/.synced-eval
	mkdir -p docs/results
	for name in $(MODELS); do \
	    $(BIN)/paoncodec eval --model $$name --images $(KODAK) --dataset kodak \
	        --threads 2 --json docs/results/$$name.json --force || exit; done
	for name in $(CODECS); do \
	    $(BIN)/paoncodec eval --codec $$name --images $(KODAK) --dataset kodak \
	        --threads 2 --json docs/results/$$name.json --force || exit; done
	$(BIN)/python tools/readme_kodak.py

lint: $(VENV)/.synced-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.synced-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) build dist *.egg-info

# The stamps, one for each set of dependencies: .synced-base, .synced-eval, .synced-test, ...
$(VENV)/.synced-%: setup.cfg pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --editable '.$(if $(filter base,$*),,[$*])'
	touch $@

.PRECIOUS: $(VENV)/.synced-%

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
