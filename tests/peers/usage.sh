#!/bin/sh
# Usage in ClickHouse: its engine, behind as much of its HTTP interface as the client speaks.
set -eu
cd "$(dirname "$0")/../.."
target=${CARGO_TARGET_DIR:-target}
kept=$target/peers
mkdir -p "$kept"

if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
    echo "error: the engine needs this Debian package, or what it holds on this system: python3-venv" >&2
    exit 1
fi
# Installs again only what has changed.
if ! cmp -s tests/peers/usage.txt "$kept/usage.txt"; then
    python3 -m venv --clear "$kept/usage"
    "$kept/usage/bin/pip" install --quiet --disable-pip-version-check --no-deps --only-binary :all: \
        --require-hashes -r tests/peers/usage.txt
    cp tests/peers/usage.txt "$kept/"
fi
cargo build --locked --quiet -p countersign-tests --bin save_usage
PYTHONDONTWRITEBYTECODE=1 "$kept/usage/bin/python" tests/peers/usage.py "$target/debug/save_usage"
