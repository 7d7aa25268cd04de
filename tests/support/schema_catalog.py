"""What a database's schema is, by its catalog, and a readable difference of two.

    before = catalog(cluster, url)
    assert_same_catalog(expected, found)

A catalog is a sorted list of lines, one a table, column, constraint, index, function, trigger, view
or reference row. The handlers' records of migrations and functions are left out.
"""

import difflib

QUERIES = (
    # Position counts, since dumps and INSERTs without names depend on the order of columns.
    """SELECT format('column %s %s: %s%s%s', c.relname,
                     row_number() OVER (PARTITION BY c.oid ORDER BY a.attnum),
                     a.attname || ' ' || format_type(a.atttypid, a.atttypmod),
                     CASE WHEN a.attnotnull THEN ' NOT NULL' ELSE '' END,
                     coalesce(' DEFAULT ' || pg_get_expr(d.adbin, d.adrelid), ''))
       FROM pg_class c
       JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
       LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
       WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm')
         AND c.relname NOT IN ('schema_migrations', 'schema_functions')""",
    """SELECT format('constraint %s %s: %s', conrelid::regclass, conname, pg_get_constraintdef(oid))
       FROM pg_constraint
       WHERE connamespace = 'public'::regnamespace AND conrelid <> 0
         AND conrelid::regclass::text NOT IN ('schema_migrations', 'schema_functions')""",
    """SELECT format('index %s: %s', indexname, indexdef) FROM pg_indexes
       WHERE schemaname = 'public'
         AND tablename NOT IN ('schema_migrations', 'schema_functions')""",
    """SELECT format('function %s returns %s, %s %s%s%s: %s', oid::regprocedure,
                     pg_get_function_result(oid), provolatile,
                     CASE WHEN prosecdef THEN 'definer ' ELSE '' END, proconfig,
                     proargnames, prosrc)
       FROM pg_proc WHERE pronamespace = 'public'::regnamespace""",
    """SELECT format('trigger %s on %s, %s: %s', tgname, tgrelid::regclass, tgenabled,
                     pg_get_triggerdef(oid))
       FROM pg_trigger WHERE NOT tgisinternal""",
    """SELECT format('view %s: %s', viewname, definition) FROM pg_views
       WHERE schemaname = 'public'""",
)
REFERENCE_TABLES = ("plans", "token_packages", "app_settings")


def catalog(cluster, url):
    """The schema of a database, as sorted lines."""
    lines = []
    with cluster.connect(url) as connection:
        cursor = connection.cursor()
        for query in QUERIES:
            cursor.execute(query)
            lines += [row[0] for row in cursor.fetchall()]
        for table in REFERENCE_TABLES:
            cursor.execute("SELECT to_regclass(%s) IS NOT NULL", (table,))
            if cursor.fetchone()[0]:
                cursor.execute(f"SELECT r::text FROM {table} r")
                lines += [f"row {table}: {row[0]}" for row in cursor.fetchall()]
    return sorted(lines)


def assert_same_catalog(expected, found, names=("expected", "found")):
    """Fails with the lines that differ, word by word for those that are nearly the same."""
    if expected == found:
        return
    difference = difflib.unified_diff(expected, found, *names, lineterm="", n=0)
    raise AssertionError("the schemas differ:\n" + "\n".join(difference))
