# shellcheck shell=bash
# The certificate nginx serves: the one that is given, or one of our own. Sourced by lib-up.sh.

# put_tls FILE MODE: standard input becomes a file of the run user.
put_tls() {
    as_run_user sh -c 'umask 077 && cat >"$1.new" && chmod "$2" "$1.new" && mv "$1.new" "$1"' \
        sh "$RUN_DIR/tls/$1" "$2"
}

make_certificate() {
    local tls=$RUN_DIR/tls
    if [ -n "${TLS_CERTIFICATE-}" ]; then
        if ! as_run_user cat "$tls/certificate.pem" 2>/dev/null | cmp -s - "$TLS_CERTIFICATE"; then
            put_tls key.pem 600 <"$TLS_KEY"
            put_tls certificate.pem 644 <"$TLS_CERTIFICATE"
            touch "$RUN_DIR/nginx/changed"
        fi
        return
    fi
    # Renewed in its last month; one that was given earlier stays as long as it is valid.
    as_run_user openssl x509 -in "$tls/certificate.pem" -noout -checkend 2592000 \
        >/dev/null 2>&1 && as_run_user test -s "$tls/key.pem" && return
    step "making a self-signed certificate for localhost"
    as_run_user sh -c 'umask 077 && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 \
        -nodes -days 365 -subj /CN=localhost -keyout "$1/key.pem" -out "$1/certificate.pem" \
        -addext "subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1" \
        -addext "basicConstraints=critical,CA:TRUE" 2>"$1/openssl.log" &&
        chmod 644 "$1/certificate.pem"' sh "$tls" ||
        fail "$tls/openssl.log" "cannot make a certificate"
    touch "$RUN_DIR/nginx/changed"
}
