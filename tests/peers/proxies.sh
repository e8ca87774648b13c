#!/bin/sh
# Forward authentication behind Caddy, Traefik and Envoy, set up as `countersign serve config` prints it.
set -eu
cd "$(dirname "$0")/../.."
wheels=$(tests/peers/wheels proxies)
cargo build --locked --quiet -p countersign-cli
PYTHONDONTWRITEBYTECODE=1 python3 tests/peers/proxies.py "${CARGO_TARGET_DIR:-target}/debug/countersign" "$wheels"
