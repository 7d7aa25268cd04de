"""Every statement against a real database: types, nullability, plans, the use of every index."""

import glob
import json
import os
import subprocess

import psycopg2
import pytest

from tests.support import schema_data
from tests.support.postgres import database_name
from tests.support.process import REPOSITORY
from tests.support.schema_plans import Planner

# What grows with the number of users; everything else is an operator's few rows.
GROWING = {"users", "user_identities", "user_tokens", "token_transactions", "generations",
           "usage_logs", "subscriptions", "payments", "token_holds", "service_keys",
           "payment_references", "payment_refunds", "payment_differences", "user_uploads",
           "address_uses", "erased_identities"}
PLAN_MODES = ("force_generic_plan", "force_custom_plan")

# Statements that read whole tables, each with the reason why they may.
READ_EVERYTHING = {
    "ledger_verify": "an audit that leaves something out is none; only an operator asks for it",
    "ledger_totals": "says how much the audit has read",
    "payment_verify": "an audit, as ledger_verify",
    "service_key_list": "an operator's list of every key ever made",
}

# Scans that are right with this data only: the erased account has most rows of the table.
READ_MOST = ("user_erase: Seq Scan on subscriptions", "user_erase: Seq Scan on user_uploads")

# Columns that the catalog takes for nullable, and those that are NULL when there is nothing to
# tell: a row struct then has zeros.
NEVER_NULL = {"user_merged_into.merged_into": "the statement leaves out rows without it"}
NULL_OF_A_REFUSAL = {
    "hold_create.expires_at": "the outcome says that there is no hold",
    "ledger_reverse.reversal_id": "the outcome says that there is no reversal",
}

# Indexes no statement looks into, each with the reason why it is there.
UNUSED_INDEXES = {
    "payments_yookassa_payment_id_key": "of the original: one row for one payment of the provider",
    "plans_pkey": "a few rows, which a sequential scan reads faster",
    "app_settings_pkey": "a few rows, which a sequential scan reads faster",
    "token_packages_pkey": "a few rows, which a sequential scan reads faster",
    "schema_migrations_pkey": "a few rows, which a sequential scan reads faster",
    "schema_functions_pkey": "of the bootstrap, which no statement of the handlers takes part in",
    "users_telegram_id_key": "one account of one Telegram id; the identity leads to it",
}

# Lists: the position's parameters and the columns that order it.
PAGES = {
    "generation_list": ("generations", ("created_at", "id"), "DESC"),
    "hold_list": ("token_holds", ("created_at", "id"), "DESC"),
    "transaction_list": ("token_transactions", ("created_at", "id"), "DESC"),
    "usage_list": ("usage_logs", ("id",), "ASC"),
    "payment_export": ("payments", ("id",), "ASC"),
    "payment_page": ("payments", ("created_at", "id"), "DESC"),
    "refund_export": ("payment_refunds", ("id",), "ASC"),
    "subscription_export": ("subscriptions", ("id",), "ASC"),
    "hold_export": ("token_holds", ("id",), "ASC"),
}
# What samples() has to know of a user.
USER = ("id", "identity", "clerk_id", "device_id", "generation_id", "hold_id", "entry_id",
        "payment_id", "refund_id", "paid_id", "provider_id", "device_user_id")
PAGE_ROWS = 10
LAST_PAGE = 1000
assert schema_data.HEAVY_ROWS > PAGE_ROWS * LAST_PAGE


def query_files():
    """Names of sql/queries/*.sql."""
    return {os.path.basename(path)[:-len(".sql")]
            for path in glob.glob(os.path.join(REPOSITORY, "sql", "queries", "*.sql"))}


@pytest.fixture(scope="module")
def describe(mode):
    """Runs the program that compares declarations with a database."""
    program = os.path.join(REPOSITORY, "build", mode, "tests", "unit", "database",
                           "test_statements")
    if not os.path.exists(program):
        subprocess.run(["make", "-s", f"MODE={mode}", os.path.relpath(program, REPOSITORY)],
                       cwd=REPOSITORY, check=True)
    return lambda url: subprocess.run([program, "--describe", url], capture_output=True,
                                      text=True, check=False)


@pytest.fixture(scope="module")
def statements(describe, cluster, template):
    """Every declared statement, as the program describes it."""
    done = describe(cluster.url(template))
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def large(cluster, template):
    """The URL of a database with a large data set."""
    url = cluster.create_database(template)
    with cluster.connect(url) as connection:
        schema_data.fill(connection.cursor())
    yield url
    cluster.drop(url)


