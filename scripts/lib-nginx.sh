# shellcheck shell=bash
# The edge: nginx's configuration, rendered from nginx/, and nginx itself. Sourced by lib-up.sh.
#
# nginx keeps its whole old configuration when it cannot take up a new one, and says so in its log
# alone. So every configuration has a generation: the digest of its files and of the certificate. An
# nginx that runs tells on a socket of its own which generation it serves; a start ends when that
# is the one that was asked for.

NGINX_TAKEN=no # nginx serves what this run has rendered
NGINX_PROBLEM= # why it does not
NGINX_WAIT_MS=20000

# --- what was there before, until nginx has taken up the new one ---

save_edge() {
    rm -rf "$RUN_DIR/nginx.old"
    mkdir "$RUN_DIR/nginx.old"
    cp -a "$RUN_DIR/nginx/." "$RUN_DIR/nginx.old/"
    as_run_user sh -c 'cd "$1" && rm -f ./*.old && for name in *.pem *.sha256; do
        [ ! -e "$name" ] || cp -p "$name" "$name.old" || exit 1; done' sh "$RUN_DIR/tls"
}

restore_edge() {
    [ -d "$RUN_DIR/nginx.old" ] || return 0
    # A first start has nothing to go back to.
    if [ -e "$RUN_DIR/nginx.old/nginx.conf" ]; then
        find "$RUN_DIR/nginx/" -type f -delete
        cp -a "$RUN_DIR/nginx.old/." "$RUN_DIR/nginx/"
        as_run_user sh -c 'cd "$1" && for old in *.old; do
            [ ! -e "$old" ] || mv "$old" "${old%.old}"; done' sh "$RUN_DIR/tls"
    fi
    rm -rf "$RUN_DIR/nginx.old"
}

keep_edge() {
    NGINX_TAKEN=yes
    rm -rf "$RUN_DIR/nginx.old"
    as_run_user sh -c 'rm -f "$1"/*.old' sh "$RUN_DIR/tls"
}

# --- rendering ---

listen_lines() { # listen_lines PORT OPTIONS
    if [ "$LISTEN_ADDRESS" != '*' ]; then
        echo "listen $LISTEN_ADDRESS:$1 $2 default_server backlog=1024;"
        return
    fi
    echo "listen $1 $2 default_server backlog=1024;"
    [ ! -s /proc/net/if_inet6 ] || echo "listen [::]:$1 $2 default_server backlog=1024 ipv6only=on;"
}

