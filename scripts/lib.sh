# shellcheck shell=bash
# Shared by the scripts of this folder; sourced, never run.
#
# STATE_DIR is where a person looks for an instance. RUN_DIR is where it really is: the same folder,
# unless the unprivileged user that runs the parts cannot reach it (a checkout below /root), or its
# path is too long for a Unix socket or has characters that nginx.conf would not take; then it is
# /var/tmp/dreamlens-HASH, and STATE_DIR holds links.
#
#   RUN_DIR/           owned by whoever calls scripts/up; the parts below by the user that runs them
#     bin/             the executables in use, copied here so that a build never changes what runs
#     nginx/           the rendered configuration
#     handlers.env     environment of the handlers, each entry ended by NUL
#     run/             sockets/, supervisor.sock, process ids
#     logs/ tls/ temp/ postgres/
#   STATE_DIR/instance what scripts/up settled: NAME=VALUE lines, mode 0600, as is STATE_DIR/secrets

PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
umask 022
REPOSITORY=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
RUN_DIR_BYTES_MAX=66 # sun_path has 107: "/run/sockets/NAME.sock.new" leaves 19 for NAME
SCRIPT=${0##*/}

die() {
    printf '%s: %s\n' "$SCRIPT" "$*" >&2
    exit 1
}

free_port() { # free_port OTHER: one that nobody listens on, and not OTHER
    local port
    while :; do
        port=$((20000 + RANDOM % 12000))
        if [ "$port" != "$1" ] && ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
            break
        fi
    done
    echo "$port"
}

# For an instance of a script's own.
take_free_ports() {
    HTTPS_PORT=$(free_port 0)
    HTTP_PORT=$(free_port "$HTTPS_PORT")
}

# usage_if_asked "$@": prints the comment at the head of the script for --help.
usage_if_asked() {
    case ${1-} in
    -h | --help)
        sed -n -e '1d' -e '/^#/!q' -e 's/^# \{0,1\}//p' "$0"
        exit 0
        ;;
    esac
}

now_ms() {
    local now=${EPOCHREALTIME/[.,]/}
    echo $((now / 1000))
}

# What is being done, with the time that passed since the script began.
STARTED_MS=$(now_ms)
step() {
    local ms=$(($(now_ms) - STARTED_MS))
    printf '[%3d.%01ds] %s\n' $((ms / 1000)) $((ms % 1000 / 100)) "$*"
}

