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
    cargo test -p larder-tests --test 'postgres*' --test cluster --locked
    cargo test -p larder-postgres --locked

# Every test, documentation examples included
test:
    cargo test --workspace --locked

# SQLite beside the bare driver: criterion, then the ratios; an argument picks benches by name
bench-sqlite *filter:
    cargo bench -p larder-benches --bench sqlite --locked -- {{ filter }}
    cargo bench -p larder-benches --bench ratios --locked -- {{ filter }}

# The ratios to the bare driver alone, its rounds and Larder's alternating; `--check` fails on a miss
bench-ratios *arguments:
    cargo bench -p larder-benches --bench ratios --locked -- {{ arguments }}

# The API documentation, warnings denied
doc:
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked

# What must pass before a merge: quickest first, so that a slip shows early
ci: check doc test
