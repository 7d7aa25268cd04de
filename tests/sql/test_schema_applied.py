"""Functions of sql/functions are applied by the next start when they changed, and only then."""

import glob
import hashlib
import os

import pytest

from tests.support.postgres import bootstrap
from tests.support.process import REPOSITORY
from tests.support.schema_catalog import assert_same_catalog, catalog
from tests.support.stack import SECRET

FILES = {os.path.basename(path)[:-len(".sql")]: path
         for path in glob.glob(os.path.join(REPOSITORY, "sql", "functions", "*.sql"))}
SWEEP = "CREATE OR REPLACE FUNCTION hold_sweep(p_limit int) RETURNS int LANGUAGE plpgsql AS $$"
OTHER_SWEEP = SWEEP + " BEGIN RETURN -7; END $$"
RECORD = "SELECT name, digest FROM schema_functions WHERE retired_at IS NULL"


@pytest.fixture
def start(cluster, database, binaries):
    """Starts a process that bootstraps, and returns the schema then."""
    def run():
        bootstrap(database, os.path.join(binaries, "init-db"))
        return catalog(cluster, database)
    return run


@pytest.fixture
def run(cluster, database):
    """Runs one statement in the test's database and returns its rows."""
    return lambda text, *values: cluster.query(database, text, values or None)


def of_another_build(run, name="hold_sweep", definition=OTHER_SWEEP, **record):
    """Puts a function there as another build has it."""
    run(definition)
    columns = {"digest": "of another build", **record}
    run("UPDATE schema_functions SET "
        + ", ".join(f"{column} = '{value}'" for column, value in columns.items())
        + f" WHERE name = '{name}'")


def test_every_file_is_applied_and_recorded(run):
    digests = {}
    for name, path in FILES.items():
        with open(path, "rb") as file:
            digests[name] = hashlib.sha256(file.read()).hexdigest()
    assert dict(run(RECORD)) == digests
    present = {row[0] for row in run("SELECT proname FROM pg_proc"
                                     " WHERE pronamespace = 'public'::regnamespace")}
    assert present == set(FILES)


def test_a_changed_function_is_applied_by_the_next_start(cluster, database, run, start):
    before, recorded = catalog(cluster, database), sorted(run(RECORD))
    others = "SELECT name, applied_at FROM schema_functions WHERE name <> 'hold_sweep' ORDER BY 1"
    untouched = run(others)
    of_another_build(run)
    assert run("SELECT hold_sweep(1)") == [(-7,)]
    assert_same_catalog(before, start())
    assert run("SELECT hold_sweep(1)") == [(0,)]
    assert sorted(run(RECORD)) == recorded
    assert run(others) == untouched, "what did not change is not applied again"


@pytest.mark.parametrize("definition, declaration", [
    # Another type that it returns, another name of a parameter, another parameter.
    ("hold_sweep(p_limit int) RETURNS bigint", None),
    ("hold_sweep(p_most int) RETURNS int", None),
    ("hold_sweep(p_limit bigint, p_of uuid) RETURNS int", None),
])
def test_a_function_declared_otherwise_is_replaced(cluster, database, run, start, definition,
                                                   declaration):
    before = catalog(cluster, database)
    run("DROP FUNCTION hold_sweep(int)")
    of_another_build(run, definition=f"CREATE FUNCTION {definition} LANGUAGE plpgsql AS"
                                     " 'BEGIN RETURN -7; END'",
                     declaration=declaration or definition)
    assert_same_catalog(before, start())
    assert run("SELECT hold_sweep(1)") == [(0,)]


def test_a_missing_function_is_made_and_nothing_else(cluster, database, run, make_handler):
    before = catalog(cluster, database)
    run("DROP FUNCTION hold_sweep(int)")
    handler = make_handler("init-db", POSTGRES_URL=database)
    assert handler.request("POST", f"/api/init-db?secret={SECRET}").data["applied"] == []
    assert_same_catalog(before, catalog(cluster, database))
    applied = [event for event in handler.events() if event["message"] == "functions applied"]
    assert [event["functions"] for event in applied] == [1]


def test_a_lost_record_is_made_again(cluster, database, run, start):
    before, recorded = catalog(cluster, database), sorted(run(RECORD))
    run("DROP TABLE schema_functions")
    assert_same_catalog(before, start())
    assert sorted(run(RECORD)) == recorded


def add_old_function(run):
    """A function that the build before had."""
    run("CREATE FUNCTION hold_forget(p_user_id uuid) RETURNS int LANGUAGE plpgsql AS"
        " 'BEGIN RETURN 1; END'")
    run("INSERT INTO schema_functions (name, declaration, digest, applied_at) VALUES"
        " ('hold_forget', 'hold_forget(p_user_id uuid) RETURNS int', 'x', '2026-01-01')")


