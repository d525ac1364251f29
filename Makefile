# Two commands: `make demo` scores a phantom (or STUDY=folder), `make test` runs the tests.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

# The machine's python3 where it will do, else the newest that will
IN_RANGE := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
ifndef PYTHON
PYTHON := $(shell for one in python3 python3.13 python3.12 python3.11; do \
  if "$$one" -c '$(IN_RANGE)' 2>/dev/null; then command -v "$$one"; break; fi; done)
endif
VENV := .venv
TRAINING_VENV := .venv-training
MAP_VENV := .venv-map
LOCK_VENV := .venv-lock
DOCS_VENV := .venv-docs
BUILD_VENV := .venv-build
CONTAINER_TESTS := tests/e2e/test_container.py tests/e2e/test_gateway_container.py tests/e2e/test_map.py
WHEEL_TESTS := tests/e2e/test_wheel.py
KERNELS := pdl1es/features/compiled.abi3.so
RUNTIME_TESTS := tests --ignore=tests/training $(addprefix --ignore=,$(CONTAINER_TESTS) $(WHEEL_TESTS))
OUT ?= out/demo
RUNS ?= runs
# As --accelerator gpu
REPRODUCE_FLAGS ?=
PIP := -m pip --disable-pip-version-check --quiet --no-input
# For pytest: -n0 for one process, -k to choose. In CI a missing tool fails its test; elsewhere the test is skipped with
# the reason.
PYTEST_FLAGS ?=
# A file's tests share fixtures, so they stay together. The files that take long come first (tests/conftest.py): all processes end
# at about the same time then.
PARALLEL := --numprocesses logical --maxprocesses 8 --dist loadfile --no-loadscope-reorder

GROUPS := build docs image lock test training-test

.PHONY: help demo map wheel test test-runtime test-wheel test-container test-training coverage sanitize docs lint lint-form lint-runtime lint-training env env-training env-docs machine untrained-model reproduce lock clean

help:
	@sed -n 's/^## //p' $(MAKEFILE_LIST)

## make demo [STUDY=folder]   score a phantom study, or a study of yours, into out/demo
demo: $(VENV)/ready $(KERNELS)
ifdef STUDY
	@$(VENV)/bin/python app "$(STUDY)" "$(OUT)/report"
else
	@rm -rf "$(OUT)"
	@$(VENV)/bin/pdl1es phantom "$(OUT)/study"
	@$(VENV)/bin/python app "$(OUT)/study" "$(OUT)/report"
endif

## make test                  all tests: the chain in its own environment without torch, then the training's
test: test-runtime test-training

test-runtime: $(VENV)/tested $(KERNELS)
	$(VENV)/bin/python -m pytest $(PARALLEL) $(RUNTIME_TESTS) $(PYTEST_FLAGS)

## make test-wheel            build the package, install it with pip in an environment of its own, use it
test-wheel: $(VENV)/tested
	$(VENV)/bin/python -m pytest $(WHEEL_TESTS) $(PYTEST_FLAGS)

## make test-container        build the images and run them (needs Docker, or root on Debian; about 6 minutes)
test-container: $(VENV)/tested
	$(VENV)/bin/python -m pytest $(CONTAINER_TESTS) $(PYTEST_FLAGS)

test-training: $(TRAINING_VENV)/ready $(KERNELS)
	$(TRAINING_VENV)/bin/python -m pytest $(PARALLEL) tests/training $(PYTEST_FLAGS)

## make coverage              which lines the run time's tests reach; the report is build/coverage/index.html
coverage: $(VENV)/tested $(KERNELS)
	@mkdir -p build/coverage && rm -f build/coverage/data*
	$(VENV)/bin/coverage run -m pytest $(RUNTIME_TESTS) $(PYTEST_FLAGS)
	$(VENV)/bin/coverage combine --quiet
	$(VENV)/bin/coverage html --quiet --directory build/coverage
	$(VENV)/bin/coverage report --skip-covered

## make sanitize              the kernels under the sanitizers, and the same bits on every width of registers (gcc)
sanitize: $(VENV)/ready
	$(VENV)/bin/python -m benchmarks.kernels

## make docs                  the docs site, into build/site; a broken link or a faulty docstring ends it
docs: $(DOCS_VENV)/ready
	$(DOCS_VENV)/bin/sphinx-build --color -q -W --keep-going -c docs -b html -d build/doctrees . build/site
	@echo "build/site/index.html"

