# shellcheck shell=bash
# The steps of scripts/up, in the order it takes them; sourced after lib.sh.

SUCCEEDED=no
STARTED=()      # what this run started, stopped again should it fail
FAILED_LOG=     # the log that explains a failure
CHANGED=()      # handlers whose executable changed
ENVIRONMENT_CHANGED=no

fail() { # fail LOG MESSAGE
    FAILED_LOG=$1
    die "$2"
}

# Executables and environment that did not come up make way for those that ran before, for the
# processes still to be started and so that the next run sees the difference again.
put_back() {
    local old
    for old in "$RUN_DIR"/bin/*.old "$RUN_DIR"/handlers.env.old; do
        [ ! -e "$old" ] || mv "$old" "${old%.old}"
    done
}

on_exit() {
    local part
    if [ "$SUCCEEDED" = yes ]; then
        rm -f "$RUN_DIR"/bin/*.old "$RUN_DIR"/handlers.env.old
        return 0
    fi
    [ -z "${RUN_DIR-}" ] || put_back
    if [ -n "$FAILED_LOG" ] && as_run_user test -s "$FAILED_LOG"; then
        printf -- '--- the end of %s\n' "$FAILED_LOG" >&2
        as_run_user tail -n 15 "$FAILED_LOG" >&2 || true
    fi
    for part in ${STARTED[@]+"${STARTED[@]}"}; do
        echo "$SCRIPT: stopping $part, which this run had started" >&2
        (stop_"$part") || true
    done
    [ "${1-1}" -ne 0 ] || exit 1
}

# --- settings ---

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

settle_settings() {
    HTTPS_PORT=${HTTPS_PORT:-8443} HTTP_PORT=${HTTP_PORT:-8080} MODE=${MODE:-release}
    LISTEN_ADDRESS=${LISTEN_ADDRESS:-*} NGINX_WORKERS=${NGINX_WORKERS:-auto}
    EDGE_RATE=${EDGE_RATE:-50r/s} EDGE_BURST=${EDGE_BURST:-200}
    EDGE_CONNECTIONS=${EDGE_CONNECTIONS:-100} TRUSTED_PROXIES=${TRUSTED_PROXIES-}
    # As common/base/config.h has it; a test compares the two.
    YOOKASSA_WEBHOOK_NETWORKS=${YOOKASSA_WEBHOOK_NETWORKS:-185.71.76.0/27,185.71.77.0/27,77.75.153.0/25,77.75.154.128/25,77.75.156.11,77.75.156.35,2a02:5180::/32}
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
    check_networks YOOKASSA_WEBHOOK_NETWORKS
    if [ -n "${TLS_CERTIFICATE-}${TLS_KEY-}" ]; then
        [ -r "${TLS_CERTIFICATE-}" ] ||
            die "TLS_CERTIFICATE=${TLS_CERTIFICATE-}: expected a PEM file"
        [ -r "${TLS_KEY-}" ] || die "TLS_KEY=${TLS_KEY-}: expected a PEM file"
    fi
    EMBEDDED=yes
    [ -z "${POSTGRES_URL-}${DATABASE_URL-}" ] || EMBEDDED=no
}

# --- build ---

build() {
    BIN_SOURCE=${BIN_DIR-}
    HANDLERS=()
    local file
    if [ -n "$BIN_SOURCE" ]; then
        for file in "$BIN_SOURCE"/*; do
            [ -f "$file" ] && [ -x "$file" ] || continue
            case ${file##*/} in supervisor | service-key) continue ;; esac
            HANDLERS+=("${file##*/}")
        done
    else
        step "building $MODE"
        make -C "$REPOSITORY" --no-print-directory -s -j2 MODE="$MODE" 9>&- ||
            die "the build failed (make MODE=$MODE)"
        BIN_SOURCE=$REPOSITORY/build/$MODE/bin
        # Workers are started and restarted like handlers; they leave their sockets alone.
        for file in "$REPOSITORY"/handlers/*.c "$REPOSITORY"/workers/*.c; do
            [ -e "$file" ] && HANDLERS+=("$(basename "$file" .c)")
        done
    fi
    [ ${#HANDLERS[@]} -gt 0 ] || die "no handler found in $BIN_SOURCE"
    [ -x "$BIN_SOURCE/supervisor" ] || die "$BIN_SOURCE: no supervisor there"
}

# --- folders ---

# PostgreSQL refuses root, and nothing else needs it.
prepare_run_user() {
    RUN_USER=$(id -un)
    [ "$(id -u)" -eq 0 ] || return 0
    RUN_USER=dreamlens
    id "$RUN_USER" >/dev/null 2>&1 && return
    step "making the system user $RUN_USER"
    useradd --system --user-group --home-dir /nonexistent --no-create-home \
        --shell /usr/sbin/nologin "$RUN_USER" || die "cannot make the system user $RUN_USER"
}

prepare_folders() {
    local name owner
    RUN_DIR=$STATE_DIR
    if [ ${#RUN_DIR} -gt "$RUN_DIR_BYTES_MAX" ] || [[ $RUN_DIR == *[!A-Za-z0-9._/-]* ]] ||
        ! as_run_user test -x "$RUN_DIR"; then
        RUN_DIR=/var/tmp/dreamlens-$STATE_HASH
        mkdir "$RUN_DIR" 2>/dev/null || true
        # /var/tmp is open to all: a folder somebody else put there is not used.
        [ -d "$RUN_DIR" ] && [ ! -L "$RUN_DIR" ] && [ -O "$RUN_DIR" ] ||
            die "$RUN_DIR: expected a folder of $(id -un)'s own"
    fi
    chmod 755 "$RUN_DIR"
    mkdir -p "$RUN_DIR/bin" "$RUN_DIR/nginx/routes"
    owner=$RUN_USER:$(id -gn "$RUN_USER")
    for name in run logs tls temp postgres; do
        [ -d "$RUN_DIR/$name" ] || mkdir "$RUN_DIR/$name"
        [ "$(id -u)" -ne 0 ] || chown -h "$owner" "$RUN_DIR/$name"
    done
    [ "$(id -u)" -ne 0 ] || chgrp "$(id -gn "$RUN_USER")" "$RUN_DIR"
    ln -sfn run/sockets "$RUN_DIR/sockets"
    [ "$RUN_DIR" != "$STATE_DIR" ] || return 0
    step "the parts run in $RUN_DIR, linked from $STATE_DIR"
    for name in bin nginx run logs tls temp postgres sockets; do
        ln -sfn "$RUN_DIR/$name" "$STATE_DIR/$name"
    done
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
        # Only this host's user may enter the folder of the socket; that is the password.
        POSTGRES_URL="postgresql://dreamlens@/dreamlens?host=$RUN_DIR/postgres/socket"
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

# Renamed into place: a process that runs keeps the old file, one that starts finds a whole one.
install_binaries() {
    local name version
    for name in supervisor service-key "${HANDLERS[@]}"; do
        cmp -s "$BIN_SOURCE/$name" "$RUN_DIR/bin/$name" && continue
        cp "$BIN_SOURCE/$name" "$RUN_DIR/bin/$name.new"
        chmod 755 "$RUN_DIR/bin/$name.new"
        [ ! -e "$RUN_DIR/bin/$name" ] || ln -f "$RUN_DIR/bin/$name" "$RUN_DIR/bin/$name.old"
        mv "$RUN_DIR/bin/$name.new" "$RUN_DIR/bin/$name"
        # A tool does not run, so there is nothing to restart.
        [ "$name" = service-key ] || CHANGED+=("$name")
    done
    version=$(git -c safe.directory="$REPOSITORY" -C "$REPOSITORY" rev-parse --short HEAD \
        2>/dev/null) || version=unknown
    printf '%s %s\n' "$version" "$MODE" >"$RUN_DIR/bin/VERSION"
}

# --- environment, certificate, nginx ---

write_handler_environment() {
    local entry name
    touch "$STATE_DIR/secrets"
    chmod 600 "$STATE_DIR/secrets"
    if [ -z "${DB_INIT_SECRET-}" ]; then
        DB_INIT_SECRET=$(sed -n 's/^DB_INIT_SECRET=//p' "$STATE_DIR/secrets")
        if [ -z "$DB_INIT_SECRET" ]; then
            DB_INIT_SECRET=$(openssl rand -hex 24)
            printf 'DB_INIT_SECRET=%s\n' "$DB_INIT_SECRET" >>"$STATE_DIR/secrets"
        fi
    fi
    export DB_INIT_SECRET SHARED_MEMORY
    [ -z "${POSTGRES_URL-}" ] || export POSTGRES_URL
    if [ "$EMBEDDED" = yes ]; then
        POSTGRES_URL_NON_POOLING=${POSTGRES_URL_NON_POOLING:-${POSTGRES_URL/dreamlens@/dreamlens_owner@}}
        export POSTGRES_URL_NON_POOLING
    fi
    (umask 077 && : >"$STATE_DIR/handlers.env.new")
    # Not what merely describes the shell of the caller: it would differ from run to run.
    env -0 | sort -z | while IFS= read -r -d '' entry; do
        name=${entry%%=*}
        case $name in
        _ | PWD | OLDPWD | SHLVL | TERM* | COLUMNS | LINES | LS_COLORS | PS[0-9] | HOME | USER | \
            LOGNAME | MAIL | SHELL | HOSTNAME | SUDO_* | SSH_* | XDG_* | DBUS_* | DISPLAY | \
            MAKE* | MFLAGS | INVOCATION_ID | JOURNAL_STREAM | NOTIFY_SOCKET | LISTEN_* | \
            BASH_FUNC_* | PYTEST_* | ENV_FILE | BIN_DIR | MODE | \
            EDGE_* | NGINX_WORKERS | HTTPS_PORT | HTTP_PORT | TLS_*) ;;
        *) printf '%s\0' "$entry" ;;
        esac
    done >"$STATE_DIR/handlers.env.new"
    if cmp -s "$STATE_DIR/handlers.env.new" "$RUN_DIR/handlers.env"; then
        rm "$STATE_DIR/handlers.env.new"
        return
    fi
    ENVIRONMENT_CHANGED=yes
    [ "$(id -u)" -ne 0 ] || chgrp "$(id -gn "$RUN_USER")" "$STATE_DIR/handlers.env.new"
    chmod 640 "$STATE_DIR/handlers.env.new"
    [ ! -e "$RUN_DIR/handlers.env" ] || cp -p "$RUN_DIR/handlers.env" "$RUN_DIR/handlers.env.old"
    mv "$STATE_DIR/handlers.env.new" "$RUN_DIR/handlers.env"
}

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

listen_lines() { # listen_lines PORT OPTIONS
    if [ "$LISTEN_ADDRESS" != '*' ]; then
        echo "listen $LISTEN_ADDRESS:$1 $2 default_server backlog=1024;"
        return
    fi
    echo "listen $1 $2 default_server backlog=1024;"
    [ ! -s /proc/net/if_inet6 ] || echo "listen [::]:$1 $2 default_server backlog=1024 ipv6only=on;"
}

# render FILE: standard input, the names between @ signs replaced, becomes nginx/FILE if it differs.
# nginx/changed stays until nginx has taken the change up, should this run fail before that.
render() {
    local target=$RUN_DIR/nginx/$1 suffix=":$HTTPS_PORT"
    [ "$HTTPS_PORT" != 443 ] || suffix=
    sed -e "s|@RUN@|$RUN_DIR|g" -e "s|@WORKERS@|$NGINX_WORKERS|g" -e "s|@HANDLER@|${HANDLER-}|g" \
        -e "s|@EDGE_RATE@|$EDGE_RATE|g" -e "s|@EDGE_BURST@|$EDGE_BURST|g" \
        -e "s|@EDGE_CONNECTIONS@|$EDGE_CONNECTIONS|g" -e "s|@HTTPS_SUFFIX@|$suffix|g" \
        >"$target.new"
    if cmp -s "$target.new" "$target"; then
        rm "$target.new"
    else
        mv "$target.new" "$target"
        touch "$RUN_DIR/nginx/changed"
    fi
}

render_nginx() {
    local file proxy network HANDLER
    for file in nginx tls headers errors fastcgi; do
        render "$file.conf" <"$REPOSITORY/nginx/$file.conf"
    done
    for file in "$REPOSITORY"/nginx/routes/*.conf; do
        render "routes/${file##*/}" <"$file"
    done
    for file in "$RUN_DIR"/nginx/routes/*.conf; do
        [ -e "$REPOSITORY/nginx/routes/${file##*/}" ] || rm "$file"
    done
    for file in "$REPOSITORY"/nginx/routes/*.conf; do
        HANDLER=$(basename "$file" .conf)
        sed "s|@HANDLER@|$HANDLER|g" "$REPOSITORY/nginx/upstream.conf"
    done | render upstreams.conf
    listen_lines "$HTTP_PORT" '' | render listen-http.conf
    listen_lines "$HTTPS_PORT" 'ssl http2' | render listen-https.conf
    {
        echo 'real_ip_header X-Forwarded-For;'
        echo 'real_ip_recursive on;'
        for proxy in ${TRUSTED_PROXIES//,/ }; do echo "set_real_ip_from $proxy;"; done
    } | render trusted-proxies.conf
    {
        echo 'geo $webhook_refused {'
        echo '    default 1;'
        for network in ${YOOKASSA_WEBHOOK_NETWORKS//,/ }; do echo "    $network 0;"; done
        echo '}'
    } | render webhook-networks.conf
}

# --- PostgreSQL ---

# fsync stays on unless a test asks: TEST_FSYNC=off loses data with the power.
postgres_settings() {
    local memory_kb buffers_mb
    memory_kb=$(sed -n 's/^MemTotal: *\([0-9]*\) kB$/\1/p' /proc/meminfo)
    # An eighth of the memory, from 128 MB to 1 GB: other programs run here as well.
    buffers_mb=$((memory_kb / 8192))
    buffers_mb=$((buffers_mb < 128 ? 128 : buffers_mb > 1024 ? 1024 : buffers_mb))
    cat <<SETTINGS
listen_addresses = ''
unix_socket_directories = '$RUN_DIR/postgres/socket'
max_connections = 100
# A batch of the ledger takes a lock for each of its keys.
max_locks_per_transaction = 256
shared_buffers = ${buffers_mb}MB
effective_cache_size = 1GB
# After a checkpoint the first change of a page logs the whole page, and a log file that is used again
# need not be made: few checkpoints, and files kept for the busy hours.
wal_compression = lz4
checkpoint_timeout = 15min
max_wal_size = 2GB
min_wal_size = 512MB
random_page_cost = 1.1
fsync = ${TEST_FSYNC:-on}
synchronous_commit = on
full_page_writes = on
timezone = 'UTC'
log_timezone = 'UTC'
log_line_prefix = '%m [%p] %u@%d '
log_min_duration_statement = 250ms
log_lock_waits = on
# No values in the log: neither parameters nor the details of a violated constraint.
log_parameter_max_length = 0
log_parameter_max_length_on_error = 0
log_error_verbosity = terse
idle_in_transaction_session_timeout = 60s
SETTINGS
}

postgres_psql() {
    as_run_user "$POSTGRES_BIN/psql" -X -q -v ON_ERROR_STOP=1 -h "$RUN_DIR/postgres/socket" \
        -U postgres -d postgres "$@"
}

start_postgres() {
    local data=$RUN_DIR/postgres/data log=$RUN_DIR/logs/postgres.log
    POSTGRES_BIN=$(postgres_bin)
    as_run_user sh -c 'mkdir -p -m 700 "$1/socket" && rm -rf "$1/data.new"' sh "$RUN_DIR/postgres"
    if ! as_run_user test -e "$data/PG_VERSION"; then
        step "making a PostgreSQL cluster in $STATE_DIR/postgres"
        # Under another name until it is whole: an interrupted initdb is not taken for a cluster.
        as_run_user sh -c 'exec "$1/initdb" -D "$2.new" -U postgres -A trust -E UTF8 \
            --locale=C.UTF-8 --no-instructions >"$3" 2>&1' sh "$POSTGRES_BIN" "$data" \
            "$RUN_DIR/logs/initdb.log" || fail "$RUN_DIR/logs/initdb.log" "initdb failed"
        as_run_user sh -c 'echo "include_if_exists = '\''dreamlens.conf'\''" \
            >>"$1.new/postgresql.conf" && mv "$1.new" "$1"' sh "$data"
    fi
    postgres_settings | as_run_user sh -c 'cat >"$1"' sh "$data/dreamlens.conf"
    if running_pid postgres >/dev/null; then
        step 'PostgreSQL runs already'
    else
        step 'starting PostgreSQL'
        as_run_user "$POSTGRES_BIN/pg_ctl" start -D "$data" -l "$log" -w -t 60 \
            >/dev/null 2>&1 </dev/null || fail "$log" "PostgreSQL does not start"
        STARTED=(postgres ${STARTED[@]+"${STARTED[@]}"})
    fi
    # The owner changes the schema; the handlers' role cannot change what the ledger has.
    local role
    for role in dreamlens_owner dreamlens; do
        postgres_psql -Atc "SELECT 1 FROM pg_roles WHERE rolname = '$role'" | grep -q 1 ||
            postgres_psql -c "CREATE ROLE $role LOGIN" || fail "$log" "cannot make the role $role"
    done
    postgres_psql -Atc "SELECT 1 FROM pg_database WHERE datname = 'dreamlens'" | grep -q 1 ||
        postgres_psql -c 'CREATE DATABASE dreamlens OWNER dreamlens_owner' ||
        fail "$log" "cannot make the database"
}

# Before the new handlers start: migrations keep working with the old ones, not the other way round.
migrate_schema() {
    local answer log=$STATE_DIR/migrate.log
    step 'bringing the schema up to date'
    answer=$(REQUEST_METHOD=POST DOCUMENT_URI=/api/init-db HTTP_X_DB_INIT_SECRET=$DB_INIT_SECRET \
        as_run_user "$RUN_DIR/bin/init-db" </dev/null 2>"$log") || true
    case $answer in
    *'"success":true'*) rm -f "$log" ;;
    *) fail "$log" "the schema cannot be brought up to date: ${answer##*$'\r\n'}" ;;
    esac
}

# Every handler may fill its pool; a few connections are left for the operator.
check_connections() {
    local connections needed spare=10
    connections=$(psql -X -At -d "$POSTGRES_URL" -c 'SHOW max_connections' 2>/dev/null) || return 0
    needed=$((${#HANDLERS[@]} * ${DB_POOL_SIZE:-4} + spare))
    [ "$needed" -le "$connections" ] ||
        die "DB_POOL_SIZE: ${#HANDLERS[@]} handlers x ${DB_POOL_SIZE:-4} connections + $spare = \
$needed, but max_connections is $connections"
}

# --- handlers ---

# state_of HANDLER: ready, starting, waiting, misconfigured, or nothing when it is not known.
state_of() {
    control status 2>/dev/null | sed -n "s/^$1 .*state=\([a-z]*\).*/\1/p"
}

