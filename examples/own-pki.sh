#!/usr/bin/env bash
# A PKI of your own with openssl, RSA here: a CA, a broker certificate, and a certificate for the key that the device made.
# Usage: own-pki.sh DIR ID; expects DIR/ID.csr.pem from own-pki.ts and writes the certificates beside it.
set -euo pipefail
cd "$1"
id=$2
if [ ! -f ca.key.pem ]; then
  openssl req -x509 -newkey rsa:3072 -nodes -keyout ca.key.pem -out ca.crt.pem -days 3650 -subj "/CN=Example CA" \
    -addext "basicConstraints=critical,CA:true" -addext "keyUsage=critical,keyCertSign,cRLSign"
  openssl req -newkey rsa:2048 -nodes -keyout broker.key.pem -subj "/CN=localhost" |
    openssl x509 -req -CA ca.crt.pem -CAkey ca.key.pem -CAcreateserial -days 365 -out broker.crt.pem \
      -extfile <(printf 'subjectAltName=DNS:localhost\nextendedKeyUsage=serverAuth\nkeyUsage=critical,digitalSignature,keyEncipherment')
fi
# The CN of a device's certificate is its id.
openssl x509 -req -in "$id.csr.pem" -CA ca.crt.pem -CAkey ca.key.pem -CAcreateserial -days 365 -out "$id.crt.pem" \
  -extfile <(printf 'extendedKeyUsage=clientAuth\nkeyUsage=critical,digitalSignature')
openssl verify -CAfile ca.crt.pem broker.crt.pem "$id.crt.pem"
