# Every target creates what it needs; `make help` lists them.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
NLTK_DATA_DIR := $(VENV)/share/nltk_data
READY := $(VENV)/.ready
DEMO ?= build/demo

.DEFAULT_GOAL := help
.PHONY: help env demo test test-all lint format compile ui golden lock

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

env: $(READY) ## Create the environment with pinned, hashed requirements and WordNet

$(READY): requirements/dev.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements/dev.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	$(BIN)/vigil wordnet --to $(NLTK_DATA_DIR)
	@touch $@

demo: env ## Train and compare detectors on a demo line: report, table, MLflow
	$(BIN)/vigil demo --workdir $(DEMO)

test: env ## Run the default tests
	$(BIN)/pytest

test-all: env ## Run the tests of all tiers that this machine can run, with coverage
	$(BIN)/pytest -m "" --cov=components --cov=pipelines --cov-report=term-missing:skip-covered --cov-fail-under=90

lint: env ## Check style, types and the import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: env ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

compile: env ## Compile the pipeline package that a cluster runs
	mkdir -p build
	$(BIN)/vigil compile -o build/vigil-training.yaml

ui: env ## Open the demo's runs in MLflow
	$(BIN)/mlflow ui --backend-store-uri sqlite:///$(abspath $(DEMO))/mlflow.db

golden: env ## Regenerate the golden pipeline package of the tests
	$(BIN)/pytest tests/pipelines/test_training.py --regenerate-golden

UV_COMPILE = uv pip compile --python-version 3.11 --python-platform x86_64-manylinux_2_28 \
	--generate-hashes --no-emit-index-url --quiet

lock: ## Pin and hash the requirements again (needs uv)
	$(UV_COMPILE) pyproject.toml --extra dev -o requirements/dev.txt
	$(UV_COMPILE) pyproject.toml -o requirements/cli.txt
	$(UV_COMPILE) requirements/s3.in -o requirements/s3.txt
