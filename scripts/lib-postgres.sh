# shellcheck shell=bash
# The database: the private cluster of an instance, its roles, the schema of any database.
# Sourced by lib-up.sh.

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
max_connections = 150
# A batch of the ledger takes a lock for each of its keys.
max_locks_per_transaction = 256
shared_buffers = ${buffers_mb}MB
effective_cache_size = 1GB
# After a checkpoint the first change of a page logs the whole page, and a log file that is used
# again need not be made: few checkpoints, and files kept for the busy hours.
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

# A PostgreSQL that runs takes up what it can. It is asked first whether it accepts the new file:
# like nginx it would keep its old settings and tell its log alone.
reload_postgres() { # reload_postgres OLD_SETTINGS
    local log=$RUN_DIR/logs/postgres.log wrong pending
    # A value that needs a restart is an error to this view as well, and told apart by its context.
    local errors="FROM pg_file_settings f LEFT JOIN pg_settings s USING (name)
        WHERE f.sourcefile LIKE '%/dreamlens.conf' AND f.error IS NOT NULL"
    wrong=$(postgres_psql -Atc "SELECT string_agg(
        coalesce(name || ' = ' || f.setting || ': ', '') || f.error, ', ')
        $errors AND s.context IS DISTINCT FROM 'postmaster'") ||
        fail "$log" 'PostgreSQL runs and does not answer'
    if [ -n "$wrong" ]; then
        as_run_user sh -c 'cat >"$1"' sh "$RUN_DIR/postgres/data/dreamlens.conf" <<<"$1"
        die "PostgreSQL refuses its configuration: $wrong"
    fi
    pending=$(postgres_psql -Atc "SELECT string_agg(name, ', ')
        $errors AND s.context = 'postmaster'")
    postgres_psql -Atc 'SELECT pg_reload_conf()' >/dev/null ||
        fail "$log" 'PostgreSQL does not take up its configuration'
    step "PostgreSQL runs already${pending:+; scripts/down and scripts/up change $pending}"
}

start_postgres() {
    local data=$RUN_DIR/postgres/data log=$RUN_DIR/logs/postgres.log old
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
    old=$(as_run_user cat "$data/dreamlens.conf" 2>/dev/null) || old=
    postgres_settings | as_run_user sh -c 'cat >"$1"' sh "$data/dreamlens.conf"
    if running_pid postgres >/dev/null; then
        reload_postgres "$old"
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
    answer=$(as_handler REQUEST_METHOD=POST DOCUMENT_URI=/api/init-db \
        HTTP_X_DB_INIT_SECRET="$DB_INIT_SECRET" "$RUN_DIR/bin/init-db" </dev/null 2>"$log") || true
    case $answer in
    *'"success":true'*) rm -f "$log" ;;
    *) fail "$log" "the schema cannot be brought up to date: ${answer##*$'\r\n'}" ;;
    esac
}

# Every handler may fill its pool; a few connections are left for the operator.
check_connections() {
    local connections needed spare=10
    connections=$(psql -X -At -d "${POSTGRES_URL:-${DATABASE_URL-}}" -c 'SHOW max_connections' \
        2>/dev/null) || return 0
    needed=$((${#HANDLERS[@]} * ${DB_POOL_SIZE:-4} + spare))
    [ "$needed" -le "$connections" ] ||
        die "DB_POOL_SIZE: ${#HANDLERS[@]} handlers x ${DB_POOL_SIZE:-4} connections + $spare = \
$needed, but max_connections is $connections"
}
