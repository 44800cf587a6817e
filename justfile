# Larder's commands. `just` alone lists them.

# Lists the commands.
[private]
default:
    @just --list --unsorted

# Installs what the commands need; safe to run again
setup:
    sh scripts/setup.sh

# Formatting and lints, warnings denied
check:
    cargo fmt --all --check
    # declared by a macro, where cargo fmt does not look
    rustfmt --edition 2024 --check tests/src/suite/*.rs
    cargo clippy --workspace --all-targets --locked -- -D warnings

# The suite on the in-memory store and SQLite, then the SQLite engine's own tests
test-sqlite:
    cargo test -p larder-tests --test sqlite --test memory --locked
    cargo test -p larder-sqlite --locked

# The suite on PostgreSQL, whose server it starts, then the PostgreSQL engine's own tests
test-pg:
    cargo test -p larder-tests --test 'postgres*' --test pgbouncer --test cluster --locked
    cargo test -p larder-postgres --locked

# The suite on Redis, whose server it starts, then the Redis engine's own tests
test-redis:
    cargo test -p larder-tests --test 'redis*' --locked
    cargo test -p larder-redis --locked

# Every test, documentation examples included
test:
    cargo test --workspace --locked

# SQLite beside the bare driver: criterion, then the ratios; an argument picks benches by name
bench-sqlite *filter:
    cargo bench -p larder-benches --bench sqlite --locked -- {{ filter }}
    cargo bench -p larder-benches --bench ratios --locked -- --sqlite {{ filter }}

# PostgreSQL beside the bare driver, on a server of its own or LARDER_BENCH_POSTGRES_URL's
bench-pg *filter:
    cargo bench -p larder-benches --bench postgres --locked -- {{ filter }}
    cargo bench -p larder-benches --bench ratios --locked -- --postgres {{ filter }}

# The ratios to the bare driver alone, its rounds and Larder's alternating; `--check` fails on a miss
bench-ratios *arguments:
    cargo bench -p larder-benches --bench ratios --locked -- {{ arguments }}

# Larder beside Diesel, SQLx, SeaORM and Toasty, both engines; benches/peers/README.md says how
bench-peers *arguments:
    #!/bin/sh
    set -eu
    export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target/peers}"
    # Larder's own part follows the workspace, whose dependencies may have changed.
    cargo build --release --manifest-path benches/peers/Cargo.toml
    for peer in diesel sea-orm sqlx toasty; do
        cargo build --release --locked --manifest-path "benches/peers/$peer/Cargo.toml"
    done
    "$CARGO_TARGET_DIR/release/peers-runner" {{ arguments }}

# A load run of the service on this machine, on SQLite and PostgreSQL; `--help` tells what it takes
load *arguments:
    cargo build --release --locked -p larder --bin larder
    cargo run --release --locked -p larder --example load -- {{ arguments }}

# The API documentation, warnings denied
doc:
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked

# What must pass before a merge: quickest first, so that a slip shows early
ci: check doc test
