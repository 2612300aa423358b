# One command for everything. `make help` lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip --disable-pip-version-check --quiet install --no-input
export PIP_ROOT_USER_ACTION := ignore

.DEFAULT_GOAL := help
.PHONY: help demo serve test long bench chaos soak check fix lock clean

help: ## List the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /\1\t/' | expand -t 10

demo: $(VENV)/.runtime ## Run a dozen jobs through the gateway and the built-in emulator (ARGS="--serve" keeps it up)
	@$(BIN)/gateway demo $(ARGS)

serve: $(VENV)/.runtime ## Serve the API with the settings of the environment or .env (ARGS="--port 8000")
	@$(BIN)/gateway serve $(ARGS)

test: $(VENV)/.dev $(VENV)/.browser ## Run the tests, on SQLite and on a PostgreSQL that they start (ARGS="-k callback", ARGS="-n 2")
	@$(BIN)/pytest $(ARGS)

long: $(VENV)/.dev ## Run the tests that need a package of the system (pgbouncer, prometheus), or minutes
	@$(BIN)/pytest -m long $(ARGS)

bench: $(VENV)/.bench ## Measure against the baselines, for an hour or two, and write docs/benchmarks.md (ARGS="intake life", ARGS=--quick)
	@$(BIN)/python -m tests.benchmarks $(ARGS)

chaos: $(VENV)/.dev ## Let everything go wrong at once, for long (JOBS=2000, SEED=… repeats one); a short form of it is in `make test`
	@GATEWAY_CHAOS_JOBS=$(or $(JOBS),2000) GATEWAY_CHAOS_SEED=$(SEED) $(BIN)/pytest tests/chaos -s --timeout=0 $(ARGS)

soak: $(VENV)/.dev ## Keep a deployment at work and see whether anything grows (MINUTES=60, RATE=10); writes docs/soak.md and .svg
	@$(BIN)/python -m tests.chaos.soak --minutes $(or $(MINUTES),60) --rate $(or $(RATE),10) $(ARGS)

check: $(VENV)/.dev ## Format, lint, strict types, layering, then all tests (migrations against models among them)
	@$(BIN)/ruff format --check --quiet . || { echo "format: run make fix"; exit 1; }
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/lint-imports --no-cache
	@$(BIN)/hadolint Dockerfile
	@$(BIN)/check-jsonschema --quiet --builtin-schema vendor.compose-spec docker-compose.yml
	@$(MAKE) --no-print-directory test

fix: $(VENV)/.dev ## Format, mend what the linter can mend, write docs/openapi.json anew
	@$(BIN)/ruff check --quiet --fix-only .
	@$(BIN)/ruff format --quiet .
	@$(BIN)/gateway openapi --output docs/openapi.json

lock: ## Pin the dependencies anew (needs uv)
	uv pip compile pyproject.toml --group build --universal --generate-hashes --python-version 3.11 \
	  --no-header --no-annotate --quiet --upgrade --output-file requirements.lock
	uv pip compile pyproject.toml --extra traces --group build --universal --generate-hashes --python-version 3.11 \
	  --no-header --no-annotate --quiet --upgrade --constraint requirements.lock --output-file requirements-traces.lock
	uv pip compile pyproject.toml --group dev --universal --generate-hashes --python-version 3.11 \
	  --no-header --no-annotate --quiet --upgrade --constraint requirements-traces.lock --output-file requirements-dev.lock
	uv pip compile pyproject.toml --group bench --universal --generate-hashes --python-version 3.11 \
	  --no-header --no-annotate --quiet --upgrade --constraint requirements-dev.lock --output-file requirements-bench.lock

clean: ## Remove the virtual environment, caches, and what demo, benchmarks and soak left; never a database
	rm -rf $(VENV) data/demo data/benchmarks data/soak.* .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

# The package itself is installed in place, by the build backend that the lock pins.
$(VENV)/.runtime: requirements.lock pyproject.toml | $(VENV)/bin/python
	$(PIP) --require-hashes -r requirements.lock
	$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: requirements-dev.lock $(VENV)/.runtime
	$(PIP) --require-hashes -r requirements-dev.lock
	@touch $@

# Other ways to do the same work, to measure against.
$(VENV)/.bench: requirements-bench.lock $(VENV)/.dev
	$(PIP) --require-hashes -r requirements-bench.lock
	@touch $@

# The console is tested in a real Chromium: the one that is there, else the system's package, else what Playwright brings.
$(VENV)/.browser: $(VENV)/.dev
	@for name in chromium chromium-browser google-chrome google-chrome-stable; do command -v $$name >/dev/null && found=1; done; \
	  test -n "$$found" \
	  || { test "$$(id -u)" = 0 && command -v apt-get >/dev/null \
	       && apt-get update -qq && apt-get install -qq -y --no-install-recommends chromium >/dev/null; } \
	  || $(BIN)/playwright install chromium
	@touch $@
