# shellcheck shell=bash
# What scripts/up and systemd/install share: the steps of a start, in the lib-*.sh files this one
# sources, and here how a start fails, the folders of an instance, and how one knows that it works.
# Sourced after lib.sh. Steps hand on what they settle in variables with capital letters.

SUCCEEDED=no
STARTED=()      # what this run started, stopped again should it fail
FAILED_LOG=     # the log that explains a failure
CHANGED=()      # handlers whose executable changed
ENVIRONMENT_CHANGED=no

. "$REPOSITORY/scripts/lib-settings.sh"
. "$REPOSITORY/scripts/lib-handlers.sh"
. "$REPOSITORY/scripts/lib-postgres.sh"
. "$REPOSITORY/scripts/lib-tls.sh"
. "$REPOSITORY/scripts/lib-nginx.sh"

fail() { # fail LOG MESSAGE
    FAILED_LOG=$1
    die "$2"
}

# Executables, environment and configuration that did not come up make way for those that ran
# before: for the processes still to be started, and so that the next run sees the difference again.
put_back() {
    local old
    for old in "$RUN_DIR"/bin/*.old "$RUN_DIR"/handlers.env.old; do
        [ ! -e "$old" ] || mv "$old" "${old%.old}"
    done
    [ "$NGINX_TAKEN" = yes ] || restore_edge
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

# PostgreSQL refuses root, and nothing else needs it.
prepare_run_user() {
    local name
    name=$(id -un)
    if [ "$EUID" -eq 0 ]; then
        name=dreamlens
        id "$name" >/dev/null 2>&1 || make_run_user "$name"
    fi
    settle_run_user "$name"
}

make_run_user() { # make_run_user NAME
    step "making the system user $1"
    useradd --system --user-group --home-dir /nonexistent --no-create-home \
        --shell /usr/sbin/nologin "$1" || die "cannot make the system user $1"
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
    done
    [ "$EUID" -ne 0 ] || chown -h "$owner" "$RUN_DIR"/{run,logs,tls,temp,postgres}
    [ "$(id -u)" -ne 0 ] || chgrp "$(id -gn "$RUN_USER")" "$RUN_DIR"
    ln -sfn run/sockets "$RUN_DIR/sockets"
    [ "$RUN_DIR" != "$STATE_DIR" ] || return 0
    step "the parts run in $RUN_DIR, linked from $STATE_DIR"
    for name in bin nginx run logs tls temp postgres sockets; do
        ln -sfn "$RUN_DIR/$name" "$STATE_DIR/$name"
    done
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
