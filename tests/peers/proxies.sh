#!/bin/sh
# Forward authentication behind Caddy, Traefik and Envoy, set up as `countersign serve config` prints it.
set -eu
cd "$(dirname "$0")/../.."
target=${CARGO_TARGET_DIR:-target}
kept=$target/peers
mkdir -p "$kept"

if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
    echo "error: the proxies need this Debian package, or what it holds on this system: python3-venv" >&2
    exit 1
fi
# Installs again only what has changed.
if ! cmp -s tests/peers/proxies.txt "$kept/proxies.txt"; then
    python3 -m venv --clear "$kept/proxies"
    "$kept/proxies/bin/pip" install --quiet --disable-pip-version-check --no-deps --only-binary :all: \
        --require-hashes -r tests/peers/proxies.txt
    cp tests/peers/proxies.txt "$kept/"
fi
cargo build --locked --quiet -p countersign-cli
PYTHONDONTWRITEBYTECODE=1 python3 tests/peers/proxies.py "$target/debug/countersign" "$kept/proxies/bin"
