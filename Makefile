# What there is to do here; "make" alone lists it.
# Needed: GNU make, bash and Python 3.11 or later. uv is used where it is installed, else venv and pip.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules
# Every process that a test starts would compile Airflow again, and a run take twice as long.
unexport PYTHONDONTWRITEBYTECODE

AIRFLOW_VERSIONS := 2.11.2 3.1.8 3.2.2 3.3.2
USUAL := 3.3.2
AIRFLOW_VERSION := $(USUAL)
# The newest pre-release.
AIRFLOW_NEXT := 3.4.0b2

# Another version has an environment of its own: make test-scheduler AIRFLOW_VERSION=2.11.2
VENV := .venv$(patsubst -$(USUAL),,-$(AIRFLOW_VERSION))
BIN := $(VENV)/bin

# What the tests are asked to run, for example: make test TESTS="tests/unit -k phone"
TESTS ?=
# Two processes of tests per core, each with an Airflow of its own.
PYTEST := -m pytest -n auto --dist worksteal

.PHONY: help
help: ## Show this list
	@echo "Targets:"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | column -t -s '|' 2>/dev/null \
		|| sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1: \2/p' $(MAKEFILE_LIST)

# An environment is made anew when what it is made from changed, and is left alone otherwise.
.venv/.ready: requirements/airflow-$(USUAL).txt pyproject.toml tools/environment.sh
	@tools/environment.sh $(USUAL) .venv

.venv-%/.ready: requirements/airflow-%.txt pyproject.toml tools/environment.sh
	@tools/environment.sh $* .venv-$*

.PHONY: check
check: $(VENV)/.ready ## Check format, lint, types, layout and generated files
	@echo "== format"
	@$(BIN)/ruff format --check .
	@echo "== lint"
	@$(BIN)/ruff check .
	@echo "== types"
	@$(BIN)/mypy
	@echo "== layout"
	@$(BIN)/python tools/check_layout.py
	@echo "== generated files"
	@$(BIN)/python tools/generate_contract.py --check
	@$(BIN)/python tools/generate_types.py --check
	@echo "== snippets and reference in the documentation"
	@$(BIN)/python tools/generate_docs.py --check

.PHONY: test
test: $(VENV)/.ready ## Install and run the tests on Airflow 3.3.2
	@echo "== tests on Airflow $(AIRFLOW_VERSION), $$($(BIN)/python --version)"
	@$(BIN)/python $(PYTEST) $(TESTS)

# The ends of the range, and the middle. All are run, even when one fails.
.PHONY: test-matrix
test-matrix: ## Run the tests on Airflow 2.11.2, 3.1.8, 3.2.2 and 3.3.2
	@failed=""; \
	for version in $(AIRFLOW_VERSIONS); do \
		echo "== tests on Airflow $$version"; \
		$(MAKE) --no-print-directory ".venv-$$version/.ready" \
			&& ".venv-$$version/bin/python" $(PYTEST) $(TESTS) || failed="$$failed $$version"; \
	done; \
	if [ -n "$$failed" ]; then echo "Failed on Airflow:$$failed"; exit 1; fi; \
	echo "Passed on Airflow: $(AIRFLOW_VERSIONS)"

.PHONY: test-next
test-next: ## Run the tests on the newest pre-release of Airflow, 3.4.0b2
	@$(MAKE) --no-print-directory test AIRFLOW_VERSION=$(AIRFLOW_NEXT)

# $(call also,packages): what only these tests need, in versions that suit the locked ones.
also = if command -v uv >/dev/null 2>&1; then uv pip install --quiet --python $(BIN)/python $(also_with) $(1); \
	else $(BIN)/python -m pip install --quiet --disable-pip-version-check $(also_with) $(1); fi
also_with = --constraint requirements/airflow-$(AIRFLOW_VERSION).txt

# The report is of what ran, also when a test fails; the target fails then.
.PHONY: coverage
coverage: $(VENV)/.ready ## Measure which lines and branches the tests run, room by room
	@$(call also,"coverage>=7.10")
	@rm -f .coverage .coverage.*; passed=0; \
	$(BIN)/python -m coverage run $(PYTEST) $(or $(TESTS),tests/unit tests/contract tests/emulator) || passed=$$?; \
	$(BIN)/python -m coverage combine --quiet; \
	$(BIN)/python -m coverage json --quiet -o .coverage.json; \
	$(BIN)/python tools/coverage_of_rooms.py .coverage.json && exit $$passed

