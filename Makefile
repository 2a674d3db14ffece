# `make help` lists what there is.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

CARGO ?= cargo

# `make cluster`: how many nodes it starts, the port of its nginx, and further settings of its nodes. They count on the
# command line only: a PORT in the environment is usually meant for something else.
NODES = 2
PORT = 8000
SET =

# The files that `make mutants` changes: by default the pure ones, which unit tests should pin down completely. The rest
# needs servers, and so tests/it, for which a single change would take minutes.
FILES = $(addprefix src/limiter/,client.rs policy.rs quota.rs window.rs) $(addprefix src/links/,code.rs schemes.rs target.rs)

# How many runs `make simulate` simulates.
SIMULATE = 100000000

# What `make bench` and `make bench-scale` measure: names, with commas between them. If empty, everything.
ONLY =

##@ Everyday

.PHONY: help
help: ## List the targets
	@awk 'BEGIN { FS = ":.*## " } /^##@/ { printf "\n%s\n", substr($$0, 5) } /^[a-z0-9-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: run
run: ## Start the embedded service on http://127.0.0.1:8080
	$(CARGO) run --release

.PHONY: test
test: compose-check ## Install what the tests need; then check the format, lint, run every test, and check terraform/
	@scripts/tools --no-k6 --terraform
	scripts/test

.PHONY: lint
lint: ## Check the format, and run clippy and shellcheck
	scripts/lint

# With 2 processors, 10^8 schedules take about 2 hours. SIMULATE_FROM is the first seed, 1000000000 by default: each seed
# is tried with 9 groups of faults.
.PHONY: simulate
simulate: ## Simulate the limiter under faults, in 100,000,000 runs (hours; SIMULATE=1000000 for fewer)
	SIMULATE=$(SIMULATE) $(CARGO) test --release --lib limiter::simulation -- --ignored --nocapture

.PHONY: mutants
mutants: ## Change pure code bit by bit and list what no unit test notices (hours; FILES=src/limiter/quota.rs)
	@command -v cargo-mutants >/dev/null || $(CARGO) install --locked cargo-mutants
	$(CARGO) mutants $(addprefix --file ,$(FILES)) --output target

.PHONY: compose-check
compose-check: ## Check docker/compose.yaml, if Docker Compose is installed
	scripts/compose-check

.PHONY: terraform-check
terraform-check: ## Check terraform/: format, validity, tests, and plans of the real provider (needs terraform and go, no server)
	scripts/terraform-check

.PHONY: roles-check
roles-check: ## Check the files that terraform/roles put on machines: nginx, systemd, nftables, Postgres, Redis
	scripts/roles-check

.PHONY: homelab-test
homelab-test: ## Try the whole homelab on guests of this machine: apply, proof, release under load, restore (needs root; takes long)
	scripts/homelab-test

.PHONY: image-test
image-test: ## Build docker/Dockerfile and run the container: confined, healthy, drains (needs root, no registry)
	scripts/image-test

.PHONY: fmt
fmt: ## Format the code
	$(CARGO) fmt

.PHONY: bench
bench: servers ## Measure requests per second, latencies and memory; results in benches/results (ONLY=embedded,redis)
	scripts/bench $(if $(ONLY),--only $(ONLY))

.PHONY: bench-scale
bench-scale: ## Measure how cost grows with links, clients, nodes and limits; half an hour (ONLY=links,limits)
	@scripts/tools --no-k6 --gnuplot
	scripts/bench scale $(if $(ONLY),--only $(ONLY))

.PHONY: bench-compare
bench-compare: ## Compare two folders of benches/results (A=folder B=folder)
	@scripts/bench compare $(A) $(B)

.PHONY: instructions
instructions: ## Count instructions per request, and show the functions that take them (valgrind)
	@scripts/tools --no-k6 --valgrind
	scripts/instructions

.PHONY: cluster
cluster: servers ## Start Postgres, Redis, nodes and nginx on this machine until Ctrl-C (NODES=2 PORT=8000 SET="limiter.quota=5/10s")
	$(CARGO) build --release --locked --bin shunt --example cluster
	@exec target/release/examples/cluster --nodes $(NODES) --port $(PORT) $(addprefix --set ,$(SET))

.PHONY: k6
k6: ## Run load tests against a cluster on this machine, or against BASE_URL; reports in load-testing/reports
	@scripts/tools
	NODES=$(NODES) scripts/k6

.PHONY: faults
faults: servers ## Kill, freeze and restart every part of a cluster under load, and print what clients noticed
	scripts/faults

.PHONY: upgrade-test
upgrade-test: servers ## Run the previous release beside this one, on one database (PREVIOUS=a git revision; builds it)
	PREVIOUS=$(PREVIOUS) scripts/upgrade-test

.PHONY: schemathesis
schemathesis: servers ## Test the API against its OpenAPI document (SCHEMATHESIS_MINUTES=10; needs python3)
	scripts/schemathesis/run

.PHONY: valkey-test
valkey-test: servers ## Run the tests that need Redis with Valkey in its place (VALKEY_SERVER=/path/to/valkey-server)
	scripts/valkey-test

.PHONY: release-binary
release-binary: ## Build dist/shunt, the program for Debian 12 that terraform/ brings to the web nodes
	scripts/release-binary

.PHONY: tools
tools: ## Install what tests, benchmarks and load tests need (by apt; k6 and Terraform's providers by go)
	scripts/tools --terraform

# Leaves k6 out, which only `make k6` needs.
.PHONY: servers
servers:
	@scripts/tools --no-k6

.PHONY: clean
clean: ## Remove the build
	$(CARGO) clean
