# `make help` lists what there is.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

CARGO ?= cargo

# How many nodes `make cluster` starts, the port of its nginx, and further settings of its nodes.
NODES ?= 2
PORT ?= 8000
SET ?=

##@ Everyday

.PHONY: help
help: ## List the targets
	@awk 'BEGIN { FS = ":.*## " } /^##@/ { printf "\n%s\n", substr($$0, 5) } /^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: run
run: ## Start the embedded service on http://127.0.0.1:8080
	$(CARGO) run --release

.PHONY: test
test: tools ## Install the servers that the tests need and are not there; then format check, lints and every test
	scripts/test

.PHONY: lint
lint: ## Format check, clippy, shellcheck
	scripts/lint

.PHONY: fmt
fmt: ## Format the code
	$(CARGO) fmt

.PHONY: bench
bench: tools ## Requests per second of this machine, as shares of a bare web server
	scripts/bench

.PHONY: cluster
cluster: tools ## Start Postgres, Redis, nodes and nginx on this machine until Ctrl-C (NODES=2 PORT=8000 SET="limiter.quota=5/10s")
	$(CARGO) build --release --locked --bin shunt --example cluster
	@exec target/release/examples/cluster --nodes $(NODES) --port $(PORT) $(addprefix --set ,$(SET))

.PHONY: tools
tools: ## Install what tests and benchmarks need and do not find (apt)
	scripts/tools

.PHONY: clean
clean: ## Remove what was built
	$(CARGO) clean