# render FILE: standard input, the names between @ signs replaced, becomes nginx/FILE.
render() {
    local suffix=":$HTTPS_PORT" text
    [ "$HTTPS_PORT" != 443 ] || suffix=
    text=$(cat)
    text=${text//@RUN@/"$RUN_DIR"}
    text=${text//@WORKERS@/"$NGINX_WORKERS"}
    text=${text//@HANDLER@/"${HANDLER-}"}
    text=${text//@EDGE_RATE@/"$EDGE_RATE"}
    text=${text//@EDGE_BURST@/"$EDGE_BURST"}
    text=${text//@EDGE_CONNECTIONS@/"$EDGE_CONNECTIONS"}
    text=${text//@HTTPS_SUFFIX@/"$suffix"}
    printf '%s\n' "${text//@GENERATION@/"${GENERATION-}"}" >"$RUN_DIR/nginx/$1"
}

# The origins that get CORS headers, compared byte by byte as the handlers do (common/http/cors.c).
# check_origins has seen to it that none has a character with a meaning in nginx.conf.
cors_map() {
    echo 'map $http_origin $cors_origin {'
    echo '    default "";'
    # The pattern, then the origin itself.
    listed_origins | sed -e 'h' -e 's/[].+[]/\\&/g' -e 's/.*/    ~^&$/' \
        -e 'G' -e 's/\n/ /' -e 's/$/;/'
    echo '}'
}

render_nginx() {
    local file proxy network upstream HANDLER GENERATION
    upstream=$(<"$REPOSITORY/nginx/upstream.conf")
    for file in nginx tls headers error-headers errors fastcgi generation; do
        render "$file.conf" <"$REPOSITORY/nginx/$file.conf"
    done
    for file in "$REPOSITORY"/nginx/routes/*.conf; do
        render "routes/${file##*/}" <"$file"
    done
    for file in "$RUN_DIR"/nginx/routes/*.conf; do
        [ -e "$REPOSITORY/nginx/routes/${file##*/}" ] || rm "$file"
    done
    for file in "$REPOSITORY"/nginx/routes/*.conf; do
        HANDLER=${file##*/} HANDLER=${HANDLER%.conf}
        printf '%s\n' "${upstream//@HANDLER@/"$HANDLER"}"
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
    cors_map | render cors.conf
    # Without any origin no answer depends on who asks.
    { [ -z "$(listed_origins)" ] || cat "$REPOSITORY/nginx/cors-headers.conf"; } |
        render cors-headers.conf
    GENERATION=$(edge_generation)
    render generation.conf <"$REPOSITORY/nginx/generation.conf"
}

# The digest of all that nginx reads.
edge_generation() {
    {
        find "$RUN_DIR/nginx/" -type f -name '*.conf' ! -name generation.conf | sort |
            xargs sha256sum
        as_run_user sh -c 'cat "$1/certificate.pem" "$1/key.pem"' sh "$RUN_DIR/tls"
    } | sha256sum | cut -c1-32
}

# --- nginx ---

nginx_command() {
    # Below 1024 only root may bind; the run user gets that one right and nothing else of root.
    local rights=()
    if [ "$(id -u)" -eq 0 ] && { [ "$HTTPS_PORT" -lt 1024 ] || [ "$HTTP_PORT" -lt 1024 ]; }; then
        rights=(setpriv --reuid "$RUN_USER" --regid "$RUN_USER_GROUP"
            --init-groups --inh-caps=+net_bind_service --ambient-caps=+net_bind_service --)
        (cd / && "${rights[@]}" env -i PATH="$PATH" nginx -p "$RUN_DIR" \
            -c "$RUN_DIR/nginx/nginx.conf" -e "$RUN_DIR/logs/nginx-error.log" "$@" 9>&-)
        return
    fi
    as_run_user sh -c 'ulimit -n "$(ulimit -H -n)" 2>/dev/null; exec "$@"' sh \
        nginx -p "$RUN_DIR" -c "$RUN_DIR/nginx/nginx.conf" -e "$RUN_DIR/logs/nginx-error.log" "$@"
}

nginx_log_bytes() {
    as_run_user stat -c %s "$RUN_DIR/logs/nginx-error.log" 2>/dev/null || echo 0
}

# serves_generation GENERATION: is this what the nginx that runs has taken up?
serves_generation() {
    local told
    told=$(as_run_user curl --silent --max-time 2 --noproxy '*' \
        --unix-socket "$RUN_DIR/run/nginx.sock" http://localhost/ 2>/dev/null) || return 1
    [ "$told" = "$1" ]
}

# read_nginx_problem BYTES: sets NGINX_PROBLEM to why nginx gave up, by its log behind that many
# bytes. A port that is taken is tried again for two seconds; only then has it given up.
read_nginx_problem() {
    local lines
    lines=$(as_run_user tail -c "+$(($1 + 1))" "$RUN_DIR/logs/nginx-error.log" 2>/dev/null |
        grep -a '\[emerg\]') || true
    [[ $lines != *'failed (98:'* || $lines == *'still could not bind'* ]] || return 0
    NGINX_PROBLEM=$(head -n 1 <<<"$lines" |
        sed -e 's/^.*\[emerg\] [0-9#]*: *//' -e 's/ in [^ ]*$//')
}

# await_generation GENERATION BYTES: waits until nginx serves it; else says why in NGINX_PROBLEM.
await_generation() {
    local end=$(($(now_ms) + NGINX_WAIT_MS))
    NGINX_PROBLEM=
    until serves_generation "$1"; do
        read_nginx_problem "$2"
        [ -z "$NGINX_PROBLEM" ] || return 1
        if [ "$(now_ms)" -ge "$end" ]; then
            NGINX_PROBLEM="it has not taken up the new configuration in $((NGINX_WAIT_MS / 1000)) s"
            return 1
        fi
        sleep 0.05
    done
}

# foreign_listener PID: is there another program than that nginx on a port of ours?
foreign_listener() {
    local own port hex
    own=$(find "/proc/$1/fd" -lname 'socket:*' -printf '%l\n' 2>/dev/null | tr -dc '0-9\n')
    for port in "$HTTPS_PORT" "$HTTP_PORT"; do
        hex=$(printf ':%04X' "$port")
        ! cat /proc/net/tcp /proc/net/tcp6 2>/dev/null |
            awk -v port="$hex\$" '$4 == "0A" && $2 ~ port { print $10 }' |
            grep -qvxF -e "$own" || return 0
    done
    return 1
}

# What a running nginx cannot do and a new one can: listen on * in place of one address or the other
# way round (the new socket is opened before the old one is closed), change the key of a zone.
needs_new_nginx() {
    case $NGINX_PROBLEM in
    *'failed (98:'*) ! foreign_listener "$1" ;;
    *'while previously it used'*) ;;
    *) return 1 ;;
    esac
}

# A socket file that a killed nginx has left would keep a new one from starting.
launch_nginx() {
    as_run_user rm -f "$RUN_DIR/run/nginx.sock"
    nginx_command >/dev/null 2>&1 </dev/null
}

# replace_nginx PID GENERATION: the old one stops listening and finishes what it is about (at most
# worker_shutdown_timeout) while the new one serves. In between nobody listens for a moment.
replace_nginx() {
    local old=$1 generation=$2 new=$1 bytes end=$(($(now_ms) + NGINX_WAIT_MS))
    bytes=$(nginx_log_bytes)
    kill -QUIT "$old"
    while port_taken "$HTTPS_PORT" || port_taken "$HTTP_PORT"; do
        [ "$(now_ms)" -lt "$end" ] || break
        sleep 0.02
    done
    if ! launch_nginx; then
        read_nginx_problem "$bytes"
        return 1
    fi
    while [ "$new" = "$old" ] && [ "$(now_ms)" -lt "$end" ]; do
        new=$(running_pid nginx) || new=$old
        sleep 0.02
    done
    await_generation "$generation" "$bytes" || return 1
    wait_gone "$old" 40 || die "nginx (pid $old) does not stop"
    # The old master has removed the file, which is called the same for both.
    running_pid nginx >/dev/null ||
        as_run_user sh -c 'echo "$2" >"$1"' sh "$RUN_DIR/run/nginx.pid" "$new"
}

# reload_nginx PID GENERATION
reload_nginx() {
    local bytes asked
    bytes=$(nginx_log_bytes)
    kill -HUP "$1"
    ! await_generation "$2" "$bytes" || return 0
    asked=$NGINX_PROBLEM
    if needs_new_nginx "$1"; then
        step "nginx is restarted, it cannot take this up while it runs: $NGINX_PROBLEM"
        ! replace_nginx "$1" "$2" || return 0
        asked=$NGINX_PROBLEM
        running_pid nginx >/dev/null && stop_nginx
        restore_edge
        launch_nginx || fail "$RUN_DIR/logs/nginx-error.log" "nginx does not start any more: $asked"
    fi
    fail "$RUN_DIR/logs/nginx-error.log" "nginx goes on with its old configuration: $asked"
}

start_nginx() {
    local pid output generation bytes
    output=$(nginx_command -t 2>&1 </dev/null) || {
        printf '%s\n' "$output" >&2
        die 'nginx refuses its configuration'
    }
    generation=$(edge_generation)
    if ! pid=$(running_pid nginx); then
        step "starting nginx on $LISTEN_ADDRESS, ports $HTTPS_PORT (https) and $HTTP_PORT (http)"
        bytes=$(nginx_log_bytes)
        launch_nginx || fail "$RUN_DIR/logs/nginx-error.log" 'nginx does not start'
        STARTED=(nginx ${STARTED[@]+"${STARTED[@]}"})
        await_generation "$generation" "$bytes" ||
            fail "$RUN_DIR/logs/nginx-error.log" "nginx does not serve: $NGINX_PROBLEM"
    elif serves_generation "$generation"; then
        step 'nginx runs already'
    else
        step 'nginx takes up its new configuration'
        reload_nginx "$pid" "$generation"
    fi
    keep_edge
}
