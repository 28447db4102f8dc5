# Slipway. `make demo` and `make test` need Python >= 3.11 and make; everything else they fetch themselves.
SHELL := /bin/bash
.DEFAULT_GOAL := help
UV := $(shell command -v uv 2>/dev/null || echo .slipway/uv/bin/uv)
RUN := $(UV) run --frozen --all-packages
PYTEST_WORKERS ?= 2
# Where the environment forbids bytecode, each of the many processes that tests start compiles all that it imports.
export PYTHONDONTWRITEBYTECODE :=

help:  ## what there is
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## /\1\t/' | expand -t 14

.PHONY: help sync demo test check fmt schemas docs unit chaos simulate openstack e2e bench secrets clean

$(UV):
	@dev/install-uv

sync: $(UV)  ## install the workspace
	@$(UV) sync --frozen --all-packages --quiet

demo: sync  ## run the whole platform on this machine and show its main job (KEEP=1 leaves it running)
	@$(RUN) python -m dev.backends --rabbitmq -- python -m slipway_platform.demo $(if $(KEEP),--keep)

test: sync check  ## every gate: checks, unit, service, integration, system, simulation
	@$(RUN) python -m dev.backends --rabbitmq --postgresql -- dev/run-tests

unit: sync  ## unit and service tests alone, no broker needed
	@$(RUN) pytest -q -n $(PYTEST_WORKERS) libs services agents cli admin sandbox platform

check: sync  ## formatting, lint, types, layers, lock, schemas, generated documents
	@$(UV) lock --check --quiet
	@$(RUN) ruff format --check --quiet .
	@$(RUN) ruff check --quiet .
	@$(RUN) mypy
	@$(RUN) lint-imports
	@$(RUN) python -m slipway_contracts.schemas check libs/contracts/schemas
	@dev/check-generated
	@dev/check-alone

fmt: sync  ## format and mend what can be mended
	@$(RUN) ruff format .
	@$(RUN) ruff check --fix .

schemas: sync  ## write the schema snapshots after a compatible change
	@$(RUN) python -m slipway_contracts.schemas write libs/contracts/schemas

docs: sync  ## write the generated documents
	@dev/generate-docs

chaos: sync  ## real faults of broker, databases, disks and replicas; not in `make test`, for it takes ten minutes
	@$(RUN) pytest -q -rs tests/chaos

simulate: sync  ## many seeds of the whole platform on a stepping clock: SEEDS=200, or one: SEED=17
	@$(RUN) python -m slipway_simulation $(if $(SEED),--seed $(SEED),--seeds $(or $(SEEDS),200))

openstack: sync  ## a cluster's whole life on a real OpenStack with emulated machines (needs SLIPWAY_TEST_CLOUD)
	@$(RUN) python -m dev.backends --rabbitmq -- pytest -q -rs tests/openstack

e2e: sync  ## real clusters on servers that boot (needs SLIPWAY_TEST_REAL_ZONE and a cloud)
	@$(RUN) python -m dev.backends --rabbitmq -- pytest -q -m realnodes -rs tests/e2e

bench: sync  ## measurements, as ratios in one run; see docs/performance.md
	@$(RUN) python -m dev.backends --rabbitmq --postgresql -- pytest -q -s -m bench tests/bench

secrets: sync  ## passwords and keys for docker-compose.yml, into deploy/compose/secrets (HOST=name for the agents' listeners, REGION=name)
	@$(RUN) python -m slipway_platform.prepare deploy/compose/secrets $(if $(HOST),--host $(HOST)) $(if $(REGION),--region $(REGION))

clean:  ## remove what running made
	@rm -rf .slipway .pytest_cache .mypy_cache .ruff_cache .hypothesis