# Reads ENV_FILE: NAME=VALUE lines, parsed and never run. What the environment has, wins.
load_environment_file() {
    local line name value number=0
    [ -n "${ENV_FILE-}" ] || return 0
    [ -r "$ENV_FILE" ] || die "ENV_FILE=$ENV_FILE: expected a readable file"
    while IFS= read -r line || [ -n "$line" ]; do
        number=$((number + 1))
        line=${line%$'\r'}
        line=${line#"${line%%[![:space:]]*}"}
        case $line in '' | '#'*) continue ;; esac
        line=${line#export }
        name=${line%%=*}
        [[ $line == *=* && $name =~ ^[A-Za-z_][A-Za-z0-9_]*$ ]] ||
            die "ENV_FILE=$ENV_FILE: line $number: expected NAME=VALUE"
        value=${line#*=}
        case $value in
        \"*\") value=${value#\"} value=${value%\"} ;;
        \'*\') value=${value#\'} value=${value%\'} ;;
        esac
        [ -n "${!name+set}" ] || export "$name=$value"
    done <"$ENV_FILE"
}

# Sets STATE_DIR (absolute) and STATE_HASH.
settle_state_dir() {
    STATE_DIR=$(realpath -m -- "${STATE_DIR:-$REPOSITORY/.run}")
    STATE_HASH=$(printf '%s' "$STATE_DIR" | sha256sum | cut -c1-10)
}

# One user at a time changes an instance. Processes that stay behind must not inherit fd 9.
lock_state() {
    exec 9>"$STATE_DIR/.lock" || die "$STATE_DIR: cannot be written to"
    flock -n 9 && return
    step "waiting for another script that works on $STATE_DIR"
    flock -w 600 9 || die "$STATE_DIR: another script has held it for 600 s"
}

instance_get() {
    sed -n "s/^$1=//p" "$STATE_DIR/instance" | head -n 1
}

# Finds the instance of STATE_DIR, for every script but up. Sets RUN_DIR and RUN_USER.
load_instance() {
    settle_state_dir
    [ -e "$STATE_DIR/instance" ] ||
        die "$STATE_DIR: no instance here; scripts/up makes one (STATE_DIR names another place)"
    [ -r "$STATE_DIR/instance" ] ||
        die "$STATE_DIR: made by another user; expected $(stat -c %U "$STATE_DIR/instance") or root"
    RUN_DIR=$(instance_get RUN_DIR)
    settle_run_user "$(instance_get RUN_USER)"
    [ -d "$RUN_DIR" ] || die "$STATE_DIR: its state folder $RUN_DIR is gone; scripts/down --purge"
}

# settle_run_user NAME: sets RUN_USER, and RUN_USER_GROUP, the number of its group.
settle_run_user() {
    RUN_USER=$1
    RUN_USER_GROUP=$(id -g "$RUN_USER") || die "the user $RUN_USER is gone"
}

# Takes the place of this shell, as the unprivileged user and in a folder that user can enter.
exec_as_run_user() {
    cd /
    if [ "$EUID" -eq 0 ] && [ "$RUN_USER" != root ]; then
        exec setpriv --reuid "$RUN_USER" --regid "$RUN_USER_GROUP" \
            --init-groups -- "$@" 9>&-
    fi
    exec "$@" 9>&-
}

# Runs a command as the unprivileged user, with nothing of the caller's environment: what it is
# (PGPORT, LC_ALL, secrets of other programs) must not change what an instance becomes.
as_run_user() {
    local home=~
    [ "$EUID" -ne 0 ] || home=/nonexistent
    (exec_as_run_user env -i PATH="$PATH" HOME="$home" LC_ALL=C.UTF-8 "$@")
}

# as_handler [NAME=VALUE...] COMMAND...: with the environment of the handlers, which never stands on
# a command line: those are open to every user of the host.
as_handler() (
    while IFS= read -r name; do export -n "${name?}"; done < <(compgen -e)
    while IFS= read -r -d '' entry; do export "${entry?}"; done <"$RUN_DIR/handlers.env"
    while [[ $1 =~ ^[A-Z_]+= ]]; do
        export "${1?}"
        shift
    done
    exec_as_run_user "$@"
)

# The newest PostgreSQL from 15 on; Debian keeps its programs out of PATH.
postgres_bin() {
    local newest
    newest=$(printf '%s\n' /usr/lib/postgresql/*/bin/initdb | sort -t/ -k5,5nr | head -n 1)
    [ -x "$newest" ] || die "expected PostgreSQL 15 or newer in /usr/lib/postgresql"
    dirname "$newest"
}

# process_runs PID TEXT: is PID alive, and is it ours (TEXT stands in its command line)?
process_runs() {
    local pid=${1-} line
    [[ $pid =~ ^[0-9]+$ ]] && [ -r "/proc/$pid/cmdline" ] || return 1
    line=$(tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null) || return 1
    [[ $line == *"$2"* ]]
}

# running_pid PART: prints the process id of nginx, supervisor or postgres, or fails.
running_pid() {
    local file mark pid=
    case $1 in
    nginx) file=$RUN_DIR/run/nginx.pid mark=$RUN_DIR/nginx/nginx.conf ;;
    supervisor) file=$RUN_DIR/run/supervisor.pid mark="--state $RUN_DIR/run" ;;
    postgres) file=$RUN_DIR/postgres/data/postmaster.pid mark=$RUN_DIR/postgres/data ;;
    *) die "running_pid: no such part: $1" ;;
    esac
    # The folder may be open to the run user only.
    pid=$(as_run_user head -n 1 "$file" 2>/dev/null) || return 1
    process_runs "$pid" "$mark" && echo "$pid"
}

# wait_gone PID SECONDS. A zombie is gone: it has no command line any more.
wait_gone() {
    local end=$(($(now_ms) + $2 * 1000))
    while [ -n "$(tr -d '\0' <"/proc/$1/cmdline" 2>/dev/null)" ]; do
        [ "$(now_ms)" -lt "$end" ] || return 1
        sleep 0.05
    done
}

control() {
    as_run_user "$RUN_DIR/bin/supervisor" --control "$RUN_DIR/run/supervisor.sock" "$@"
}

stop_nginx() {
    local pid
    pid=$(running_pid nginx) || return 0
    kill -QUIT "$pid" 2>/dev/null || true
    wait_gone "$pid" 5 && return
    kill -TERM "$pid" 2>/dev/null || true
    wait_gone "$pid" 5 || die "nginx (pid $pid) does not stop"
}

stop_supervisor() {
    local pid
    pid=$(running_pid supervisor) || return 0
    kill -TERM "$pid" 2>/dev/null || true
    # DRAIN_KILL_MS of supervisor/process.h, and some.
    wait_gone "$pid" 40 || die "the supervisor (pid $pid) does not stop"
}

stop_postgres() {
    running_pid postgres >/dev/null || return 0
    as_run_user "$(postgres_bin)/pg_ctl" stop -D "$RUN_DIR/postgres/data" -m fast -w -t 60 \
        >/dev/null || die "PostgreSQL does not stop; see $STATE_DIR/logs/postgres.log"
}

remove_shared_memory() {
    local prefix
    prefix=$(instance_get SHARED_MEMORY)
    case $prefix in /dev/shm/dreamlens-*) rm -f -- "$prefix".* ;; esac
}

# curl to the instance by the name its certificate has.
instance_curl() {
    local port address
    port=$(instance_get HTTPS_PORT)
    address=$(instance_get CONNECT_ADDRESS)
    curl --silent --insecure --noproxy '*' --connect-to "localhost:$port:$address:$port" "$@"
}
