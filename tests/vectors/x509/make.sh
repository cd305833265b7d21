#!/bin/bash
# Made the certificates here with OpenSSL 3.0.22: a CA such as an agency may have, and leaves that
# each break one rule. Keys are thrown away.
set -eu
cd "$(dirname "$0")"
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
uri="URI:spiffe://police.lt.example/agent/LT.POLICE"

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$tmp/ca.key" \
    -out ca.pem -days 3650 -subj "/O=Lithuania/CN=Issuing CA" \
    -addext "basicConstraints=critical,CA:TRUE,pathlen:0" \
    -addext "keyUsage=critical,keyCertSign,cRLSign" -addext "subjectKeyIdentifier=hash"
openssl genpkey -algorithm ed25519 -out "$tmp/ed25519.key"
openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$tmp/p256.key"

leaf() { # NAME DAYS SAN KEY-USAGE KEY MORE-EXTENSIONS OPTIONS…
    local name=$1 days=$2 san=$3 usage=$4 key=$5 more=$6
    shift 6
    {
        echo "basicConstraints = critical,CA:FALSE"
        echo "subjectKeyIdentifier = hash"
        echo "authorityKeyIdentifier = keyid:always"
        [ -z "$usage" ] || echo "keyUsage = critical,$usage"
        [ -z "$san" ] || echo "subjectAltName = $san"
        [ -z "$more" ] || echo "$more"
    } >"$tmp/ext"
    openssl req -new -key "$tmp/$key.key" -subj "/CN=LT.POLICE" -out "$tmp/csr"
    openssl x509 -req -in "$tmp/csr" -CA ca.pem -CAkey "$tmp/ca.key" -days "$days" \
        -extfile "$tmp/ext" -out "$name.pem" "$@"
}
use=digitalSignature
leaf good 30 "$uri" $use ed25519 ""
leaf long 31 "$uri" $use ed25519 ""
leaf two-uris 30 "$uri,URI:spiffe://police.lt.example/agent/LT.CUSTOMS" $use ed25519 ""
leaf uri-and-dns 30 "$uri,DNS:police.lt.example" $use ed25519 ""
leaf no-name 30 "" $use ed25519 ""
leaf dns-alone 30 "DNS:police.lt.example" $use ed25519 ""
leaf upper-case 30 "URI:spiffe://police.lt.example/agent/lt.police" $use ed25519 ""
leaf p256 30 "$uri" $use p256 ""
leaf no-usage 30 "$uri" "" ed25519 ""
leaf other-usage 30 "$uri" keyAgreement ed25519 ""
leaf signs-lists 30 "$uri" $use,cRLSign ed25519 ""
leaf email 30 "$uri" $use ed25519 "extendedKeyUsage = critical,emailProtection"
leaf unknown-critical 30 "$uri" $use ed25519 "1.2.3.4 = critical,DER:0500"
leaf sha1 30 "$uri" $use ed25519 "" -sha1
sed -i 's/CA:FALSE/CA:TRUE/' "$tmp/ext"
openssl x509 -req -in "$tmp/csr" -CA ca.pem -CAkey "$tmp/ca.key" -days 30 -extfile "$tmp/ext" \
    -out ca-itself.pem
