#!/bin/sh
# Installs what Larder's commands need beyond Rust and a C compiler: just, the
# PostgreSQL and Redis servers, and pgbouncer. Safe to run again: what is there is
# left alone.
#
# No server has to be running afterwards; tests start their own.
# Fails when Rust, a C compiler or `just` is missing at the end. A missing database
# server is reported, and stops only the tests that need it.
set -eu

cargo_bin="${CARGO_HOME:-${HOME:-/root}/.cargo}/bin"
path_at_start=$PATH
PATH="$cargo_bin:$PATH"
export PATH

say() { printf 'setup: %s\n' "$*"; }
warn() { printf 'setup: %s\n' "$*" >&2; }
die() {
    warn "$@"
    exit 1
}

has() { command -v "$1" >/dev/null 2>&1; }

# Where the tests look: `pg_config --bindir`, then Debian's directories outside PATH, one
# per version. A client's package alone has no initdb.
has_postgres() {
    for directory in "$(pg_config --bindir 2>/dev/null)" /usr/lib/postgresql/*/bin; do
        [ -x "$directory/initdb" ] && [ -x "$directory/pg_ctl" ] && [ -x "$directory/postgres" ] &&
            return 0
    done
    return 1
}

# Some systems keep servers in sbin, which a user's PATH may lack.
has_redis() { has redis-server || [ -x /usr/sbin/redis-server ] || [ -x /usr/bin/redis-server ]; }

has_pgbouncer() { has pgbouncer || [ -x /usr/sbin/pgbouncer ]; }

is_debian() { [ -r /etc/debian_version ] && has apt-get; }

# Runs a command as root, or fails when there is no way to.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif has sudo; then
        sudo "$@"
    else
        return 1
    fi
}

# Waits for a package manager already at work, as on a machine that has just booted.
# Only its complaints are shown.
apt() {
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get -qq -y -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 "$@" </dev/null >/dev/null
}

# The caller looks at what is there afterwards: a package whose service cannot start
# (in a container, say) reports failure although its programs are in place.
install_package() {
    say "installing $1 with apt-get"
    apt install --no-install-recommends "$1" || warn "apt-get reported a problem with $1"
}

packaged() {
    candidate=$(apt-cache policy "$1" 2>/dev/null | sed -n 's/^ *Candidate: //p')
    [ -n "$candidate" ] && [ "$candidate" != "(none)" ]
}

# A runner of commands need not be fast: an unoptimised build takes a fraction of the time.
build_just() {
    say "building just with cargo (a minute or two)"
    CARGO_PROFILE_DEV_DEBUG=false cargo install just --locked --debug --quiet </dev/null ||
        warn "cargo could not install just"
}

require_toolchain() {
    has cargo || die "Rust is missing. Install it with rustup (https://rustup.rs), then run this again."
    has cc || has gcc || has clang ||
        die "a C compiler is missing. On Debian and Ubuntu: apt-get install build-essential"
    cargo fmt --version >/dev/null 2>&1 ||
        warn "rustfmt is missing, 'just check' needs it: rustup component add rustfmt"
    cargo clippy --version >/dev/null 2>&1 ||
        warn "clippy is missing, 'just check' needs it: rustup component add clippy"
}

install_on_debian() {
    if [ "$(id -u)" -ne 0 ] && ! has sudo; then
        warn "neither root nor sudo: cannot install packages. Ask for: postgresql pgbouncer redis-server"
    else
        say "refreshing the package lists"
        apt update || warn "the package lists could not be refreshed; trying with those at hand"
        has just || ! packaged just || install_package just
        has_postgres || install_package postgresql
        has_pgbouncer || install_package pgbouncer
        has_redis || install_package redis-server
    fi
    has just || build_just
}

explain_elsewhere() {
    warn "this script installs on Debian and Ubuntu only. Please install yourself:"
    has just || warn "  just                   cargo install just --locked"
    has_postgres || warn "  PostgreSQL 15 or newer the server; it need not run"
    has_pgbouncer || warn "  pgbouncer              for the tests behind a pooler; it need not run"
    has_redis || warn "  Redis 7 or newer       the server; it need not run"
    if has brew; then
        warn "  with Homebrew:         brew install just postgresql pgbouncer redis"
    fi
}

report() {
    missing=
    has_postgres || missing="PostgreSQL"
    has_pgbouncer || missing="${missing:+$missing, }pgbouncer"
    has_redis || missing="${missing:+$missing, }Redis"
    has just || die "just is missing, and every command runs through it."
    if [ -n "$missing" ]; then
        warn "ready for the in-memory store and SQLite. Missing for their own tests: $missing"
    else
        say "ready: just, PostgreSQL, pgbouncer and Redis are installed"
    fi
    if ! (PATH=$path_at_start && has just); then
        say "add just to your PATH: export PATH=\"$cargo_bin:\$PATH\""
    fi
}

require_toolchain
if ! { has just && has_postgres && has_pgbouncer && has_redis; }; then
    if is_debian; then
        install_on_debian
    else
        explain_elsewhere
    fi
fi
report