# One file of them, or fewer: make mutants MUTANTS="--only api/outcome.py --count 50 --seed 2"
.PHONY: mutants
mutants: $(VENV)/.ready ## Change the code of exactly once in 400 places, one at a time, and list what no test notices
	@$(BIN)/python tools/mutants.py $(MUTANTS)

.PHONY: test-browser
test-browser: $(VENV)/.ready ## Look at Airflow and the emulator with Chromium (WTS_RENEW_IMAGES=1 renews docs/images)
	@$(call also,"selenium>=4.20")
	@$(BIN)/python -m pytest -m browser tests/browser $(TESTS)

.PHONY: test-scheduler
test-scheduler: $(VENV)/.ready ## Kill and stop processes of a whole Airflow on PostgreSQL, and count the messages
	@$(call also,psycopg2-binary asyncpg aiomysql pymysql apache-airflow-providers-celery redis)
	@$(BIN)/python -m pytest -m scheduler tests/airflow $(TESTS)

.PHONY: docs
docs: $(VENV)/.ready ## Build the documentation; warnings are errors
	@$(call also,"sphinx>=8" "furo>=2024.8.6" "myst-parser>=4")
	@$(BIN)/python -m sphinx -W --keep-going --quiet -b html docs docs/_build/html
	@$(BIN)/python tools/translations.py || echo "Translate them, then run: python tools/translations.py <page>"
	@echo "The documentation is in docs/_build/html/index.html"

.PHONY: dist
dist: $(VENV)/.ready ## Build wheel and sdist into dist/, and run the installed wheel on Airflow 2.11.2 and 3.3.2
	@$(BIN)/python tools/dist.py

.PHONY: chaos
chaos: $(VENV)/.ready ## Send 10,000 times, export 100 times and follow 10,000 sends, with tasks killed and stopped at random, and count
	@$(call also,psycopg2-binary pymysql)
	@WTS_CHAOS_SENDS=$${WTS_CHAOS_SENDS:-10000} WTS_CHAOS_EXPORTS=$${WTS_CHAOS_EXPORTS:-100} \
		WTS_CHAOS_OUTCOMES=$${WTS_CHAOS_OUTCOMES:-10000} WTS_CHAOS_OUTCOME_KILLS=$${WTS_CHAOS_OUTCOME_KILLS:-20} \
		$(BIN)/python -m pytest tests/chaos --timeout=7200 $(TESTS)

.PHONY: bench
bench: $(VENV)/.ready ## Measure speed and cost, and renew docs/benchmarks.md; one of them: make bench BENCH=waiting
	@$(call also,apache-airflow-providers-http apache-airflow-providers-slack psycopg2-binary asyncpg redis)
	@$(BIN)/python tests/benchmarks/run.py $(BENCH)

.PHONY: demo
demo: $(VENV)/.ready ## Send chatbots to customers of a local WTS Chat, on real Airflow, and show what they answered
	@$(BIN)/python tools/demo.py

# Airflow 3.2 allows versions of its web framework that it does not run with. A pre-release is taken of Airflow alone, and
# of what has nothing else.
.PHONY: lock
lock: ## Choose the versions that environments are made of anew (needs uv)
	@command -v uv >/dev/null || { echo "make lock needs uv: https://docs.astral.sh/uv/"; exit 1; }
	@for version in $(AIRFLOW_VERSIONS) $(AIRFLOW_NEXT); do \
		echo "== requirements/airflow-$$version.txt"; \
		{ echo "apache-airflow==$$version"; [ "$$version" != 3.2.2 ] || printf "cadwyn<8\nfastapi<0.137\n"; } \
			| uv pip compile --quiet --upgrade --universal --prerelease=if-necessary-or-explicit --python-version 3.11 \
			--extra emulator --extra redis --group lint --group test --no-emit-package airflow-provider-wts \
			--no-annotate --custom-compile-command "make lock" \
			--output-file "requirements/airflow-$$version.txt" pyproject.toml -; \
	done

.PHONY: types
types: ## Generate the types of the API's answers from the contract (needs uv)
	@command -v uv >/dev/null || { echo "make types needs uv: https://docs.astral.sh/uv/"; exit 1; }
	@uv run --isolated --group types python tools/generate_types.py

.PHONY: clean
clean: ## Remove environments, caches and what the demo left
	@rm -rf .venv .venv-* .demo .airflow-* build dist docs/_build .mypy_cache .ruff_cache .pytest_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
