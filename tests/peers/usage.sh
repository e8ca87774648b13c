#!/bin/sh
# Usage in ClickHouse: its engine, behind as much of its HTTP interface as the client speaks.
set -eu
cd "$(dirname "$0")/../.."
wheels=$(tests/peers/wheels usage)
cargo build --locked --quiet -p countersign-tests --bin save_usage
PYTHONDONTWRITEBYTECODE=1 "$wheels/python" tests/peers/usage.py "${CARGO_TARGET_DIR:-target}/debug/save_usage"
