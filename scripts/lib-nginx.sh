# shellcheck shell=bash
# The edge: nginx's configuration, rendered from nginx/, and nginx itself. Sourced by lib-up.sh.

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

nginx_command() {
    # Below 1024 only root may bind; the run user gets that one right and nothing else of root.
    local rights=()
    if [ "$(id -u)" -eq 0 ] && { [ "$HTTPS_PORT" -lt 1024 ] || [ "$HTTP_PORT" -lt 1024 ]; }; then
        rights=(setpriv --reuid "$RUN_USER" --regid "$(id -g "$RUN_USER")" --init-groups
            --inh-caps=+net_bind_service --ambient-caps=+net_bind_service --)
        (cd / && "${rights[@]}" env -i PATH="$PATH" nginx -p "$RUN_DIR" \
            -c "$RUN_DIR/nginx/nginx.conf" -e "$RUN_DIR/logs/nginx-error.log" "$@" 9>&-)
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
