# Every target creates what it needs; `make help` lists them.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
NLTK_DATA_DIR := $(VENV)/share/nltk_data
READY := $(VENV)/.ready
# uv, where it is installed, unpacks the same pinned and hashed files several times faster than pip.
UV := $(shell command -v uv 2> /dev/null)
INSTALL := $(if $(UV),$(UV) pip install --quiet --python $(BIN)/python,$(BIN)/pip install --quiet --disable-pip-version-check)
# An index of torch's CPU builds: torch and torchvision come from it, by version alone, and CUDA's libraries from nowhere.
TORCH_INDEX ?=
WITHOUT_CUDA := awk '/^[a-z0-9]/ { keep = !/^(torch|torchvision|triton)==|^(nvidia|cuda)-/ } keep'
DEMO ?= build/demo
CONTAINERS ?= build/containers

# Tests of a file stay in one process, and so do its fixtures.
WORKERS ?= 2
PARALLEL := --numprocesses=$(WORKERS) --dist=loadfile

.DEFAULT_GOAL := help
.PHONY: help env demo test test-all test-tiers lint format compile ui components golden lock images containers test-containers

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

env: $(READY) ## Create the environment, pinned and hashed; TORCH_INDEX=URL of torch's CPU builds leaves CUDA out

$(READY): requirements/dev.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
ifdef TORCH_INDEX
	$(WITHOUT_CUDA) requirements/dev.txt > $(VENV)/requirements.txt
	$(INSTALL) --no-deps --require-hashes -r $(VENV)/requirements.txt
	$(INSTALL) --no-deps --index-url $(TORCH_INDEX) $(shell grep -oE '^torch(vision)?==[^ ]+' requirements/dev.txt)
else
	$(INSTALL) --no-deps --require-hashes -r requirements/dev.txt
endif
	$(INSTALL) --no-deps --no-build-isolation -e .
	$(BIN)/vigil wordnet --to $(NLTK_DATA_DIR)
	@touch $@

demo: env ## Train and compare detectors on a demo line: report, table, MLflow
	$(BIN)/vigil demo --workdir $(DEMO)

test: env ## Run the default tests
	$(BIN)/pytest $(PARALLEL)

test-containers: env ## Build the images and test the compiled pipeline in containers (needs root, docker.io, mmdebstrap)
	$(INSTALL) --no-deps --require-hashes \
		-r requirements/containers.txt -r requirements/s3.txt
	$(BIN)/pytest -m container

test-all: env ## Run the tests of all tiers that this machine can run, and hold the coverage of the default one
	$(BIN)/pytest $(PARALLEL) --cov
	$(MAKE) test-tiers

test-tiers: env ## Run the tests that `make test` leaves out
	$(BIN)/pytest $(PARALLEL) -m "(slow or s3 or chart or browser) and not container"
	$(BIN)/pytest -m container

lint: env ## Check style, types and the import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: env ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

WITH_ENGINE := $(BIN)/python -m images.engine

images: env ## Build the container images and hold their sizes against the budgets; OPTIONS="--push REGISTRY"
	$(WITH_ENGINE) $(BIN)/python -m images.build $(OPTIONS)

containers: env ## Build the images and run a pipeline in them: the demo, or LINE=line.yaml
	$(WITH_ENGINE) bash -c '$(BIN)/python -m images.build --replace && time $(BIN)/vigil \
		$(if $(LINE),run $(LINE),demo) --runner docker --workdir $(CONTAINERS)'

compile: env ## Compile the pipeline package that a cluster runs; VIGIL_IMAGE_REGISTRY=REGISTRY/PATH of the images
	mkdir -p build
	$(BIN)/vigil compile -o build/vigil-training.yaml

ui: env ## Open the demo's runs in MLflow
	$(BIN)/mlflow ui --backend-store-uri sqlite:///$(abspath $(DEMO))/mlflow.db

components: env ## Compile each stage's component.yaml, for pipelines of other people
	$(BIN)/python -m pipelines.dags.reuse

golden: env ## Regenerate the golden pipeline package of the tests
	$(BIN)/pytest tests/pipelines/dags/test_training.py --regenerate-golden

UV_COMPILE = uv pip compile --python-version 3.11 --python-platform x86_64-manylinux_2_28 \
	--generate-hashes --no-emit-index-url --quiet

# The images' requirements: parts of the whole, and without comments, whose changes would rebuild layers.
# hf-xet, 11 MB, is for huggingface_hub's own downloads; the weights' are by its plain HTTP, see components/storage/hub.py.
IMAGE_COMPILE = $(UV_COMPILE) -c requirements/dev.txt --no-annotate --no-header

lock: ## Pin and hash the requirements again (needs uv)
	$(UV_COMPILE) pyproject.toml --extra dev -o requirements/dev.txt
	$(IMAGE_COMPILE) pyproject.toml --no-emit-package hf-xet -o requirements/cli.txt
	$(IMAGE_COMPILE) pyproject.toml --extra generation -o requirements/generation.txt
	$(IMAGE_COMPILE) pyproject.toml --extra export -o requirements/detection.txt
	$(IMAGE_COMPILE) requirements/mlflow.in -o requirements/mlflow.txt
	$(IMAGE_COMPILE) requirements/serving.in -o requirements/serving.txt
	$(IMAGE_COMPILE) requirements/build.in -o requirements/build.txt
	$(UV_COMPILE) requirements/s3.in -o requirements/s3.txt
	$(UV_COMPILE) requirements/chart.in -o requirements/chart.txt
	$(UV_COMPILE) requirements/containers.in -o requirements/containers.txt
