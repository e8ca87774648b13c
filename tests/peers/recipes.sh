#!/bin/sh
# The recipes of docs/recipes, each against a running server: a registered key is accepted, another is refused.
set -eu
cd "$(dirname "$0")/../.."
target=${CARGO_TARGET_DIR:-target}
kept=$target/peers
mkdir -p "$kept"

has() {
    command -v "$1" >/dev/null 2>&1
}
missing() {
    has curl || echo curl
    has openssl || echo openssl
    has node || echo nodejs
    has npm || echo npm
}
packages=$(missing | tr '\n' ' ')
if [ -n "$packages" ] && has apt-get; then
    as_root=
    [ "$(id -u)" -eq 0 ] || as_root="sudo -n"
    echo "installing $packages" >&2
    export DEBIAN_FRONTEND=noninteractive
    # shellcheck disable=SC2086 # words, on purpose
    { $as_root apt-get -qq update && $as_root apt-get -qq install -y --no-install-recommends $packages; } >&2 || true
    packages=$(missing | tr '\n' ' ')
fi
if [ -n "$packages" ]; then
    echo "error: the recipes need these Debian packages, or what they hold on this system: $packages" >&2
    exit 1
fi

wheels=$(tests/peers/wheels recipes)
# Installs again only what has changed.
if ! cmp -s tests/peers/package-lock.json "$kept/package-lock.json"; then
    mkdir -p "$kept/javascript"
    cp tests/peers/package.json tests/peers/package-lock.json "$kept/javascript/"
    (cd "$kept/javascript" && npm ci --silent --ignore-scripts)
    cp tests/peers/package-lock.json "$kept/"
fi

cargo build --locked --quiet -p countersign-examples --example axum_server
cargo build --locked --quiet -p countersign-cli
bin=$(cd "$target/debug" && pwd)
folder=$(mktemp -d)
server=
stop() {
    [ -z "$server" ] || kill "$server" 2>/dev/null || true
    # It saves its memory in the folder before it ends.
    [ -z "$server" ] || wait "$server" 2>/dev/null || true
    rm -rf "$folder"
}
trap stop EXIT

export COUNTERSIGN_DB="sqlite:$folder/registry.db"
"$bin/examples/axum_server" 127.0.0.1:0 "$COUNTERSIGN_DB" >"$folder/out" 2>"$folder/log" &
server=$!
tries=0
until grep -q '^http://' "$folder/out"; do
    tries=$((tries + 1))
    [ $tries -lt 100 ] || { echo "error: the server does not start" >&2; cat "$folder/log" >&2; exit 1; }
    sleep 0.1
done
url="$(head -n 1 "$folder/out")/v1/orders"

countersign() {
    "$bin/countersign" "$@"
}
for name in shop stranger; do
    openssl genpkey -algorithm ed25519 -out "$folder/$name.pem" 2>/dev/null
    chmod 600 "$folder/$name.pem"
    countersign pubkey --prove "$folder/$name.pem" >"$folder/$name.pub"
done
countersign app add shop >/dev/null
countersign key add --app shop --public-key "$folder/shop.pub" --label recipes >/dev/null

# Runs a recipe as the holder of this key: with a query that is written with care, and JSON beyond ASCII.
ask() {
    key=$1 target_of=$2
    shift 2
    "$@" "$folder/$key.pem" "$(head -n 1 "$folder/$key.pub")" "$url$target_of" '{"item":"Bücher"}' 2>&1
}
failed() {
    echo "error: $1: $2" >&2
    exit 1
}
recipe() {
    name=$1
    shift
    for query in '' '?note=a%20b&x=%C3%BC&empty='; do
        said=$(ask shop "$query" "$@") || failed "$name" "$said"
        case $said in
        201\ *Bücher*"
200 "*) ;;
        *) failed "$name" "$said" ;;
        esac
    done
    said=$(ask stranger '' "$@") || true
    case $said in
    401\ *signature-invalid*) ;;
    *) failed "$name, with an unknown key" "$said" ;;
    esac
    echo "$name: signed and accepted; with an unknown key refused"
}
skipped() {
    echo "$1: skipped, since $2 is not installed"
}

export PYTHONDONTWRITEBYTECODE=1
recipe "Python, requests" "$wheels/python" docs/recipes/python_requests.py
recipe "Python, httpx" "$wheels/python" docs/recipes/python_httpx.py
# Node looks for packages beside the program.
cp docs/recipes/library.mjs "$kept/javascript/"
recipe "JavaScript, http-message-signatures" node "$kept/javascript/library.mjs"
recipe "JavaScript, WebCrypto" node docs/recipes/webcrypto.mjs
# Too large to install for one recipe each.
if has java; then recipe "Java" java docs/recipes/SignedOrder.java; else skipped Java default-jdk-headless; fi
if has go; then recipe "Go" go run docs/recipes/signed_order.go; else skipped Go golang-go; fi

said=$(sh examples/signed_curl.sh "$folder/shop.pem" "$url?note=a%20b" '{"item":"book"}') || failed "sh, openssl" "$said"
said=$(sh examples/signed_curl.sh "$folder/stranger.pem" "$url" '{"item":"book"}') && failed "sh, an unknown key" "$said"
echo "sh, openssl: signed and accepted; with an unknown key refused"
