# Everything sets itself up: Python >= 3.11 and make are all that has to be there.
# `make help` lists the targets. PYTHON=… chooses the interpreter, ARGS=… is passed on.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help setup demo test check lint format reference docs build lock clean
.NOTPARALLEL:

PY := .venv/bin/python

help: ## list what can be made
	@sed -n 's/^\([a-z]*\):[^#]*## \(.*\)/  make \1|\2/p' Makefile | awk -F'|' '{ printf "%-18s %s\n", $$1, $$2 }'

setup: ## make .venv from the locked requirements; does nothing when nothing changed
	@sh scripts/setup.sh

demo: setup ## a bad release goes back by itself, a good one reaches 100 % (up to 4 minutes)
	@.venv/bin/crossfade demo $(ARGS)

test: lint ## every check and every test
	@sh scripts/system-packages.sh
	@sh scripts/test-servers.sh
ifdef ARGS
	@$(PY) -m pytest $(ARGS)
else
	@$(PY) -m pytest -m "not alone" --numprocesses 3 --dist loadfile
	@$(PY) -m pytest -m alone tests
endif

check: test ## everything that CI runs

lint: setup ## lint, format, types, import contracts, generated pages; no tests
	@echo "lint"      && $(PY) -m ruff check --quiet
	@echo "format"    && $(PY) -m ruff format --check --quiet
	@echo "types"     && $(PY) -m mypy --no-error-summary
	@echo "contracts" && .venv/bin/lint-imports --no-logo
	@echo "reference" && $(PY) scripts/reference.py --check

format: setup ## put every file into the house's format and repair what lint can repair
	@$(PY) -m ruff format --quiet
	@$(PY) -m ruff check --fix --quiet

reference: setup ## write the pages that are generated from the code
	@$(PY) scripts/reference.py

docs: reference

build: setup ## make the wheel in dist/ and prove it in an empty environment
	@$(PY) scripts/wheel.py --out dist --prove

lock: ## resolve the dependencies again (needs uv)
	@sh scripts/lock.sh

clean: ## remove everything that was made, .venv included
	@rm -rf .venv .tools dist build .crossfade .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
