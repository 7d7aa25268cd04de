# shellcheck shell=bash
# The certificate nginx serves: the one that is given, or one of our own. Sourced by lib-up.sh.
#
# tls/self-signed.sha256 is the digest of the certificate we made last. It is ours as long as that
# digest is right; any other one was given, and nobody but its owner replaces it while it is valid.

OWN_RENEWED_DAYS=30 # before its end

# put_tls FILE MODE: standard input becomes a file of the run user.
put_tls() {
    as_run_user sh -c 'umask 077 && cat >"$1.new" && chmod "$2" "$1.new" && mv "$1.new" "$1"' \
        sh "$RUN_DIR/tls/$1" "$2"
}

# certificate_lasts DAYS: is there a pair, and is it valid for that long?
certificate_lasts() {
    as_run_user openssl x509 -in "$RUN_DIR/tls/certificate.pem" -noout \
        -checkend $(($1 * 86400)) >/dev/null 2>&1 && as_run_user test -s "$RUN_DIR/tls/key.pem"
}

certificate_is_ours() {
    as_run_user sh -c 'cd "$1" && sha256sum --check --status self-signed.sha256 2>/dev/null' \
        sh "$RUN_DIR/tls"
}

certificate_end() {
    as_run_user openssl x509 -in "$RUN_DIR/tls/certificate.pem" -noout -enddate | cut -d= -f2
}

make_certificate() {
    if [ -n "${TLS_CERTIFICATE-}" ]; then
        put_tls key.pem 600 <"$TLS_KEY"
        put_tls certificate.pem 644 <"$TLS_CERTIFICATE"
        return
    fi
    if certificate_is_ours; then
        ! certificate_lasts "$OWN_RENEWED_DAYS" || return 0
    elif certificate_lasts 0; then
        certificate_lasts "$OWN_RENEWED_DAYS" ||
            step "the certificate that was given earlier ends on $(certificate_end): renew it"
        return 0
    fi
    make_own_certificate
}

make_own_certificate() {
    step "making a self-signed certificate for localhost"
    as_run_user sh -c 'umask 077 && cd "$1" && openssl req -x509 -newkey ec \
        -pkeyopt ec_paramgen_curve:P-256 -nodes -days 365 -subj /CN=localhost -keyout key.pem \
        -out certificate.pem -addext "subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1" \
        -addext "basicConstraints=critical,CA:TRUE" 2>openssl.log && chmod 644 certificate.pem &&
        sha256sum certificate.pem >self-signed.sha256' sh "$RUN_DIR/tls" ||
        fail "$RUN_DIR/tls/openssl.log" "cannot make a certificate"
}
