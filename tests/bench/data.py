"""Users with balances and entries whose books agree, made by the server in bulk."""

# User n, as requests.lua makes it. The multiplication scatters neighbours all over the indexes; it
# is by an odd number modulo 2^32, so no two users below 2^32 meet.
USER_ID = ("(lpad(to_hex(({n} * 2654435761) %% 4294967296), 8, '0') || '-0000-4000-8000-'"
           " || lpad(to_hex({n}), 12, '0'))::uuid")

FIRST_ENTRY = 1_000_000_000  # tokens; enough for any run, and a single user's too

# Entries of a user are an hour apart, each with the balance after it. Rows go in in the order of
# the keys, so that indexes are written once. "replica" leaves out the trigger that would open
# accounts.
STATEMENTS = (
    "SET session_replication_role = replica",
    "SET synchronous_commit = off",
    "INSERT INTO users (id, device_id)"
    f" SELECT {USER_ID.format(n='n')}, 'device_bench_' || lpad(n::text, 9, '0')"
    " FROM generate_series(1, %(users)s::int8) n ORDER BY 1",
    "INSERT INTO user_identities (identity, user_id)"
    " SELECT 'device:' || device_id, id FROM users WHERE device_id LIKE 'device_bench_%%'"
    " ORDER BY 1",
    "INSERT INTO user_tokens (user_id, balance, created_at, updated_at)"
    " SELECT id, %(first)s - (%(entries)s - 1), timestamp '2026-01-01',"
    "        timestamp '2026-01-01' + %(entries)s * interval '1 hour'"
    " FROM users WHERE device_id LIKE 'device_bench_%%' ORDER BY id",
    "INSERT INTO token_transactions"
    " (user_id, id, amount, type, balance_after, created_at)"
    " SELECT u.id, gen_random_uuid(), CASE k WHEN 1 THEN %(first)s ELSE -1 END,"
    "        CASE k WHEN 1 THEN 'purchase' ELSE 'generation' END, %(first)s - (k - 1),"
    "        timestamp '2026-01-01' + k * interval '1 hour'"
    " FROM users u CROSS JOIN LATERAL generate_series(1, %(entries)s) k"
    " WHERE u.device_id LIKE 'device_bench_%%' ORDER BY u.id, k",
    "SET session_replication_role = origin",
    "VACUUM ANALYZE",
    "CHECKPOINT",
)


def generate(connection, users, entries_each):
    """Fills a database that has the schema. connection: a superuser's, autocommit."""
    cursor = connection.cursor()
    for statement in STATEMENTS:
        cursor.execute(statement, {"users": users, "entries": entries_each,
                                   "first": FIRST_ENTRY})


# A new id that begins with the time, as the handlers make them: pgbench's number is the rest of it.
NEW_ID = ("(lpad(to_hex((extract(epoch FROM clock_timestamp()) * 1000)::int8), 12, '0')"
          " || '70008000' || lpad(to_hex(:r::int8), 12, '0'))::uuid")

# One spend by pgbench: through the function that the handlers use, and as one would write it by
# hand without holds, limits and repetition. Both leave books that agree.
NUMBERS = "\\set n random(1, {users})\n\\set r random(0, 281474976710655)\n"
SPEND_BY_FUNCTION = (
    NUMBERS +
    "SELECT outcome, balance FROM ledger_post({user}, {id}, -1, 'generation', NULL, NULL);\n")
SPEND_BY_CTE = (
    NUMBERS +
    "WITH moved AS ("
    "UPDATE user_tokens SET balance = balance - 1,"
    " updated_at = greatest(clock_timestamp() AT TIME ZONE 'utc',"
    " updated_at + interval '1 microsecond')"
    " WHERE user_id = {user} AND balance - held >= 1 AND closed_at IS NULL"
    " RETURNING user_id, balance, held, updated_at) "
    "INSERT INTO token_transactions"
    " (user_id, id, amount, type, balance_after, held_after, created_at)"
    " SELECT user_id, {id}, -1, 'generation', balance, held, updated_at FROM moved"
    " RETURNING balance_after - held_after;\n")


def write_scripts(folder, users):
    """Writes both as files for pgbench. Returns {name: path}."""
    paths = {}
    for name, text in (("function", SPEND_BY_FUNCTION), ("cte", SPEND_BY_CTE)):
        paths[name] = f"{folder}/spend_{name}.sql"
        user = USER_ID.format(n=":n::int8").replace("%%", "%")
        with open(paths[name], "w", encoding="utf-8") as file:
            file.write(text.format(users=users, user=user, id=NEW_ID))
    return paths
