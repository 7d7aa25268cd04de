# shellcheck shell=bash
# Handlers and workers: building, installing, their environment, starting and upgrading them under
# the supervisor. Sourced by lib-up.sh.

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

# Renamed into place: a process that runs keeps the old file, one that starts finds a whole one.
install_binaries() {
    local name version
    for name in supervisor service-key "${HANDLERS[@]}"; do
        cmp -s "$BIN_SOURCE/$name" "$RUN_DIR/bin/$name" && continue
        install -m 755 "$BIN_SOURCE/$name" "$RUN_DIR/bin/$name.new"
        [ ! -e "$RUN_DIR/bin/$name" ] || ln -f "$RUN_DIR/bin/$name" "$RUN_DIR/bin/$name.old"
        mv "$RUN_DIR/bin/$name.new" "$RUN_DIR/bin/$name"
        # A tool does not run, so there is nothing to restart.
        [ "$name" = service-key ] || CHANGED+=("$name")
    done
    version=$(git -c safe.directory="$REPOSITORY" -C "$REPOSITORY" rev-parse --short HEAD \
        2>/dev/null) || version=unknown
    printf '%s %s\n' "$version" "$MODE" >"$RUN_DIR/bin/VERSION"
}

# What this run knows of the settings a program of this build reads (supervisor --settings), and
# nothing else of the caller's environment.
print_handler_environment() {
    local names name
    names=$("$BIN_SOURCE/supervisor" --settings) ||
        die "$BIN_SOURCE/supervisor --settings: expected its settings, as this version prints them"
    for name in $names; do
        [ -z "${!name-}" ] || printf '%s=%s\0' "$name" "${!name}"
    done
}

# settle_secret NAME BYTES: what was given, else what was made at an earlier run, else a new one.
settle_secret() {
    [ -z "${!1-}" ] || return 0
    printf -v "$1" %s "$(sed -n "s/^$1=//p" "$STATE_DIR/secrets")"
    [ -z "${!1}" ] || return 0
    printf -v "$1" %s "$(openssl rand -hex "$2")"
    printf '%s=%s\n' "$1" "${!1}" >>"$STATE_DIR/secrets"
}

write_handler_environment() {
    touch "$STATE_DIR/secrets"
    chmod 600 "$STATE_DIR/secrets"
    settle_secret DB_INIT_SECRET 24
    settle_secret IDENTITY_DIGEST_KEY 32
    if [ "$EMBEDDED" = yes ]; then
        : "${POSTGRES_URL_NON_POOLING:=${POSTGRES_URL/dreamlens@/dreamlens_owner@}}"
    fi
    (umask 077 && print_handler_environment >"$STATE_DIR/handlers.env.new") || exit 1
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

# read_states: fills STATES by handler: ready, starting, waiting or misconfigured; none if unknown.
read_states() {
    local name rest
    declare -gA STATES=()
    while read -r name rest; do
        [[ $rest =~ (^| )state=([a-z]+) ]] && STATES[$name]=${BASH_REMATCH[2]}
    done < <(control status 2>/dev/null)
    return 0
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
    read_states
    for name in "${HANDLERS[@]}"; do
        [ -z "${STATES[$name]-}" ] || continue
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
    local name end
    if running_pid supervisor >/dev/null; then
        upgrade_handlers
    else
        start_supervisor
    fi
    end=$(($(now_ms) + 20000))
    read_states
    for name in "${HANDLERS[@]}"; do
        while [ "${STATES[$name]-}" != ready ]; do
            [ "${STATES[$name]-}" != misconfigured ] ||
                fail "$RUN_DIR/logs/$name.log" "$name refuses its configuration"
            [ "$(now_ms)" -lt "$end" ] || fail "$RUN_DIR/logs/$name.log" \
                "$name is not ready after 20 s (${STATES[$name]:-unknown})"
            sleep 0.05
            read_states
        done
    done
}