$(DOCS_VENV)/ready: lock.txt pyproject.toml | machine
	@$(call new_venv,$(DOCS_VENV))
	@$(DOCS_VENV)/bin/python $(PIP) install -c lock.txt --group docs
	@touch $@

## make lint                  ruff and mypy
lint: lint-form lint-runtime lint-training

lint-form: $(VENV)/tested
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

lint-runtime: $(VENV)/tested
	$(VENV)/bin/mypy --cache-dir .mypy_cache/runtime app gateway operators pdl1es package docs tests/*.py tests/unit tests/integration tests/gateway tests/e2e

lint-training: $(TRAINING_VENV)/ready
	$(TRAINING_VENV)/bin/mypy --cache-dir .mypy_cache/training training tests/training benchmarks # where torch is, whose types they are checked against

## make env                   the run time's environment (.venv)
env: $(VENV)/ready $(KERNELS)

## make env-training          the environment with torch and monai (.venv-training)
env-training: $(TRAINING_VENV)/ready $(KERNELS)

env-docs: $(DOCS_VENV)/ready

## make map                   the MAP as MONAI Deploy's packager makes it (needs Docker with buildx; docs/deploy.md)
map: $(MAP_VENV)/ready
	@package/map.sh $(MAP_VENV)

# What has to be on the machine is asked for before anything is installed: all of it at once, with the remedy.
machine:
	@[ "$$(uname -sm)" = "Linux x86_64" ] || { \
	  echo "The locked packages are for Linux on x86-64; this is $$(uname -sm)." >&2; \
	  echo "Remedy: install the wheel with pip, which takes what suits the machine (docs/install.md)." >&2; exit 2; }
	@why=(); packages=(); \
	need() { why+=("$$1"); packages+=("$${@:2}"); }; \
	python="$(PYTHON)"; \
	if ! "$$python" -c '$(IN_RANGE)' 2>/dev/null; then \
	  need "Python 3.11, 3.12 or 3.13 is needed$${python:+; '$$python' is not one}." python3 python3-venv python3-dev; \
	else \
	  version=$$("$$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])'); \
	  "$$python" -c 'import venv, ensurepip' 2>/dev/null || need "Python's venv module is missing." "python$$version-venv"; \
	  "$$python" -c 'import os, sys, sysconfig; sys.exit(not os.path.isfile(os.path.join(sysconfig.get_path("include"), "Python.h")))' \
	    || need "Python's headers are missing (pyradiomics and the kernels are compiled)." "python$$version-dev"; \
	fi; \
	cc=$$(command -v cc || command -v gcc || true); \
	if [ -z "$$cc" ] || ! echo '#include <stdlib.h>' | "$$cc" -E - >/dev/null 2>&1; then \
	  need "A C compiler and its headers are missing (pyradiomics and the kernels are compiled)." gcc libc6-dev; \
	fi; \
	if [ $${#why[@]} -gt 0 ]; then \
	  printf '%s\n' "$${why[@]}" >&2; \
	  echo "Remedy: apt-get install $${packages[*]}" >&2; \
	  echo "(or make PYTHON=/path/to/python ..., where another one lies)" >&2; exit 2; \
	fi

# $(call new_venv,FOLDER): an environment with the locked pip, which an older pip takes from a file of its own alone
define new_venv
	rm -rf $(1)
	"$(PYTHON)" -m venv $(1)
	awk '/^[^ ]/ { own = /^pip==/ } own' lock.txt >$(1)/pip.txt
	$(1)/bin/python $(PIP) install --require-hashes -r $(1)/pip.txt
endef

# $(call install,FOLDER,WHAT): packages by the versions and hashes of lock.txt, those that build pyradiomics too; then
# this checkout, one environment at a time, since that builds the kernels in their place. The first start of Python after Holoscan's
# installation makes its links, which needs write access: so it happens here.
define install
	$(1)/bin/python $(PIP) install -c lock.txt --build-constraint lock.txt --group build $(2)
	flock Makefile $(1)/bin/python $(PIP) install --no-deps --no-build-isolation -e .
	$(1)/bin/python -c pass
endef

# An environment's installation of the checkout builds the kernels in their place, once for all Pythons; here they are
# built again where a source is newer.
$(KERNELS): $(wildcard pdl1es/features/kernels/*.[ch]) setup.py
	@for venv in $(VENV) $(TRAINING_VENV); do if [ -e $$venv/ready ]; then \
	  flock Makefile $$venv/bin/python setup.py --quiet build_ext --inplace --force; break; fi; done

# The packager looks at the versions of the framework that are installed, and imports none of it.
$(MAP_VENV)/ready: lock.txt | machine
	@$(call new_venv,$(MAP_VENV))
	@$(MAP_VENV)/bin/python $(PIP) install -c lock.txt holoscan-cli wheel-axle-runtime
	@$(MAP_VENV)/bin/python $(PIP) install -c lock.txt --no-deps holoscan-cu13 monai-deploy-app-sdk
	@touch $@

$(VENV)/ready: requirements.txt lock.txt pyproject.toml setup.py | machine
	@echo "Preparing $(VENV) with $(PYTHON) (about two minutes the first time) ..." >&2
	@$(call new_venv,$(VENV))
	@$(call install,$(VENV),-r requirements.txt)
	@touch $@

$(VENV)/tested: $(VENV)/ready gateway/requirements.txt
	@$(VENV)/bin/python $(PIP) install -c lock.txt -r gateway/requirements.txt --group test
	@touch $@

# torch has builds for CPUs and for CUDA under one version, and hashes of its own on every index: it is installed as the
# index gives it, between what it needs and what needs it.
$(TRAINING_VENV)/ready: training/requirements.txt lock.txt pyproject.toml setup.py | machine
	@echo "Preparing $(TRAINING_VENV) with $(PYTHON) (torch and monai: a few minutes the first time) ..." >&2
	@$(call new_venv,$(TRAINING_VENV))
	@$(TRAINING_VENV)/bin/python $(PIP) install -c lock.txt numpy filelock fsspec jinja2 networkx setuptools sympy typing_extensions
	@$(TRAINING_VENV)/bin/python $(PIP) install "$$(grep -o 'torch==[0-9.]*' pyproject.toml)"
	@$(call install,$(TRAINING_VENV),-r training/requirements.txt --group test --group training-test)
	@touch $@

## make untrained-model       write a seeded, untrained model into out/untrained, to try the chain's contract with
untrained-model: $(TRAINING_VENV)/ready $(KERNELS)
	$(TRAINING_VENV)/bin/python -m training.untrained out/untrained

## make reproduce [SMALL=1]   from nothing to model and report, on a synthetic cohort; goes on where it stopped
reproduce: $(TRAINING_VENV)/ready $(KERNELS)
	@$(TRAINING_VENV)/bin/pdl1es reproduce $(if $(SMALL),--small "$(RUNS)/small","$(RUNS)/full") $(REPRODUCE_FLAGS)

## make wheel                 build the package that pip installs, into dist/
wheel: $(BUILD_VENV)/ready
	@rm -rf build/lib* build/temp* build/bdist.*
	@$(BUILD_VENV)/bin/python $(PIP) wheel --no-deps --no-build-isolation --wheel-dir dist .
	@ls dist/pdl1es-*.whl

$(BUILD_VENV)/ready: lock.txt pyproject.toml | machine
	@$(call new_venv,$(BUILD_VENV))
	@$(BUILD_VENV)/bin/python $(PIP) install -c lock.txt --group build
	@touch $@

## make lock [UPGRADE=1]      write lock.txt and the lists of requirements from pyproject.toml
COMPILE := $(LOCK_VENV)/bin/uv pip compile pyproject.toml --quiet --universal --python-version 3.11 --no-header --no-emit-index-url --no-emit-package torch
lock: $(LOCK_VENV)/ready
	@$(COMPILE) --all-extras $(GROUPS:%=--group %) --generate-hashes $(if $(UPGRADE),--upgrade) --output-file lock.txt >/dev/null
	@list() { echo "# Written by \`make lock\`: $$1"; echo "-c $$2lock.txt"; $(COMPILE) --no-annotate --no-deps -c lock.txt "$${@:3}" | sed 's/ ;.*//'; }; \
	list "what scores a study, with MONAI Deploy" "" --extra map >requirements.txt; \
	list "the run time, and what the gateway needs" ../ --extra gateway >gateway/requirements.txt; \
	list "the run time, and what the training needs beside torch" ../ --extra map --extra training >training/requirements.txt

$(LOCK_VENV)/ready: | machine
	@$(call new_venv,$(LOCK_VENV))
	@$(LOCK_VENV)/bin/python $(PIP) install -c lock.txt --group lock
	@touch $@

## make clean                 remove environments and outputs
clean:
	rm -rf $(VENV) $(TRAINING_VENV) $(MAP_VENV) $(LOCK_VENV) $(DOCS_VENV) $(BUILD_VENV) out build dist docs/reference *.egg-info $(KERNELS)
