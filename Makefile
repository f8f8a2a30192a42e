# Everything is a target. `make help` lists them.
PYTHON ?= python3
UV := $(shell command -v uv 2>/dev/null || echo .uv/bin/uv)
RUN := .venv/bin
INSTALLED := .venv/.installed
# Much of the tests is waiting. A worker and the stack that it starts take 2 GB.
WORKERS ?= 3

export OMP_NUM_THREADS ?= 1
export TOKENIZERS_PARALLELISM ?= false
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help install demo test up down bench events lint clean lock hooks

help:  ## lists the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(INSTALLED)  ## installs what requirements.lock names into .venv

$(INSTALLED): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info < (3, 14) else f"driftgate needs Python 3.11 to 3.13, but $(PYTHON) is {sys.version.split()[0]}: make PYTHON=python3.11")'
	@command -v uv >/dev/null || [ -x .uv/bin/uv ] || { echo "fetching uv"; $(PYTHON) -m venv .uv && .uv/bin/pip install -q uv==0.13.8; }
	@[ -x .venv/bin/python ] || $(UV) venv -q --python $(PYTHON) .venv
	@echo "installing (the first time some minutes, mostly torch)"
ifeq ($(TORCH),cpu)
	@$(UV) pip install -q --python .venv --torch-backend cpu --group dev --extra services -r pyproject.toml
else
	@$(UV) pip install -q --python .venv --require-hashes -r requirements.lock
endif
	@$(UV) pip install -q --python .venv --no-deps -e .
	@touch $@

demo: $(INSTALLED)  ## plays a world through the whole loop; EXAMPLE=ticket-extract one that writes, DATA=PATH your own labelled text, with TASK=generation pairs, PROFILE=complaints,review how people answer, PACED=1 on a clock
	@$(RUN)/driftgate demo $(if $(DATA),--data "$(DATA)") $(if $(TASK),--task "$(TASK)") $(if $(EXAMPLE),--example "$(EXAMPLE)") $(if $(PROFILE),--profile "$(PROFILE)") $(if $(PACED),--paced) $(ARGS)

test: lint  ## lint, types and the tests, on ports of their own; ARGS="-m long" the longest ones
	@$(RUN)/pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

up: $(INSTALLED)  ## starts Kafka, ClickHouse's engine, Ray and the services
	@$(RUN)/driftgate up $(ARGS)

down: $(INSTALLED)  ## stops them; what was stored stays
	@$(RUN)/driftgate down $(ARGS)

bench: $(INSTALLED)  ## runs one benchmark, NAME=..., and writes its result into bench/RESULTS.md
	@$(RUN)/python -m bench.run $(NAME) $(ARGS)

events: $(INSTALLED)  ## writes the classes of events anew from schemas/
	@$(RUN)/python -m driftgate.events.generate

lint: $(INSTALLED)  ## ruff, mypy, and which module may import which
	@$(RUN)/ruff check .
	@$(RUN)/ruff format --check .
	@$(RUN)/mypy
	@$(RUN)/lint-imports --no-logo --no-cache

lock: $(INSTALLED)  ## writes requirements.lock anew from pyproject.toml
	@$(UV) pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --group dev --extra services pyproject.toml -o requirements.lock

hooks:  ## lets git check what is staged before each commit
	@git config core.hooksPath .githooks

clean:  ## removes what was installed and stored
	@for state in .driftgate .driftgate/demo .driftgate/bench; do [ ! -x $(RUN)/driftgate ] || $(RUN)/driftgate down --state $$state; done
	@rm -rf .venv .uv .driftgate report.html .pytest_cache .mypy_cache .ruff_cache
