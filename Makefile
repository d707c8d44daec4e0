# make demo    the whole path on a synthetic drive, starting from nothing but Python and a package index
# make test    all tests, a process per core     (ARGS="-k tracking" selects, WORKERS=1 for one process)
# make lint    ruff, mypy and the package's own checks
# make bench   the benchmarks that need nothing but the repository; benchmarks/ says what each measures
# make clean   removes what the other goals made; .venv stays
#
# PYTHON=python3.12 make test uses another interpreter (3.10 to 3.13); .venv is then made anew.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
.PHONY: help demo test lint bench clean

PYTHON ?= python3
WORKERS ?= logical
ARGS ?=
OUT ?= out/demo

BIN := .venv/bin
# A stamp per interpreter and per content of the files that say what is installed: set-up is repeated only if they change.
PRINT_VERSION := import sys; print("%d.%d" % sys.version_info[:2])
PYTHON_VERSION := $(shell $(PYTHON) -c '$(PRINT_VERSION)' 2>/dev/null)
SETS_UP := constraints.txt package.xml setup.py $(sort $(wildcard wsperception/ros/msg/*.msg))
KEY := $(PYTHON_VERSION)-$(shell cat $(SETS_UP) | cksum | cut -d ' ' -f 1)
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable

# One thread per process: the tests run in parallel already, and figures repeat.
ONE_THREAD := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1

help:
	@sed -n 's/^# \{0,1\}//p;/^$$/q' Makefile

demo: .venv/demo-$(KEY)
	$(BIN)/wsperception demo --out $(OUT)

test: .venv/all-$(KEY)
	$(ONE_THREAD) $(BIN)/python -m pytest --numprocesses $(WORKERS) --maxprocesses 8 --dist loadfile --no-loadscope-reorder --durations 8 $(ARGS)

lint: .venv/all-$(KEY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pip check
	$(BIN)/python -c 'from catkin_pkg.package import parse_package; parse_package(".", warnings=(found := [])); assert not found, found'
	bash -n .ci/run

bench: .venv/all-$(KEY)
	$(BIN)/python benchmarks/core/tracker.py
	$(BIN)/python benchmarks/core/masks.py
	$(BIN)/python benchmarks/memory/track.py --frames 1000
	$(BIN)/python benchmarks/models/score.py --out out/models

clean:
	rm -rf out runs build install log .pytest_cache .mypy_cache .ruff_cache .hypothesis

# The demonstration needs neither PyTorch nor the test tools; the tests add them to the same environment.
.venv/demo-$(KEY): | .venv/made-$(PYTHON_VERSION)
	@echo "Installing what the demonstration needs into .venv (once)"
	$(INSTALL) '.[eval,video,ros]'
	$(BIN)/python -m wsperception.ros.interfaces --build || echo "The live replay and the tests of the ROS layer will be skipped."
	@touch $@

.venv/all-$(KEY): .venv/demo-$(KEY)
	@echo "Adding PyTorch, the tests and the checks to .venv (once)"
	$(INSTALL) '.[eval,video,train,ros,dev]'
	@touch $@

.venv/made-$(PYTHON_VERSION):
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 14))' || \
	  { echo "$(PYTHON): expected Python 3.10 to 3.13; name one with PYTHON=..., as in: PYTHON=python3.12 make demo" >&2; exit 2; }
	[[ "$$($(BIN)/python -c '$(PRINT_VERSION)' 2>/dev/null)" == $(PYTHON_VERSION) ]] || $(PYTHON) -m venv --clear .venv
	@touch $@
