"""Prints the schema of a database as sql/schema.sql has it: tables with their keys, checks, indexes
and triggers, by name. By the catalog, so that the text does not depend on the version of pg_dump.

    python3 -m tests.support.schema_print BUILD_FOLDER    a newly bootstrapped database's
"""

import sys

HEAD = """\
-- The tables of the DreamLens database, as the migrations make them. scripts/print-schema prints
-- them from a database that was just bootstrapped, and a test compares them. Never edit this file:
-- change sql/migrations, which also say what each column is for. Functions are in sql/functions.
"""
SHORTER = {"timestamp without time zone": "timestamp", "character varying": "varchar",
           "public.": ""}
TABLES = """
    SELECT oid::regclass::text FROM pg_class
    WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' ORDER BY relname"""
COLUMNS = """
    SELECT a.attname || ' ' || format_type(a.atttypid, a.atttypmod)
           || CASE WHEN a.attnotnull THEN ' NOT NULL' ELSE '' END
           || coalesce(' DEFAULT ' || pg_get_expr(d.adbin, d.adrelid), '')
    FROM pg_attribute a
    LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    WHERE a.attrelid = %s::regclass AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum"""
CONSTRAINTS = """
    SELECT 'CONSTRAINT ' || conname || ' ' || pg_get_constraintdef(oid, true)
    FROM pg_constraint WHERE conrelid = %s::regclass ORDER BY contype <> 'p', conname"""
INDEXES = """
    SELECT pg_get_indexdef(indexrelid) FROM pg_index
    WHERE indrelid = %s::regclass
      AND NOT EXISTS (SELECT 1 FROM pg_constraint WHERE conindid = indexrelid AND contype <> 'f')
    ORDER BY indexrelid::regclass::text"""
TRIGGERS = """
    SELECT pg_get_triggerdef(oid, true) FROM pg_trigger
    WHERE tgrelid = %s::regclass AND NOT tgisinternal ORDER BY tgname"""


def schema_text(cluster, url):
    """The text of sql/schema.sql for a database."""
    parts = [HEAD]
    with cluster.connect(url) as connection:
        cursor = connection.cursor()

        def lines(query, *values):
            cursor.execute(query, values)
            return [row[0] for row in cursor.fetchall()]
        for table in lines(TABLES):
            inside = lines(COLUMNS, table) + lines(CONSTRAINTS, table)
            parts.append(f"CREATE TABLE {table} (\n    " + ",\n    ".join(inside) + "\n);\n"
                         + "".join(f"{line};\n" for line in lines(INDEXES, table)
                                   + lines(TRIGGERS, table)))
    text = "\n".join(parts)
    for long, short in SHORTER.items():
        text = text.replace(long, short)
    return text


def main(binaries):
    """Prints the schema that the build's bootstrap makes."""
    from tests.support.postgres import Cluster, Template
    cluster = Cluster()
    try:
        name = Template(cluster, f"{binaries}/init-db").name
        sys.stdout.write(schema_text(cluster, cluster.url(name)))
    finally:
        cluster.close()


if __name__ == "__main__":
    main(sys.argv[1])
