# Two commands: `make demo` scores a phantom (or STUDY=folder), `make test` runs the tests.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

PYTHON ?= $(firstword $(shell command -v python3.11) $(shell command -v python3) python3.11)
VENV := .venv
TRAINING_VENV := .venv-training
MAP_VENV := .venv-map
CONTAINER_TESTS := tests/e2e/test_container.py tests/e2e/test_map.py
OUT ?= out/demo
RUNS ?= runs
# As --accelerator gpu
REPRODUCE_FLAGS ?=
PIP := -m pip --disable-pip-version-check --quiet
# In CI a missing tool fails its test; elsewhere the test is skipped with the reason.
PYTEST_FLAGS ?=

.PHONY: help demo map test test-runtime test-container test-training lint env env-training machine untrained-model reproduce lock clean

help:
	@sed -n 's/^## //p' $(MAKEFILE_LIST)

## make demo [STUDY=folder]   score a phantom study, or a study of yours, into out/demo
demo: $(VENV)/ready
ifdef STUDY
	@$(VENV)/bin/pdl1es run "$(STUDY)" "$(OUT)/report"
else
	@rm -rf "$(OUT)"
	@$(VENV)/bin/pdl1es phantom "$(OUT)/study"
	@$(VENV)/bin/pdl1es run "$(OUT)/study" "$(OUT)/report"
endif

## make test                  all tests: the chain in its own environment without torch, then the training's
test: test-runtime test-training

test-runtime: $(VENV)/tested
	$(VENV)/bin/python -m pytest tests --ignore=tests/training $(addprefix --ignore=,$(CONTAINER_TESTS)) $(PYTEST_FLAGS)

## make test-container        build the images and run them (needs Docker, or root on Debian; about 6 minutes)
test-container: $(VENV)/tested
	$(VENV)/bin/python -m pytest $(CONTAINER_TESTS) $(PYTEST_FLAGS)

test-training: $(TRAINING_VENV)/ready
	$(TRAINING_VENV)/bin/python -m pytest tests/training $(PYTEST_FLAGS)

## make lint                  ruff and mypy
lint: $(VENV)/tested $(TRAINING_VENV)/ready
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy -p app -p operators -p pdl1es
	$(TRAINING_VENV)/bin/mypy -p training # where torch is, whose types it is checked against

## make env                   the run time's environment (.venv)
env: $(VENV)/ready

## make env-training          the environment with torch and monai (.venv-training)
env-training: $(TRAINING_VENV)/ready

## make map                   the MAP as MONAI Deploy's packager makes it (needs Docker with buildx; docs/deploy.md)
map: $(MAP_VENV)/ready
	@package/map.sh $(MAP_VENV)

# What has to be on the machine is asked for before anything is installed, each with its remedy.
machine:
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null || { \
	  echo "Python 3.11 is needed (pyradiomics 3.0.1 builds on no newer one); '$(PYTHON)' is not it." >&2; \
	  echo "Remedy: apt-get install python3.11 python3.11-venv python3.11-dev, or make PYTHON=/path/to/python3.11 ..." >&2; exit 2; }
	@"$(PYTHON)" -c 'import venv, ensurepip' 2>/dev/null || { \
	  echo "Python's venv module is missing. Remedy: apt-get install python3.11-venv" >&2; exit 2; }
	@"$(PYTHON)" -c 'import os, sys, sysconfig; sys.exit(not os.path.isfile(os.path.join(sysconfig.get_path("include"), "Python.h")))' || { \
	  echo "Python's headers are missing (pyradiomics is compiled). Remedy: apt-get install python3.11-dev" >&2; exit 2; }
	@command -v cc >/dev/null || command -v gcc >/dev/null || { \
	  echo "A C compiler is missing (pyradiomics is compiled). Remedy: apt-get install gcc libc6-dev" >&2; exit 2; }

# The packager looks at the versions of the framework that are installed, and imports none of it.
$(MAP_VENV)/ready: constraints.txt | machine
	@"$(PYTHON)" -m venv $(MAP_VENV)
	@$(MAP_VENV)/bin/python $(PIP) install -c constraints.txt pip
	@$(MAP_VENV)/bin/python $(PIP) install -c constraints.txt holoscan-cli wheel-axle-runtime
	@$(MAP_VENV)/bin/python $(PIP) install -c constraints.txt --no-deps holoscan-cu13 monai-deploy-app-sdk
	@touch $@

# pyradiomics 3.0.1 builds only where numpy and setuptools are already there, without build isolation. The first start
# of Python after holoscan's installation makes its links, which needs write access: so it happens here.
define install_base
	"$(PYTHON)" -m venv $(1)
	$(1)/bin/python $(PIP) install -c constraints.txt pip setuptools wheel numpy
	$(1)/bin/python $(PIP) install -c constraints.txt --no-build-isolation pyradiomics==3.0.1
	$(1)/bin/python $(PIP) install -c constraints.txt -r requirements.txt
endef

$(VENV)/ready: requirements.txt constraints.txt pyproject.toml | machine
	@echo "Preparing $(VENV) (about a minute the first time) ..." >&2
	@$(call install_base,$(VENV))
	@$(VENV)/bin/python $(PIP) install --no-deps --no-build-isolation -e .
	@$(VENV)/bin/python -c pass
	@touch $@

$(VENV)/tested: $(VENV)/ready tests/requirements.txt
	@$(VENV)/bin/python $(PIP) install -c constraints.txt -r tests/requirements.txt
	@touch $@

$(TRAINING_VENV)/ready: requirements.txt training/requirements.txt tests/requirements.txt constraints.txt pyproject.toml | machine
	@echo "Preparing $(TRAINING_VENV) (torch and monai: a few minutes the first time) ..." >&2
	@$(call install_base,$(TRAINING_VENV))
	@$(TRAINING_VENV)/bin/python $(PIP) install -c constraints.txt torch==2.13.0
	@$(TRAINING_VENV)/bin/python $(PIP) install -c constraints.txt -r training/requirements.txt -r tests/requirements.txt
	@$(TRAINING_VENV)/bin/python $(PIP) install --no-deps --no-build-isolation -e .
	@$(TRAINING_VENV)/bin/python -c pass
	@touch $@

## make untrained-model       write a seeded, untrained model into out/untrained, to try the chain's contract with
untrained-model: $(TRAINING_VENV)/ready
	$(TRAINING_VENV)/bin/python -m training.untrained out/untrained

## make reproduce [SMALL=1]   from nothing to model and report, on a synthetic cohort; goes on where it stopped
reproduce: $(TRAINING_VENV)/ready
	@$(TRAINING_VENV)/bin/pdl1es reproduce $(if $(SMALL),--small "$(RUNS)/small","$(RUNS)/full") $(REPRODUCE_FLAGS)

## make lock                  write constraints.txt from the two environments as they are
lock: $(VENV)/tested $(TRAINING_VENV)/ready
	@{ echo '# The exact version of everything that run time, training and tests install; made by `make lock`.'; \
	   for venv in $(VENV) $(TRAINING_VENV); do $$venv/bin/python -m pip freeze --all --exclude-editable; done \
	   | grep '==' | sed 's/+cpu$$//' | sort -f -u; } > constraints.txt

## make clean                 remove environments and outputs
clean:
	rm -rf $(VENV) $(TRAINING_VENV) $(MAP_VENV) out build dist *.egg-info
