# Every target works in a fresh clone: the first one that needs .venv makes it, with pinned packages.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

# make demo [DATA=dir] [WEIGHTS=dir]
DATA ?=
WEIGHTS ?=
DEMO_OUT ?= demo-out

# make load|soak [MODELS=dir | URL=http://host:port GRPC=grpc://host:port] [LOAD_ARGS=...]
MODELS ?=
URL ?=
GRPC ?=
LOAD := -m scripts.load $(if $(MODELS),--models "$(MODELS)") $(if $(URL),--url "$(URL)") $(if $(GRPC),--grpc "$(GRPC)")
SOAK_S ?= 1200

FUZZ_TESTS := tests/unit/test_fuzz.py tests/contract/test_fuzzed_bodies.py tests/contract/test_openapi.py
FUZZ_S ?= 60

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-long check audit format protos lock images load soak bench-train bench-fine-tune bench-serve bench-gateway bench-overload bench-evaluate bench-versions clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## make .venv with everything pinned in requirements/dev.txt

$(READY): requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Affect needs Python 3.11 or newer: make $(MAKECMDGOALS) PYTHON=/path/to/python3" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(READY) ## run everything end to end: faces, training, serving, predictions, scores
	$(BIN)/python scripts/demo.py --out "$(DEMO_OUT)" $(if $(DATA),--data "$(DATA)") $(if $(WEIGHTS),--weights "$(WEIGHTS)")

test: $(READY) ## run all tests
	$(BIN)/python -m pytest --numprocesses auto --dist worksteal $(PYTEST_ARGS)

test-long: $(READY) ## run the fuzz tests 400 times as long, 100 shutdowns under load, and atheris, if installed, for FUZZ_S seconds a parser
	AFFECT_FUZZ=400 $(BIN)/python -m pytest --numprocesses auto $(FUZZ_TESTS) $(PYTEST_ARGS)
	AFFECT_DRAINS=50 $(BIN)/python -m pytest --numprocesses auto tests/integration/test_drain.py -k under_load $(PYTEST_ARGS)
	if $(BIN)/python -c 'import atheris' 2>/dev/null; then $(BIN)/python -m tests.fuzz --seconds "$(FUZZ_S)"; fi

check: $(READY) ## check format, lint, types, generated code and dependencies
	scripts/check

audit: $(READY) ## look for known vulnerabilities in the pinned packages
	$(BIN)/python scripts/audit.py --required

format: $(READY) ## format the code and apply the linter's fixes
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

protos: $(READY) ## regenerate the code from the .proto files
	scripts/generate-protos

lock: ## resolve and pin everything in requirements/ again (needs uv)
	scripts/lock

images: $(READY) ## build, measure and try the container images (needs Docker or buildah)
	$(BIN)/python -m scripts.images

load: $(READY) ## load-test a gateway: a verdict, and the highest rate that meets the target
	$(BIN)/python $(LOAD) $(LOAD_ARGS)

soak: $(READY) ## load-test a gateway for SOAK_S seconds at 80 % of saturation: no errors, no memory growth
	$(BIN)/python $(LOAD) --kind soak --soak-s "$(SOAK_S)" $(LOAD_ARGS)

bench-train: $(READY) ## compare training with the study's loop
	$(BIN)/python bench/train.py

bench-fine-tune: $(READY) ## compare a step of fine-tuning with Keras's own loop
	$(BIN)/python bench/fine_tune.py

bench-serve: $(READY) ## compare the gateway with a tutorial's server
	$(BIN)/python bench/serve.py

bench-gateway: $(READY) ## compare the gateway in front of a model server with direct calls of the server
	$(BIN)/python bench/gateway.py $(if $(MODELS),--models "$(MODELS)")

bench-overload: $(READY) ## put five times the load it can carry on the gateway, with MODELS=DIR
	$(BIN)/python bench/overload.py --models "$(MODELS)"

bench-evaluate: $(READY) ## compare the evaluation job with a load generator, with MODELS=DIR
	$(BIN)/python bench/evaluate.py --models "$(MODELS)"

bench-versions: $(READY) ## change versions under load, on both runtimes
	$(BIN)/python bench/versions.py

clean: ## remove everything that make has made
	rm -rf $(VENV) $(DEMO_OUT) load-out .pytest_cache .mypy_cache .ruff_cache .hypothesis .fuzz
