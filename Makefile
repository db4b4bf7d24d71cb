# Bursar. The first target is the help.
SHELL := /bin/sh
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# More workers than cores: the tests wait for servers more than they compute.
WORKERS ?= 4

.PHONY: help
help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

.PHONY: setup
setup: $(INSTALLED) ## install everything into .venv (the other targets do it by themselves)

$(INSTALLED): requirements.lock pyproject.toml stack/install.py
	@command -v $(PYTHON) >/dev/null || { echo "there is no $(PYTHON): install Python 3.11 or newer" >&2; exit 1; }
	@$(PYTHON) stack/install.py $(VENV) requirements.lock
	@touch $@

.PHONY: run
run: setup ## start the whole system in the foreground; Ctrl-C stops it
	@$(BIN)/python -m stack run

.PHONY: test
test: setup ## run every test, with real servers
	@$(BIN)/pytest -n $(WORKERS) --dist loadgroup

# What Django must be told before mypy and makemigrations can read its models; nothing connects to these.
lint: export BURSAR_SECRET_KEY := lint
lint: export BURSAR_KEY_PEPPER := lint
lint: export BURSAR_CREDENTIAL_KEY := bGludGxpbnRsaW50bGludGxpbnRsaW50bGludGxpbnQ=
lint: export REDIS_URL := redis://127.0.0.1:1/0
lint: export DATABASE_URL := postgresql://lint@127.0.0.1:1/lint

.PHONY: test-core-coverage
test-core-coverage: setup ## every line and every branch of the pure core is tested
	@$(BIN)/pytest -n $(WORKERS) --cov=kong_plugins.llm --cov-report= tests/llm
	@$(BIN)/coverage report --include='kong_plugins/llm/*' --omit='kong_plugins/llm/store.py,kong_plugins/llm/connection.py' --fail-under=100

.PHONY: lint
lint: setup ## check style, types, import arrows, migrations and the house rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy .
	$(BIN)/lint-imports --no-logo
	$(BIN)/python -W ignore::RuntimeWarning manage.py makemigrations --check --dry-run
	$(BIN)/python -m lint.house_rules

.PHONY: format
format: setup ## put the code into its usual form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: smoke
smoke: setup ## start a system of its own, make two calls, compare ledger and provider's books, stop
	@$(BIN)/python -m stack smoke

.PHONY: smoke-observe
smoke-observe: setup ## the same on a route that is only observed: what passes, and what the ledger says of it
	@$(BIN)/python -m stack smoke-observe

.PHONY: test-cap
test-cap: setup ## 128 requests at once against a cap of eight calls
	@$(BIN)/pytest tests/e2e/test_cap.py

.PHONY: test-kill
test-kill: setup ## kill -9 of each plugin server and of the gateway under load
	@$(BIN)/pytest -m chaos tests/e2e/test_kill.py

.PHONY: test-sdks
test-sdks: setup ## the providers' own SDKs against a running system, checked against the provider's books
	@$(BIN)/pytest tests/e2e/sdks

.PHONY: test-cuts
test-cuts: setup ## every captured answer, cut at every byte of it: its usage is exact or declared less, never wrong
	@BURSAR_EVERY_CUT=1 $(BIN)/pytest -n $(WORKERS) --timeout 0 tests/llm/protocols

.PHONY: chaos
chaos: setup ## what breaks on systems of its own (processes, Redis, providers); longer than a change should wait
	@$(BIN)/pytest -m chaos tests/e2e tests/docs

.PHONY: test-kong
test-kong: setup ## the end-to-end tests on a real Kong: KONG_BIN, or KONG_ADMIN_URL and KONG_PROXY_URL
	@BURSAR_GATEWAY=kong $(BIN)/python -m stack gateway || { echo "test-kong: did not run" >&2; exit 1; }
	@BURSAR_GATEWAY=kong $(BIN)/pytest -m "" tests/e2e