start_supervisor() {
    step "starting the supervisor and ${#HANDLERS[@]} handlers: ${HANDLERS[*]}"
    # In a session of its own, with nothing of ours open: it outlives this script.
    as_run_user setsid --fork sh -c 'ulimit -n "$(ulimit -H -n)" 2>/dev/null
        log=$1 && shift && exec "$@" </dev/null >>"$log" 2>&1' sh "$RUN_DIR/logs/supervisor.log" \
        "$RUN_DIR/bin/supervisor" --state "$RUN_DIR/run" --bin "$RUN_DIR/bin" \
        --log-dir "$RUN_DIR/logs" --env "$RUN_DIR/handlers.env" "${HANDLERS[@]}" \
        </dev/null >/dev/null 2>&1
    STARTED=(supervisor ${STARTED[@]+"${STARTED[@]}"})
    local end=$(($(now_ms) + 10000))
    until control status >/dev/null 2>&1; do
        [ "$(now_ms)" -lt "$end" ] ||
            fail "$RUN_DIR/logs/supervisor.log" "the supervisor does not start"
        sleep 0.05
    done
}

upgrade_handlers() {
    local name answer
    for name in "${HANDLERS[@]}"; do
        [ -n "$(state_of "$name")" ] && continue
        step "adding the handler $name"
        answer=$(control start "$name") || fail "$RUN_DIR/logs/supervisor.log" "$name: $answer"
    done
    [ "$ENVIRONMENT_CHANGED" = no ] || CHANGED=("${HANDLERS[@]}")
    for name in ${CHANGED[@]+"${CHANGED[@]}"}; do
        if [ "$name" = supervisor ]; then
            step 'the supervisor changed: the new one runs after scripts/down and scripts/up'
            continue
        fi
        step "restarting $name: new executable or environment"
        answer=$(control restart "$name") || fail "$RUN_DIR/logs/$name.log" "${answer#error: }"
    done
    [ ${#CHANGED[@]} -gt 0 ] || step 'the handlers run already'
}

start_handlers() {
    local name state end
    if running_pid supervisor >/dev/null; then
        upgrade_handlers
    else
        start_supervisor
    fi
    end=$(($(now_ms) + 20000))
    for name in "${HANDLERS[@]}"; do
        while state=$(state_of "$name") && [ "$state" != ready ]; do
            [ "$state" != misconfigured ] ||
                fail "$RUN_DIR/logs/$name.log" "$name refuses its configuration"
            [ "$(now_ms)" -lt "$end" ] ||
                fail "$RUN_DIR/logs/$name.log" "$name is not ready after 20 s (${state:-unknown})"
            sleep 0.05
        done
    done
}

# --- nginx ---

nginx_command() {
    # Below 1024 only root may bind; the run user gets that one right and nothing else of root.
    local rights=()
    if [ "$(id -u)" -eq 0 ] && { [ "$HTTPS_PORT" -lt 1024 ] || [ "$HTTP_PORT" -lt 1024 ]; }; then
        rights=(setpriv --reuid "$RUN_USER" --regid "$(id -g "$RUN_USER")" --init-groups
            --inh-caps=+net_bind_service --ambient-caps=+net_bind_service --)
        (cd / && "${rights[@]}" nginx -p "$RUN_DIR" -c "$RUN_DIR/nginx/nginx.conf" \
            -e "$RUN_DIR/logs/nginx-error.log" "$@" 9>&-)
        return
    fi
    as_run_user sh -c 'ulimit -n "$(ulimit -H -n)" 2>/dev/null; exec "$@"' sh \
        nginx -p "$RUN_DIR" -c "$RUN_DIR/nginx/nginx.conf" -e "$RUN_DIR/logs/nginx-error.log" "$@"
}

start_nginx() {
    local pid output
    output=$(nginx_command -t 2>&1 </dev/null) || {
        printf '%s\n' "$output" >&2
        die 'nginx refuses its configuration'
    }
    if pid=$(running_pid nginx); then
        if [ -e "$RUN_DIR/nginx/changed" ]; then
            step 'nginx takes up its new configuration'
            kill -HUP "$pid"
            rm "$RUN_DIR/nginx/changed"
        else
            step 'nginx runs already'
        fi
        return
    fi
    step "starting nginx on $LISTEN_ADDRESS, ports $HTTPS_PORT (https) and $HTTP_PORT (http)"
    nginx_command >/dev/null 2>&1 </dev/null ||
        fail "$RUN_DIR/logs/nginx-error.log" 'nginx does not start'
    rm -f "$RUN_DIR/nginx/changed"
    STARTED=(nginx ${STARTED[@]+"${STARTED[@]}"})
}

wait_healthy() {
    local end answer
    step 'waiting until /api/health says healthy'
    end=$(($(now_ms) + 60000))
    while :; do
        answer=$(instance_curl --max-time 5 "https://localhost:$HTTPS_PORT/api/health") || true
        [[ $answer != *'"status":"healthy"'* ]] || return 0
        running_pid supervisor >/dev/null ||
            fail "$RUN_DIR/logs/supervisor.log" 'the supervisor is gone'
        running_pid nginx >/dev/null || fail "$RUN_DIR/logs/nginx-error.log" 'nginx is gone'
        [ "$(now_ms)" -lt "$end" ] ||
            fail "$RUN_DIR/logs/health.log" "not healthy after 60 s; last answer: ${answer:-none}"
        sleep 0.1
    done
}
