#!/bin/sh
# Keys and certificates for tests. Worthless by intention: the private keys are public, never trust them anywhere.
# One authority signs `server` (localhost, 127.0.0.1, ::1) and `client`; `stranger` signs itself. Valid until 2126.
set -eu
cd "$(dirname "$0")"
days=36500
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days $days -keyout ca.key -out ca.crt -subj '/CN=Sluice test authority'
sign() { # name, subject, extension
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout "$1.key" -out "$1.csr" -subj "/CN=$2"
  printf '%s\n' "$3" > "$1.ext"
  openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days $days -out "$1.crt" -extfile "$1.ext"
}
sign server localhost 'subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1'
sign client 'test client' 'extendedKeyUsage=clientAuth'
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days $days -keyout stranger.key -out stranger.crt -subj '/CN=stranger'
rm -f ./*.csr ./*.ext ./*.srl ca.key
