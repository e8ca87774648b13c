#!/bin/sh
# Signs a POST with nothing but sh, openssl (3) and curl. There is no more to it: RFC 9530 for the digest of the content,
# RFC 9421 for the signature, RFC 7638 for the name of the key.
#
#   signed_curl.sh KEY.pem URL JSON
set -eu
if [ $# -ne 3 ]; then
    echo "error: three arguments are needed" >&2
    echo "hint: signed_curl.sh KEY.pem http://127.0.0.1:8080/v1/orders '{\"item\":\"book\"}'" >&2
    exit 1
fi
key=$1 url=$2 content=$3

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
base64url() { openssl base64 -A | tr '+/' '-_' | tr -d '='; }

# What the URL means to a server: authority, path, and the query with its question mark.
rest=${url#*://}
authority=${rest%%/*}
target=/${rest#*/}
path=${target%%\?*}
query=?
case $target in *\?*) query=\?${target#*\?} ;; esac

# The last 32 bytes of the public key's DER form are the key itself; its JWK thumbprint names it.
x=$(openssl pkey -in "$key" -pubout -outform DER | tail -c 32 | base64url)
keyid=$(printf '{"crv":"Ed25519","kty":"OKP","x":"%s"}' "$x" | openssl dgst -sha256 -binary | base64url)

digest="sha-256=:$(printf %s "$content" | openssl dgst -sha256 -binary | openssl base64 -A):"
nonce=$(openssl rand 16 | base64url)
covered='("@method" "@authority" "@path" "@query" "content-type" "content-digest")'
params="$covered;created=$(date +%s);nonce=\"$nonce\";keyid=\"$keyid\";alg=\"ed25519\";tag=\"countersign\""

# The signature base: a line for each covered component, and no line end behind the last line.
printf '%s\n' \
    '"@method": POST' \
    "\"@authority\": $authority" \
    "\"@path\": $path" \
    "\"@query\": $query" \
    '"content-type": application/json' \
    "\"content-digest\": $digest" >"$folder/base"
printf '"@signature-params": %s' "$params" >>"$folder/base"
signature=$(openssl pkeyutl -sign -rawin -inkey "$key" -in "$folder/base" | openssl base64 -A)

curl -q --silent --show-error --path-as-is --globoff \
    -H 'Content-Type: application/json' \
    -H "Content-Digest: $digest" \
    -H "Signature-Input: sig=$params" \
    -H "Signature: sig=:$signature:" \
    --data-raw "$content" -w '\n' "$url"
