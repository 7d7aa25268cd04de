# shellcheck shell=bash
# Settings: what scripts/up is told, checked, with its defaults; what it settles for the other
# scripts. Sourced by lib-up.sh.

check_number() { # check_number NAME LOW HIGH
    [[ ${!1} =~ ^[0-9]{1,6}$ ]] && [ "${!1}" -ge "$2" ] && [ "${!1}" -le "$3" ] ||
        die "$1=${!1}: expected a number from $2 to $3"
}

check_networks() { # check_networks NAME
    local item
    for item in ${!1//,/ }; do
        [[ $item =~ ^[0-9a-fA-F.:]+(/[0-9]{1,3})?$ ]] ||
            die "$1: $item: expected an address or a network such as 10.0.0.0/8"
    done
}

# The items of ALLOWED_ORIGINS, one a line, as the handlers read them: without blanks around them
# and slashes at the end.
listed_origins() {
    tr ',' '\n' <<<"${ALLOWED_ORIGINS-}" |
        sed -e 's/^[[:blank:]]*//' -e 's/[[:blank:]]*$//' -e 's|/*$||' -e '/^$/d'
}

check_origins() {
    local origin host='(\[[0-9a-f:.]+\]|[A-Za-z0-9._-]+)'
    while IFS= read -r origin; do
        [[ -z $origin || $origin =~ ^[a-z][a-z0-9+.-]*://$host(:[0-9]{1,5})?$ ]] ||
            die "ALLOWED_ORIGINS: $origin: expected an origin such as https://app.example"
    done < <(listed_origins)
}

settle_settings() {
    HTTPS_PORT=${HTTPS_PORT:-8443} HTTP_PORT=${HTTP_PORT:-8080} MODE=${MODE:-release}
    LISTEN_ADDRESS=${LISTEN_ADDRESS:-*} NGINX_WORKERS=${NGINX_WORKERS:-auto}
    EDGE_RATE=${EDGE_RATE:-50r/s} EDGE_BURST=${EDGE_BURST:-200}
    EDGE_CONNECTIONS=${EDGE_CONNECTIONS:-100} TRUSTED_PROXIES=${TRUSTED_PROXIES-}
    # nginx has to know it as well. As common/base/config.h has it; a test compares the two.
    YOOKASSA_WEBHOOK_NETWORKS=${YOOKASSA_WEBHOOK_NETWORKS:-185.71.76.0/27,185.71.77.0/27,\
77.75.153.0/25,77.75.154.128/25,77.75.156.11,77.75.156.35,2a02:5180::/32}
    check_number HTTPS_PORT 1 65535
    check_number HTTP_PORT 1 65535
    check_number EDGE_BURST 0 100000
    check_number EDGE_CONNECTIONS 1 65535
    [ "$HTTPS_PORT" -ne "$HTTP_PORT" ] || die "HTTPS_PORT and HTTP_PORT are both $HTTP_PORT"
    [[ $EDGE_RATE =~ ^[1-9][0-9]{0,5}r/[sm]$ ]] ||
        die "EDGE_RATE=$EDGE_RATE: expected requests a second or minute, such as 50r/s"
    [ "$NGINX_WORKERS" = auto ] || check_number NGINX_WORKERS 1 256
    case $MODE in release | asan | tsan) ;; *)
        die "MODE=$MODE: expected release, asan or tsan" ;;
    esac
    [[ $LISTEN_ADDRESS == '*' || $LISTEN_ADDRESS =~ ^([0-9.]+|\[[0-9a-fA-F:]+\])$ ]] ||
        die "LISTEN_ADDRESS=$LISTEN_ADDRESS: expected *, an IPv4 or an [IPv6] address"
    check_networks TRUSTED_PROXIES
    check_origins
    check_networks YOOKASSA_WEBHOOK_NETWORKS
    if [ -n "${TLS_CERTIFICATE-}${TLS_KEY-}" ]; then
        [ -r "${TLS_CERTIFICATE-}" ] ||
            die "TLS_CERTIFICATE=${TLS_CERTIFICATE-}: expected a PEM file"
        [ -r "${TLS_KEY-}" ] || die "TLS_KEY=${TLS_KEY-}: expected a PEM file"
    fi
    EMBEDDED=yes
    [ -z "${POSTGRES_URL-}${DATABASE_URL-}" ] || EMBEDDED=no
}

# True when something listens on the port (local address column of /proc/net/tcp, state 0A).
port_taken() {
    local hex
    hex=$(printf ':%04X' "$1")
    cat /proc/net/tcp /proc/net/tcp6 2>/dev/null |
        awk -v port="$hex\$" '$4 == "0A" && $2 ~ port { found = 1 } END { exit !found }'
}

check_ports() {
    local name
    for name in HTTPS_PORT HTTP_PORT; do
        running_pid nginx >/dev/null && [ "$(instance_get $name)" = "${!name}" ] && continue
        ! port_taken "${!name}" ||
            die "$name=${!name}: another program listens there; expected a free port"
    done
}

# Settings and what was made, for the other scripts.
write_instance() {
    SHARED_MEMORY=/dev/shm/dreamlens-$STATE_HASH
    if [ "$EMBEDDED" = yes ]; then
        # Only this host's user may enter the folder of the socket; that is the password. The port
        # as well, or PGPORT of the caller would choose it.
        POSTGRES_URL="postgresql://dreamlens@/dreamlens?host=$RUN_DIR/postgres/socket&port=5432"
    fi
    case $LISTEN_ADDRESS in
    '*' | 0.0.0.0) CONNECT_ADDRESS=127.0.0.1 ;;
    '[::]') CONNECT_ADDRESS='[::1]' ;;
    *) CONNECT_ADDRESS=$LISTEN_ADDRESS ;;
    esac
    touch "$STATE_DIR/instance.new"
    chmod 600 "$STATE_DIR/instance.new"
    printf '%s\n' "RUN_DIR=$RUN_DIR" "RUN_USER=$RUN_USER" "HTTPS_PORT=$HTTPS_PORT" \
        "HTTP_PORT=$HTTP_PORT" "CONNECT_ADDRESS=$CONNECT_ADDRESS" "MODE=$MODE" \
        "EMBEDDED=$EMBEDDED" "POSTGRES_URL=${POSTGRES_URL:-${DATABASE_URL-}}" \
        "SHARED_MEMORY=$SHARED_MEMORY" >"$STATE_DIR/instance.new"
    mv "$STATE_DIR/instance.new" "$STATE_DIR/instance"
}
