# The words of this project, the same on a laptop and in CI. `make` lists them.

PY := .venv/bin/python
LOCKED := pyproject.toml client/pyproject.toml requirements/run.txt deploy/install.sh
SCANS ?= examples
WHEELS = $(or $(TO),wheelhouse)
MARKS := $(if $(CI),,not ceph$(if $(FAST), and not slow))
export WHEELHOUSE

.PHONY: help install run serve test check bench train wheelhouse lock clean
.DEFAULT_GOAL := help

help: ## list these recipes
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' Makefile

install: .venv/.run ## make .venv from the hashed lock (PYTHON=, GPU=1, WHEELHOUSE=folder: ask no registry)

run: .venv/.run ## judge a folder, archive or file (SCANS=examples TO=folder NEW=1 DRY=1 ARGS=...)
	@.venv/bin/neurobatch process "$(SCANS)" $(if $(TO),--to "$(TO)") $(if $(NEW),--new) $(if $(DRY),--dry-run) $(ARGS); \
	code=$$?; [ $$code -eq 3 ] || exit $$code # 3: the batch is complete, and some of its scans failed

serve: .venv/.run ## API, console, worker and broker on this machine until Ctrl-C (ARGS=...)
	@.venv/bin/neurobatch serve $(ARGS)

test: .venv/.dev ## all tests but those that need Ceph (FAST=1: without the slow ones; ARGS=...)
	@$(PY) -m pytest -m "$(MARKS)" $(ARGS)

check: .venv/.dev ## format, lint, types, contracts between the rooms, lock, generated pages
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(PY) -m mypy
	.venv/bin/lint-imports
	$(PY) requirements/lock.py --check
	$(PY) docs/pages.py --check

bench: .venv/.dev ## what neurobatch achieves on this machine (ARGS=throughput)
	@$(PY) -m bench $(or $(ARGS),throughput)

train: .venv/.run ## train the networks (ARGS=...)
	@.venv/bin/neurobatch train $(ARGS)

wheelhouse: .venv/.run ## gather all wheels for a machine without internet (TO=wheelhouse GPU=1)
	$(PY) -m pip download --quiet --require-hashes --only-binary :all: --dest "$(WHEELS)" -r requirements/$(if $(GPU),gpu,run).txt
	$(PY) -m pip wheel --quiet --no-index --no-build-isolation --no-deps --wheel-dir "$(WHEELS)" ./client .

lock: .venv/.dev ## resolve the requirements anew
	PATH=".venv/bin:$$PATH" $(PY) requirements/lock.py

clean: ## remove .venv, caches and what was built; results and weights stay
	rm -rf .venv wheelhouse dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

.venv/.run: $(LOCKED)
	@deploy/install.sh $(if $(GPU),gpu,run)
	@.venv/bin/neurobatch prepare-engines
	@touch $@

.venv/.dev: $(LOCKED) requirements/dev.txt .venv/.run
	@deploy/install.sh dev
	@touch $@