def test_a_function_of_the_build_before_is_dropped_a_day_later(run, start):
    """Until then its processes call it."""
    add_old_function(run)
    start()
    assert run("SELECT hold_forget(NULL)") == [(1,)]
    run("UPDATE schema_functions SET retired_at = retired_at - interval '23 hours'")
    start()
    assert run("SELECT hold_forget(NULL)") == [(1,)]
    run("UPDATE schema_functions SET retired_at = retired_at - interval '2 hours'")
    start()
    assert run("SELECT count(*) FROM pg_proc WHERE proname = 'hold_forget'") == [(0,)]
    assert "hold_forget" not in dict(run("SELECT name, digest FROM schema_functions"))


def test_a_function_that_an_operator_uses_is_not_dropped(run, start):
    add_old_function(run)
    run("CREATE VIEW operators_view AS SELECT hold_forget(NULL)")
    start()
    run("UPDATE schema_functions SET retired_at = '2026-01-01' WHERE name = 'hold_forget'")
    start()
    assert run("SELECT * FROM operators_view") == [(1,)]


def test_a_retired_function_comes_back_with_its_build(run, start):
    run("UPDATE schema_functions SET retired_at = '2026-01-01' WHERE name = 'hold_sweep'")
    start()
    assert run("SELECT hold_sweep(1)") == [(0,)]
    assert run("SELECT retired_at FROM schema_functions WHERE name = 'hold_sweep'") == [(None,)]


def test_an_old_process_leaves_what_a_newer_one_applied(database, run, make_handler, start):
    """It makes what is missing, and no more: two builds run side by side in a rolling restart."""
    handler = make_handler("init-db", POSTGRES_URL=database)
    assert handler.request("POST", f"/api/init-db?secret={SECRET}").data["applied"] == []
    now = run("SELECT clock_timestamp() AT TIME ZONE 'utc'")[0][0]
    of_another_build(run, applied_at=now)
    add_old_function(run)
    run("UPDATE schema_functions SET applied_at = %s WHERE name = 'hold_forget'", now)
    run("DROP FUNCTION user_erase(uuid, text[], text[])")
    assert handler.request("POST", f"/api/init-db?secret={SECRET}").status == 200
    assert run("SELECT hold_sweep(1)") == [(-7,)]
    assert run("SELECT to_regproc('user_erase') IS NOT NULL") == [(True,)]
    assert run("SELECT count(*) FROM schema_functions WHERE retired_at IS NOT NULL") == [(0,)]
    assert "stay as they are" in handler.log()
    start()
    assert run("SELECT hold_sweep(1)") == [(0,)], "a process that starts now is the newest"


def test_functions_of_a_newer_schema_are_left_alone(run, start):
    run("INSERT INTO schema_migrations (version, name, checksum) VALUES (900, 'later', 'x')")
    of_another_build(run)
    add_old_function(run)
    run("DROP FUNCTION user_erase(uuid, text[], text[])")
    start()
    assert run("SELECT hold_sweep(1)") == [(-7,)]
    assert run("SELECT to_regproc('user_erase') IS NOT NULL") == [(True,)]
    assert run("SELECT count(*) FROM schema_functions WHERE retired_at IS NOT NULL") == [(0,)]


def test_the_schema_before_functions_had_files_is_taken_over(cluster, database, run, start):
    """Eight migrations with functions in them; what has another name now stays for a day."""
    before = catalog(cluster, database)
    run("DROP TABLE schema_functions")
    run(OTHER_SWEEP)
    run("CREATE FUNCTION sweep_holds(p_limit int) RETURNS int LANGUAGE plpgsql AS"
        " 'BEGIN RETURN hold_sweep(p_limit); END'")
    run("DELETE FROM schema_migrations")
    run("INSERT INTO schema_migrations (version, name, checksum) SELECT n, 'of before',"
        " CASE n WHEN 8 THEN '287a598b0b00ec9c4aaa6b3c2bbcf6af843ccf4bcdf4eb22d6e74f5f0f6b391f'"
        " ELSE 'x' END FROM generate_series(1, 8) n")
    added = set(start()) - set(before)
    assert [line.split("(")[0] for line in added] == ["function sweep_holds"]
    assert run("SELECT sweep_holds(1)") == [(0,)]
    run("UPDATE schema_functions SET retired_at = retired_at - interval '25 hours'")
    assert_same_catalog(before, start())
    assert run("SELECT max(version) < 8, count(DISTINCT name) > 1 FROM schema_migrations") == [
        (True, True)]
