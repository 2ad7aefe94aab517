# make demo    predict the example spectra with the shipped model and fine-tune it briefly; three minutes, offline
# make demo-scratch    train a small study from nothing and say where its page is
# make models    train and pack all shipped models from the data in TRIMER_DATA; one of them: make pack-<name>
# make study-foodb    repeat a study from the data in TRIMER_DATA and write the tables of its page; SMALL=1: on small data,
#                     into runs/studies-small; also study-spectrums, study-cramming, study-deeploc, study-alphadia
# make test    the test suite; test-fast leaves out the slow ones
# make lint    style (ruff)
# make types   static types of src (mypy)
# make notebooks    execute the notebooks and store their outputs
# make docs    the documentation, in docs/_build/html; works offline once the packages are installed
# make test-xla    the tests of trainer=tpu, compiled for the CPU by torch-xla in an environment of its own (7 GB)
# make test-trackers    the tests with MLflow (a server on SQLite) and Trackio, in a separate environment (2.4 GB)
# make test-hosts   DDP and fsdp2 on two hosts, made of network namespaces; needs root and iproute2
# make test-koinapy    the contract test with Koina's client, which needs protobuf 6, in a folder of its own
# make bench-mgf-reading               one of the benchmarks, ARGS="--repeats 3"
#
# pip takes PyTorch with CUDA by default; for a machine without a GPU, and a much smaller download:
#   make demo PIP_FLAGS="--extra-index-url https://download.pytorch.org/whl/cpu"

PYTHON ?= python3
VENV ?= .venv
XLA_VENV ?= .venv-xla
TRACKERS_VENV ?= .venv-trackers
KOINAPY ?= .koinapy
JOBS ?= 2
PIP_FLAGS ?=
ARGS ?=

.PHONY: demo demo-scratch models test test-fast test-xla test-trackers test-hosts test-koinapy lint types docs notebooks clean
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

$(VENV)/installed-docs: pyproject.toml | $(VENV)/bin/python
	$(VENV)/bin/python -m pip install --quiet $(PIP_FLAGS) --editable '.[docs]'
	touch $@

demo: $(VENV)/installed
	$(VENV)/bin/trimer demo $(ARGS)

demo-scratch: $(VENV)/installed
	$(VENV)/bin/trimer train experiment=demo $(ARGS)
	@echo "The page with spectra and structures: $$(find runs/demo -name '*.html' | xargs ls -t | head -n 1)"

# How each shipped model is trained: the overrides of `trimer train`; ckpt= is an earlier stage, which is trained first.
# A stage is not repeated if its folder exists; one that was stopped: trimer train resume=runs/models/<stage>.
RECIPE_denoise = experiment=spectrums/denoise
RECIPE_simulate = experiment=models/spectrums_simulate ckpt=runs/models/denoise
RECIPE_spectrums = experiment=models/spectrums ckpt=runs/models/simulate
RECIPE_smiles = experiment=models/smiles
RECIPE_superclass = experiment=models/superclass ckpt=runs/models/smiles
RECIPE_peptide-rt = experiment=models/peptide_rt
RECIPE_peptide-charge = experiment=models/peptide_charge ckpt=runs/models/peptide-rt
RECIPE_peptide-ms2 = experiment=models/peptide_ms2
RECIPE_esm2-sample = experiment=models/esm2_sample
RECIPE_membrane = experiment=models/membrane ckpt=runs/models/esm2-sample
PACK_spectrums = weights=int8
PACK_smiles = weights=int8
PACK_superclass = base=smiles weights=int8
PACK_esm2-sample = weights=int8
PACK_membrane = base=esm2-sample weights=int8
MODELS = spectrums smiles superclass peptide-rt peptide-charge peptide-ms2 esm2-sample membrane

STAGES = denoise simulate $(MODELS)
earlier = $(patsubst ckpt=%,%,$(filter ckpt=%,$(RECIPE_$(1))))

models: $(MODELS:%=pack-%)

$(MODELS:%=pack-%): pack-%: runs/models/% | $(VENV)/installed
	$(VENV)/bin/trimer pack ckpt=$< output=src/trimer/pretrained/$* $(PACK_$*)

