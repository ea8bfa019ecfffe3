# Two commands matter: `make demo` and `make test`. Both install the Debian packages they need.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:

export CARGO_TERM_COLOR ?= auto
target := $(or $(CARGO_TARGET_DIR),target)
cargo  := cargo --locked

.PHONY: help demo test test-long instructions fuzz run bench check fmt build packages pesq-venv api-venv browser

help:
	@sed -n 's/^## //p' $(MAKEFILE_LIST)

## demo       real calls through a simulated carrier: trunk, MP3, keys, CDRs
demo: packages build
	$(target)/debug/demo

## test       everything that CI runs: checks, unit and property tests, real peers
test: packages check build pesq-venv api-venv browser
	cargo test --locked --workspace --quiet

## test-long  the same with fifty times as many seeds; not in CI
test-long: packages build pesq-venv api-venv browser instructions
	CARILLON_LONG=1 cargo test --locked --workspace --quiet -- --nocapture

## instructions  what small things cost in instructions, against benches/instructions.txt; `write=1` writes it
instructions: packages
	$(cargo) build --release -p carillon-benches
	$(target)/release/carillon-bench --instructions benches/instructions.txt $(if $(write),--write)

## fuzz       each fuzz target for a minute, or for `make fuzz seconds=N`; not in CI
fuzz:
	scripts/fuzz.sh $(or $(seconds),60)

## run        the engine with the example configuration
run: build
	[ -f examples/tokens.toml ] || { echo 'a token for you, shown this once:'; $(target)/debug/carillon token new \
	    --config examples/carillon.toml --name make-run --scopes read,control,originate,admin; }
	$(target)/debug/carillon serve --config examples/carillon.toml

## bench      one table with the figures of docs/performance.md
bench: packages
	$(cargo) build --release --workspace
	$(target)/release/carillon-bench --carillon $(target)/release/carillon

## check      formatting, lints, layers, tidiness
check:
	cargo fmt --all --check
	$(cargo) clippy --workspace --all-targets --quiet -- -D warnings
	$(cargo) xtask layers
	$(cargo) xtask tidy
	if cargo deny --version >/dev/null 2>&1; then cargo deny check; else echo 'cargo-deny is not installed: licences and advisories not checked'; fi

## fmt        format everything
fmt:
	cargo fmt --all

build:
	$(cargo) build --workspace --all-targets

packages:
	scripts/packages.sh

pesq-venv:
	testbed/pesq/setup.sh $(target)/pesq-venv

api-venv:
	testbed/api/setup.sh $(target)/api-venv

browser:
	testbed/browser/setup.sh $(target)/browser >/dev/null