.PHONY: test-browser
test-browser: setup ## people at a headless Chromium (CHROMIUM_BIN, or on the PATH); pictures in .run/screenshots
	@$(BIN)/python -m tests.browser.chromium || { echo "test-browser: did not run" >&2; exit 1; }
	@$(BIN)/pytest -m browser tests/browser

.PHONY: test-routing
test-routing: setup ## the rules of routing, one case a line: aliases, regions, fallbacks, degrading
	@$(BIN)/pytest -v tests/llm/test_routing_rules.py

.PHONY: test-rights
test-rights: setup ## every address × every role × rows of others: nothing is told, nothing changes
	@BURSAR_EVERY_RIGHT=1 $(BIN)/pytest -n $(WORKERS) --timeout 0 tests/control_plane/rights

.PHONY: providers
providers: setup ## write docs/providers.md anew, from the rows of vendors and the captured answers
	@$(BIN)/python -m tests.control_plane.catalog.provider_table > .providers.md && mv .providers.md docs/providers.md

.PHONY: openapi
openapi: export BURSAR_SECRET_KEY := openapi
openapi: export BURSAR_KEY_PEPPER := openapi
openapi: export BURSAR_CREDENTIAL_KEY := bGludGxpbnRsaW50bGludGxpbnRsaW50bGludGxpbnQ=
openapi: export REDIS_URL := redis://127.0.0.1:1/0
openapi: export DATABASE_URL := postgresql://openapi@127.0.0.1:1/openapi
openapi: setup ## write docs/openapi.yaml anew, from the views and serializers of the REST API
	@$(BIN)/python manage.py spectacular --validate --fail-on-warn --file docs/openapi.yaml

.PHONY: fuzz
fuzz: setup ## the tests that draw their cases, with 5000 cases each, and 20,000 runs of the engine against its model
	@$(BIN)/pytest -n $(WORKERS) -m hypothesis --hypothesis-profile fuzz --timeout 0

.PHONY: mutants
mutants: setup ## plant faults into the scripts, each of which their tests must find
	@$(BIN)/python -m tests.llm.store.mutants

.PHONY: bench-quota
bench-quota: setup ## what one decision costs, beside scripts that do nothing
	@$(BIN)/python -m bench.quota

.PHONY: bench-overspend
bench-overspend: setup ## a crowd against a cap of ten cents, with faults; CASES="2 streamed redis" for some of it
	@$(BIN)/python -m bench.overspend $(CASES)

.PHONY: bench-parser
bench-parser: setup ## what reading the usage of each captured answer costs, in windows of 20 KB
	@$(BIN)/python -m bench.parser

.PHONY: bench-publish
bench-publish: setup ## how long 10,000 teams and 100,000 keys take to come to an empty Redis
	@$(BIN)/python -m bench.publish

.PHONY: seed-large
seed-large: setup ## 10,000 teams, 100,000 keys, 5 million ledger rows; SEED_TEAMS, SEED_KEYS, SEED_ROWS, SEED_DAYS for less
	@$(BIN)/python -m bench.large.seed

.PHONY: bench-pages
bench-pages: setup ## how long each page and each spend query takes on these, and how often it asks the database
	@$(BIN)/python -m bench.pages $(PAGES)

.PHONY: traffic
traffic: setup ## send mixed calls with the demo's keys to the system that `make run` started
	@$(BIN)/python -m demo.traffic

.PHONY: lock
lock: ## resolve the dependencies anew into requirements.lock, for every Python and platform at once
	@rm -rf .run/uv && $(PYTHON) -m venv .run/uv && .run/uv/bin/pip install --quiet uv
	@printf 'hatchling\neditables\n' | .run/uv/bin/uv pip compile --quiet --upgrade --universal --fork-strategy fewest \
		--python-version 3.11 --extra test --generate-hashes --no-header --no-annotate --no-emit-index-url \
		--output-file requirements.lock pyproject.toml -
	@rm -rf .run/uv

.PHONY: clean
clean: ## remove the virtual environment, the caches and the data of `make run`
	rm -rf $(VENV) .run .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage htmlcov dist
