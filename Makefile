# The two commands a new user needs are `make demo` and `make test`; `make help` lists all.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PY := .venv/bin/python
INSTALLED := .venv/.installed
# As every setting: the environment, else .env, else the default.
COVERAGE_THRESHOLD ?= $(or $(shell sed -n 's/^COVERAGE_THRESHOLD=//p' .env 2>/dev/null),85)
PORT ?= 3000
SERVICE_PORT ?= 8000
WORKERS ?= 1
# Tests wait for thousands of fsyncs and never for a power cut: memory is disk enough where it has 6 GB to spare.
export PYTEST_DEBUG_TEMPROOT ?= $(shell df -Pk /dev/shm 2>/dev/null | awk 'NR == 2 && $$4 > 6000000 {print "/dev/shm"}')

# Compiled once, not again in each of the hundreds of processes that tests start.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup demo ui run backfill test test-slow architecture bench audit evaluate privacy-tables plots backup-ledger lint types check clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(INSTALLED) ## make .venv and install what is pinned (needs Python >= 3.11)

$(INSTALLED): pyproject.toml constraints.txt
	@python=""; for name in python3.11 python3.12 python3.13 python3.14 python3 python; do \
	  if "$$name" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then python="$$name"; break; fi; \
	done; \
	if [ -z "$$python" ]; then \
	  echo "make: no Python >= 3.11 with venv found; install one (Debian: apt install python3 python3-venv)" >&2; exit 1; \
	fi; \
	if ! $(PY) -m pip --version >/dev/null 2>&1; then "$$python" -m venv --clear .venv; fi
	@echo "installing into .venv (one or two minutes the first time)"
	@$(PY) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

demo: $(INSTALLED) ## 90 days of synthetic activity through the whole graph, in its own home data/demo
	@$(PY) -m dpdau_assets.cli.launch.demo

ui: $(INSTALLED) ## Dagster's pages and its daemon on your data; on the demo with DEMO=1 or while there is no other
	@$(PY) -m dpdau_assets.cli.launch.ui $(if $(DEMO),--demo) --port $(PORT)

run: $(INSTALLED) ## the service: counts over HTTP; SERVICE_PORT=8000, WORKERS=1, RELOAD=1 starts again when code changes
	@$(PY) -m dpdau_assets.cli.main serve --port $(SERVICE_PORT) --workers $(WORKERS) $(if $(RELOAD),--reload)

backfill: $(INSTALLED) ## START=2026-01-01 END=2026-01-31: print the cost, then build and release those days
	@$(PY) -m dpdau_assets.cli.launch.backfill --start "$(START)" --end "$(END)"

test: $(INSTALLED) ## all tests but the long ones; COVERAGE=1 measures coverage, which takes half as long again
	@$(PY) -m pytest -n 3 --dist worksteal -m "not slow" -q $(PYTEST_ARGS) $(if $(COVERAGE),--cov=dpdau_assets \
	  --cov-report=term:skip-covered --cov-report=xml --cov-fail-under=$(COVERAGE_THRESHOLD))

test-slow: $(INSTALLED) ## the long tests: campaigns of minutes
	@$(PY) -m pytest -n 2 --dist worksteal -m slow -q --durations=20

architecture: $(INSTALLED)
	@$(PY) -m pytest -q dpdau_tests/architecture

bench: $(INSTALLED) ## speed and memory against the plain query; QUICK=1 small, ERASURE=1 erasing against a rebuild
	@$(PY) -m dpdau_assets.evaluation.benchmarks $(if $(QUICK),--quick) $(if $(ERASURE),--erasure)

backup-ledger: $(INSTALLED) ## a checked copy of the ledger in DATA_DIR/backups; LAKE=1 for the data too
	@$(PY) -m dpdau_assets.cli.main backup $(if $(LAKE),--lake)

audit: $(INSTALLED) ## try to tell from released values whether one user is in them; LONG=1 for every mechanism
	@$(PY) -m dpdau_assets.cli.main audit $(if $(LONG),--long)

evaluate: $(INSTALLED) ## error, coverage, loss and time of every mechanism, sketch and budget; QUICK=1 in seconds
	@$(PY) -m dpdau_assets.cli.main evaluate $(if $(QUICK),--quick)

plots: $(INSTALLED) ## pictures of what `make evaluate` measured
	@$(PY) -m dpdau_assets.cli.main plots

privacy-tables: $(INSTALLED) ## compute every table and figure of docs/privacy.md; CHECK=1 compares and writes nothing
	@$(PY) -m dpdau_assets.evaluation.privacy_tables $(if $(CHECK),--check)

lint: $(INSTALLED) ## ruff (rules and format), and no unresolved placeholder in a tracked file
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check --quiet . || { echo "make lint: run .venv/bin/python -m ruff format ." >&2; exit 1; }
	@if git grep -nIE '\{\{[A-Z][A-Z0-9_]*\}\}'; then echo "make lint: unresolved placeholders above" >&2; exit 1; fi

types: $(INSTALLED) ## mypy
	@$(PY) -m mypy

check: COVERAGE := 1
check: lint types architecture test ## what .ci/run runs; coverage must reach COVERAGE_THRESHOLD

clean: ## remove caches, the demo and benchmark data; never your own data
	@rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage coverage.xml build dist *.egg-info data/demo data/bench
	@find dpdau_assets dpdau_tests -name __pycache__ -type d -prune -exec rm -rf {} +