@pytest.fixture(scope="module")
def planner(cluster, large, statements):
    """A connection that reports plans, with every statement prepared."""
    connection = psycopg2.connect(cluster.admin_url(database_name(large)))
    made = Planner(connection)
    for statement in statements:
        made.prepare(statement)
    yield made
    connection.close()


@pytest.fixture(scope="module")
def users(cluster, large):
    """People to ask for: one with very many rows, some with a few, and nobody."""
    found = []
    # And whose device each links: of people with a few rows. To move what is a quarter of a table,
    # reading all of it would be right.
    for number, device in ((1, 10), (9, 11), (4000, 13), (4444, 14)):
        row = cluster.query(large, f"""
            SELECT u.id, i.identity, u.clerk_id, u.device_id,
                   (SELECT g.id FROM generations g WHERE g.user_id = u.id LIMIT 1),
                   (SELECT h.id FROM token_holds h
                    WHERE h.user_id = u.id AND h.status = 'pending'),
                   (SELECT e.id FROM token_transactions e WHERE e.user_id = u.id LIMIT 1),
                   p.id, r.id, r.payment_id, r.provider_payment_id,
                   {schema_data.user_id(device)}
            FROM users u JOIN user_identities i ON i.user_id = u.id
            JOIN payments p ON p.user_id = u.id AND p.status = 'pending'
            JOIN payment_refunds r ON r.user_id = u.id AND r.status = 'pending'
            WHERE u.id = {schema_data.user_id(number)}""")[0]
        found.append(dict(zip(USER, row)))
    nobody = "device_of_nobody_at_all_1"
    found.append(dict(zip(USER, ("99999999-9999-4999-8999-999999999999", "device:" + nobody, None,
                                 nobody, *[schema_data.NEW_ID] * 8))))
    return found


@pytest.fixture(scope="module")
def executed(planner, statements, users):
    """Every statement executed for everyone with both kinds of plan: (statement, plans, rows)."""
    runs = []
    for user in users:
        calls = schema_data.samples(user)
        for statement in statements:
            for plan_mode in PLAN_MODES:
                plans, rows = planner.run(statement, calls[statement["name"]], plan_mode)
                assert plans, f"no plan of {statement['name']} was reported"
                runs.append((statement, plans, rows))
    return runs


def test_each_query_file_has_one_declaration(statements):
    names = [statement["name"] for statement in statements]
    assert sorted(names) == sorted(query_files())


def test_each_statement_has_a_call(statements):
    """A new query file needs an entry in samples() of tests/support/schema_data.py."""
    nobody = dict.fromkeys(USER)
    assert {statement["name"] for statement in statements} == set(schema_data.samples(nobody))


def test_a_wrong_declaration_is_found(describe, cluster, database):
    """The comparison notices a column of another type, another name and a lost table."""
    cluster.query(database, "ALTER TABLE user_tokens ALTER COLUMN last_bonus_date TYPE timestamp")
    done = describe(database)
    assert done.returncode == 1
    assert "token_status: column last_bonus_date is declared DATE" in done.stderr
    cluster.query(database, "DROP TABLE payments CASCADE")
    assert "payment_export: cannot be prepared" in describe(database).stderr


def test_not_null_columns_by_catalog(statements, cluster, template):
    """A column of a table without NOT NULL is declared nullable. Texts have a NULL of their own."""
    nullable = set(cluster.query(cluster.url(template), """
        SELECT attrelid::bigint, attnum FROM pg_attribute
        WHERE attnum > 0 AND NOT attnotnull"""))
    # An outer join or a function is not seen here; what comes of it is seen in the next test.
    wrong = [f"{statement['name']}.{column['name']}"
             for statement in statements for column in statement["columns"]
             if not column["nullable"] and column["type"] != "TEXT"
             and f"{statement['name']}.{column['name']}" not in NEVER_NULL
             and (column["table"], column["table_column"]) in nullable]
    assert wrong == []


@pytest.mark.seconds(240)
def test_not_null_columns_by_value(executed):
    for statement, _, rows in executed:
        for row in rows:
            for column, value in zip(statement["columns"], row):
                name = f"{statement['name']}.{column['name']}"
                assert value is not None or column["nullable"] or column["type"] == "TEXT" or (
                    name in NULL_OF_A_REFUSAL), f"{name} was NULL"


def test_no_sequential_scan_of_a_growing_table(executed):
    found = {f"{statement['name']}: {scan}" for statement, plans, _ in executed
             if statement["name"] not in READ_EVERYTHING
             for plan in plans for scan in plan.scans_of(GROWING)}
    found = {scan for scan in found if not scan.startswith(READ_MOST)}
    assert found == set(), "\n".join(sorted(found))
    assert set(READ_EVERYTHING) <= {statement["name"] for statement, _, _ in executed}


