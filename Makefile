# Everything runs in .venv; `make help` lists the targets.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help setup demo demo-colocation test test-slow check testbed lint types layers bench bench-peers clean system-deps lock

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

setup: $(STAMP) ## make .venv with everything pinned, and nothing else

$(STAMP): requirements/dev.txt pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "neaptide needs Python 3.11 ($(PYTHON) was not found; set PYTHON=/path/to/python3.11)"; exit 1; }
	@echo "==> .venv: creating it with $$($(PYTHON) --version)" >&2
	@$(PYTHON) -m venv $(VENV)
	@echo "==> .venv: installing the pinned packages (about 350 MB; a minute or two the first time)" >&2
	@$(BIN)/pip install --quiet --require-hashes -r requirements/dev.txt
	@$(BIN)/pip install --quiet --no-build-isolation --no-deps -e .
	@echo "==> .venv: compiling kernels (most of a minute, once)" >&2
	@$(BIN)/python -m neaptide.placement.warm
	@touch $@

demo: setup ## a mixed day on real data: three set-ups, a table and a report
	@$(BIN)/neaptide demo

demo-colocation: setup testbed ## a service beside offline jobs on one real node, with and without the agent (as root, two CPUs)
	@$(BIN)/neaptide testbed colocation

demo-virtual: setup testbed ## as root: a job larger than its cluster starts on a virtual node, and is paid by the second
	@$(BIN)/neaptide demo-virtual

test: setup check ## what `check` does; pytest lists what was skipped and why

check: setup lint types layers testbed ## ruff, mypy --strict, import-linter, tests
	@echo "==> tests"
	@$(BIN)/pytest -n auto --reruns 1 --rerun-show-tracebacks -r sR

test-slow: setup testbed ## the tests that take minutes
	@$(BIN)/pytest -m slow

testbed: setup
	@echo "==> testbed: a real control plane for the tests (built from Go modules the first time: about 10 minutes on 2 cores)"
	@$(BIN)/neaptide testbed build --with helm

lint: setup
	@echo "==> ruff"
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: setup
	@echo "==> mypy --strict"
	@$(BIN)/mypy

layers: setup
	@echo "==> import-linter"
	@$(BIN)/lint-imports

bench: setup ## one JSON line per figure; FIGURE=name runs one; budgets in benchmarks/budgets.yaml
	@$(BIN)/python -m benchmarks $(FIGURE)

bench-peers: setup testbed ## figures beside real peers, minutes each: FIGURE, NODES, PODS, RUNS, MINUTES
	@$(BIN)/python -m benchmarks --peers $(FIGURE)

system-deps: ## with apt, as root: what some tests want besides (chromium, prometheus, what real nodes and virtual machines are made of)
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core prometheus \
	  containerd runc containernetworking-plugins busybox-static iproute2 libmath-bigint-perl qemu-system-x86 linux-image-amd64 cpio

lock: ## resolve requirements/*.in again into hashed pins (wants uv)
	for name in runtime build dev; do \
	  uv pip compile --quiet --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header \
	    requirements/$$name.in -o requirements/$$name.txt; done

clean: ## remove what the other targets made
	rm -rf $(VENV) .mypy_cache .ruff_cache .import_linter_cache .hypothesis build dist neaptide-demo
	find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