pack-superclass: pack-smiles
pack-membrane: pack-esm2-sample

.SECONDEXPANSION:
$(STAGES:%=runs/models/%): runs/models/%: | $(VENV)/installed $$(call earlier,$$*)
	$(VENV)/bin/trimer train $(RECIPE_$*) hydra.run.dir=$@ $(ARGS)

# worksteal: each process runs whole folders one after the other, so that few fixtures of modules are built twice.
test: $(VENV)/installed-dev
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -n $(JOBS) --dist worksteal $(ARGS)

test-fast: $(VENV)/installed-dev
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -n $(JOBS) --dist worksteal -m "not slow" $(ARGS)

# torch-xla 2.9 needs torch 2.9, which is older than what pyproject.toml asks for: the other dependencies are read there.
$(XLA_VENV)/installed: pyproject.toml
	$(PYTHON) -m venv $(XLA_VENV)
	$(XLA_VENV)/bin/python -c "import tomllib; \
	  wanted = tomllib.load(open('pyproject.toml', 'rb'))['project']['dependencies']; \
	  print('torch==2.9.1', 'torch-xla==2.9.0', 'pytest>=8.3', 'hatchling>=1.25', \
	        *(name for name in wanted if not name.startswith('torch>')), sep='\n')" > $(XLA_VENV)/requirements.txt
	$(XLA_VENV)/bin/python -m pip install --quiet $(PIP_FLAGS) -r $(XLA_VENV)/requirements.txt
	$(XLA_VENV)/bin/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

test-xla: $(XLA_VENV)/installed
	OMP_NUM_THREADS=1 $(XLA_VENV)/bin/python -m pytest tests/xla $(ARGS)

# MLflow and Trackio ask for versions of pyarrow, pillow and python-dateutil below those of the other packages.
$(TRACKERS_VENV)/installed: pyproject.toml
	$(PYTHON) -m venv $(TRACKERS_VENV)
	$(TRACKERS_VENV)/bin/python -m pip install --quiet $(PIP_FLAGS) --editable '.[mlflow,trackio]' 'pytest>=8.3'
	touch $@

test-trackers: $(TRACKERS_VENV)/installed
	OMP_NUM_THREADS=1 $(TRACKERS_VENV)/bin/python -m pytest tests/trackers/test_mlflow_run.py \
	  tests/trackers/test_trackio_run.py $(ARGS)

test-hosts: $(VENV)/installed-dev
	OMP_NUM_THREADS=1 TRIMER_TEST_HOSTS=1 $(VENV)/bin/python -m pytest tests/integration/test_two_hosts.py $(ARGS)

# koinapy needs protobuf 6. A fresh `.[dev]` has it; where another extra has brought protobuf 7, this is the way to test.
$(KOINAPY)/installed: pyproject.toml | $(VENV)/installed-dev
	$(VENV)/bin/python -m pip install --quiet --upgrade --target $(KOINAPY) 'koinapy>=0.0.10'
	touch $@

test-koinapy: $(KOINAPY)/installed
	OMP_NUM_THREADS=1 PYTHONPATH=$(KOINAPY) $(VENV)/bin/python -m pytest tests/serving/test_grpc_server.py -k koinapy $(ARGS)

lint: $(VENV)/installed-dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

types: $(VENV)/installed-dev
	$(VENV)/bin/mypy

# -W: a warning (a dead link, a page in no toctree) is an error.
docs: $(VENV)/installed-docs
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m sphinx -W --keep-going -b html docs docs/_build/html $(ARGS)

notebooks: $(VENV)/installed-dev
	OMP_NUM_THREADS=1 $(VENV)/bin/python docs/execute_notebooks.py $(ARGS)

study-%: $(VENV)/installed
	$(VENV)/bin/python experiments/make_study.py $* $(if $(SMALL),--small) $(ARGS)

bench-%: $(VENV)/installed-dev
	$(VENV)/bin/python benchmarks/$(subst -,_,$*).py $(ARGS)

clean:
	rm -rf $(VENV) $(XLA_VENV) $(TRACKERS_VENV) $(KOINAPY) build dist docs/_build .pytest_cache .ruff_cache .mypy_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