def test_functions_were_looked_into(executed):
    """The plans are not just of the calls: the statements inside were seen."""
    tables = {}
    for statement, plans, _ in executed:
        seen = tables.setdefault(statement["name"], set())
        seen |= {node["Relation Name"] for plan in plans for node in plan.nodes()
                 if "Relation Name" in node}
    assert tables["token_claim_bonus"] >= {"user_tokens", "token_transactions", "app_settings"}
    assert tables["usage_record"] >= {"users", "usage_logs", "app_settings"}
    assert tables["generation_record"] >= {"users", "usage_logs", "generations", "address_uses"}
    assert tables["user_erase"] >= {"users", "usage_logs", "generations", "user_identities",
                                    "subscriptions", "token_holds", "erased_identities"}
    assert tables["ledger_post"] >= {"user_tokens", "token_transactions", "token_holds"}
    assert tables["ledger_post_flight"] >= tables["ledger_post"]
    for name in ("hold_capture", "token_claim_bonus"):
        assert tables[name + "_flight"] >= tables[name], name
    # A flight is not counted by address.
    assert tables["usage_record_flight"] >= tables["usage_record"] - {"address_uses"}
    for name in ("hold_create", "hold_capture", "hold_release", "hold_sweep"):
        assert tables[name] >= {"user_tokens", "token_holds"}, name
    assert tables["hold_capture"] >= {"token_transactions"}
    assert tables["ledger_reverse"] >= {"user_tokens", "token_transactions", "users"}
    assert tables["device_link"] >= {
        "users", "user_identities", "user_tokens", "token_transactions", "token_holds",
        "generations", "usage_logs", "payments", "payment_refunds", "payment_references",
        "subscriptions"}
    assert tables["payment_open"] >= {"user_tokens", "payments"}
    assert tables["payment_apply"] >= {
        "user_tokens", "payments", "payment_references", "payment_differences", "app_settings",
        "token_transactions"}
    assert tables["payment_claim_due"] >= {"payments", "app_settings"}
    assert tables["refund_open"] >= {"payments", "payment_refunds"}
    assert tables["refund_apply"] >= {
        "user_tokens", "payments", "payment_refunds", "payment_differences"}
    assert tables["subscription_claim_due"] >= {"subscriptions"}
    assert tables["account_open"] >= {
        "user_identities", "users", "user_tokens", "token_transactions", "app_settings",
        "erased_identities", "address_uses"}
    assert tables["person_sweep"] >= {"erased_identities", "address_uses"}


def test_every_index_is_used(executed, cluster, large):
    used = {index for _, plans, _ in executed for plan in plans for index in plan.indexes()}
    existing = {row[0] for row in cluster.query(
        large, "SELECT indexname FROM pg_indexes WHERE schemaname = 'public'")}
    assert existing - used - set(UNUSED_INDEXES) == set(), "no statement uses these"
    assert set(UNUSED_INDEXES) <= existing, "the list above names an index that is gone"


@pytest.mark.parametrize("plan_mode", PLAN_MODES)
@pytest.mark.parametrize("name", sorted(PAGES))
def test_page_1000_costs_what_page_1_costs(planner, statements, users, cluster, large, name,
                                           plan_mode):
    table, order, direction = PAGES[name]
    statement = next(one for one in statements if one["name"] == name)
    heavy = users[0]["id"]
    position = cluster.query(large, f"""
        SELECT {', '.join(order)} FROM {table} WHERE user_id = %s
        ORDER BY {', '.join(f'{column} {direction}' for column in order)}
        OFFSET {PAGE_ROWS * (LAST_PAGE - 1) - 1} LIMIT 1""", (heavy,))[0]
    if direction == "DESC":
        first = ("infinity", schema_data.LAST_ID)
    else:
        first = (schema_data.FIRST_ID,)
    filters = {"transaction_list": (None, "-infinity", "infinity"), "hold_list": (None,)}
    cost = []
    for start in (first, position):
        call = (heavy, *start, PAGE_ROWS, *filters.get(name, ()))
        plans, rows = planner.run(statement, [call], plan_mode)
        assert len(rows) == 2 * PAGE_ROWS
        cost.append(max(plan.buffers() for plan in plans))
    # The rows of a page are as many pages of the heap, and the index is a few levels deep.
    accounts = 1 + schema_data.LINKED if name == "transaction_list" else 1
    assert cost[1] <= cost[0] + 2 * PAGE_ROWS * accounts, (
        f"page 1: {cost[0]} buffers, then {cost[1]}")
    assert cost[1] <= 5 * PAGE_ROWS * accounts
