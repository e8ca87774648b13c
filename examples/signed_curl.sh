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

# What the URL means to a server: authority, path, and the query with its question mark. The authority is in lower case,
# and without the port that its scheme has anyway.
rest=${url#*://} rest=${rest%%#*}
authority=${rest%%[/?]*}
target=${rest#"$authority"}
case $target in /*) ;; *) target=/$target ;; esac
authority=$(printf %s "$authority" | tr A-Z a-z)
case $url in http:*) authority=${authority%:80} ;; https:*) authority=${authority%:443} ;; esac
path=${target%%\?*}
query=?
case $target in *\?*) query=\?${target#*\?} ;; esac

# The DER form of an Ed25519 public key is these 12 bytes and then the key itself (RFC 8410); its JWK thumbprint names it.
der=$(openssl pkey -in "$key" -pubout -outform DER 2>/dev/null | openssl base64 -A)
case $der in
MCowBQYDK2VwAyEA*) ;;
*)
    echo "error: $key is no file of an Ed25519 private key" >&2
    echo "hint: openssl genpkey -algorithm ed25519 -out KEY.pem" >&2
    exit 1
    ;;
esac
x=$(printf %s "${der#MCowBQYDK2VwAyEA}" | tr '+/' '-_' | tr -d '=')
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

curl -q --silent --show-error --fail-with-body --path-as-is --globoff \
    -H 'Content-Type: application/json' \
    -H "Content-Digest: $digest" \
    -H "Signature-Input: sig=$params" \
    -H "Signature: sig=:$signature:" \
    --data-raw "$content" -w '\n' "$url"
