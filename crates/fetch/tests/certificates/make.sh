#!/bin/sh
# Makes the certificates of environment.rs: the roots of two companies, and a server of the first one.
# They are valid from 2020 to 2120, and their keys protect nothing. Made with OpenSSL 3.0.
set -eu
cd "$(dirname "$0")"
scratch=$(mktemp -d)
trap 'rm -r "$scratch"' EXIT

# make NAME SUBJECT EXTENSIONS OPTION..: a key, a request, and a certificate as `openssl ca` is told.
make() {
    name=$1 subject=$2 extensions=$3
    shift 3
    : > "$scratch/index"
    printf '%s\n' '[ca]' 'default_ca = own' '[own]' "database = $scratch/index" "new_certs_dir = $scratch" \
        'rand_serial = yes' 'default_md = sha256' 'policy = any' 'unique_subject = no' '[any]' \
        'organizationName = optional' 'commonName = optional' "[extensions]" "$extensions" > "$scratch/config"
    openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -noenc -subj "$subject" \
        -keyout "$scratch/$name.key" -out "$scratch/$name.request"
    openssl ca -batch -notext -config "$scratch/config" -extensions extensions -in "$scratch/$name.request" \
        -startdate 20200101000000Z -enddate 21200101000000Z -out "$name.pem" "$@"
}

for company in company other; do
    make $company "/O=$company" 'basicConstraints = critical, CA:TRUE' -selfsign -keyfile "$scratch/$company.key"
done
make server "/CN=server" 'subjectAltName = IP:127.0.0.1, DNS:files.invalid' \
    -cert company.pem -keyfile "$scratch/company.key"
mv "$scratch/server.key" .
