# `make help` lists what there is.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

CARGO ?= cargo

# How many nodes `make cluster` starts, the port of its nginx, and further settings of its nodes. Only on the command line: a
# PORT in the environment is usually meant for something else.
NODES = 2
PORT = 8000
SET =

# What `make bench` and `make bench-scale` measure (names, with commas between them; everything, if empty).
ONLY =

##@ Everyday

.PHONY: help
help: ## List the targets
	@awk 'BEGIN { FS = ":.*## " } /^##@/ { printf "\n%s\n", substr($$0, 5) } /^[a-z0-9-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: run
run: ## Start the embedded service on http://127.0.0.1:8080
	$(CARGO) run --release

.PHONY: test
test: compose-check ## Install what the tests need and is not there; then format check, lints, every test, and checks of terraform/
	@scripts/tools --no-k6 --terraform
	scripts/test

.PHONY: lint
lint: ## Format check, clippy, shellcheck
	scripts/lint

.PHONY: compose-check
compose-check: ## Check docker/compose.yaml, where Docker Compose is installed
	scripts/compose-check

.PHONY: terraform-check
terraform-check: ## Check terraform/: format, validity, tests, and plans of the real provider (terraform and go; no server)
	scripts/terraform-check

.PHONY: roles-check
roles-check: ## Check the files that terraform/roles put on machines: nginx, systemd, nftables, Postgres, Redis
	scripts/roles-check

.PHONY: homelab-test
homelab-test: ## The whole homelab on guests of this machine: apply, proof, release under load, restore (root; may take long)
	scripts/homelab-test

.PHONY: image-test
image-test: ## Build docker/Dockerfile and run the container: confined, healthy, drains (root; needs no registry)
	scripts/image-test

.PHONY: fmt
fmt: ## Format the code
	$(CARGO) fmt

.PHONY: bench
bench: servers ## Requests per second, latencies and memory on this machine; results in benches/results (ONLY=embedded,redis)
	scripts/bench $(if $(ONLY),--only $(ONLY))

.PHONY: bench-scale
bench-scale: ## How cost grows with links, clients, nodes and limits, in up to half an hour (ONLY=links,limits)
	@scripts/tools --no-k6 --gnuplot
	scripts/bench scale $(if $(ONLY),--only $(ONLY))

.PHONY: bench-compare
bench-compare: ## Say what differs between two folders of benches/results (A=folder B=folder)
	@scripts/bench compare $(A) $(B)

.PHONY: instructions
instructions: ## Instructions per request, and the functions that take them (valgrind)
	@scripts/tools --no-k6 --valgrind
	scripts/instructions

.PHONY: cluster
cluster: servers ## Start Postgres, Redis, nodes and nginx on this machine until Ctrl-C (NODES=2 PORT=8000 SET="limiter.quota=5/10s")
	$(CARGO) build --release --locked --bin shunt --example cluster
	@exec target/release/examples/cluster --nodes $(NODES) --port $(PORT) $(addprefix --set ,$(SET))

.PHONY: k6
k6: ## Load tests against a cluster on this machine, or against BASE_URL; reports in load-testing/reports
	@scripts/tools
	NODES=$(NODES) scripts/k6

.PHONY: faults
faults: servers ## Kill, freeze and restart every part of a cluster under load, and print what clients noticed
	scripts/faults

.PHONY: release-binary
release-binary: ## Build dist/shunt, the stripped program for Debian 12 that terraform/ brings to the web nodes
	scripts/release-binary

.PHONY: tools
tools: ## Install what tests, benchmarks and load tests need and do not find (apt; k6, Terraform's providers: go)
	scripts/tools --terraform

# Without k6, which only `make k6` needs.
.PHONY: servers
servers:
	@scripts/tools --no-k6

.PHONY: clean
clean: ## Remove what was built
	$(CARGO) clean
