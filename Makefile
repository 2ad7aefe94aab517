# make demo    train a small study from a fresh clone and say where its page is
# make test    the test suite; test-fast leaves out the slow ones
# make lint    style
# make bench-mgf-reading               one of the benchmarks, ARGS="--repeats 3"
#
# pip takes PyTorch with CUDA by default; for a machine without a GPU, and a much smaller download:
#   make demo PIP_FLAGS="--extra-index-url https://download.pytorch.org/whl/cpu"

PYTHON ?= python3
VENV ?= .venv
JOBS ?= 2
PIP_FLAGS ?=
ARGS ?=

.PHONY: demo test test-fast lint clean
.DEFAULT_GOAL := demo

# The stamps are older than pyproject.toml only when it has changed: nothing is installed twice.
$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: pyproject.toml | $(VENV)/bin/python
	$(VENV)/bin/python -m pip install --quiet $(PIP_FLAGS) --editable .
	touch $@

$(VENV)/installed-dev: pyproject.toml | $(VENV)/bin/python
	$(VENV)/bin/python -m pip install --quiet $(PIP_FLAGS) --editable '.[dev]'
	touch $(VENV)/installed $@

demo: $(VENV)/installed
	$(VENV)/bin/trimer train experiment=demo $(ARGS)
	@echo "The page with spectra and structures: $$(find runs/demo -name '*.html' | xargs ls -t | head -n 1)"

test: $(VENV)/installed-dev
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -n $(JOBS) $(ARGS)

test-fast: $(VENV)/installed-dev
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -n $(JOBS) -m "not slow" $(ARGS)

lint: $(VENV)/installed-dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

bench-%: $(VENV)/installed-dev
	$(VENV)/bin/python benchmarks/$(subst -,_,$*).py $(ARGS)

clean:
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
