"""The plans the server really uses, those of the statements inside of functions included.

auto_explain hands over the plan of everything that a call executes, triggers and foreign-key checks
as well, so that no copy of a function's statements has to be kept.
"""

import json

SESSION = """
LOAD 'auto_explain';
SET auto_explain.log_min_duration = 0;
SET auto_explain.log_analyze = on;
SET auto_explain.log_buffers = on;
SET auto_explain.log_timing = off;
SET auto_explain.log_nested_statements = on;
SET auto_explain.log_format = json;
SET client_min_messages = log;
SET jit = off;
SET random_page_cost = 4;
"""


class Plan:
    """One executed plan: text of the statement, root of the tree as auto_explain writes it."""

    def __init__(self, document):
        self.text = document["Query Text"]
        self.root = document["Plan"]

    def nodes(self, node=None):
        """Every node of the tree."""
        node = node or self.root
        yield node
        for child in node.get("Plans", ()):
            yield from self.nodes(child)

    def buffers(self):
        """How many shared buffers the whole statement touched."""
        return self.root["Shared Hit Blocks"] + self.root["Shared Read Blocks"]

    def indexes(self):
        """Names of the indexes it uses."""
        return {node["Index Name"] for node in self.nodes() if "Index Name" in node} | {
            name for node in self.nodes() for name in node.get("Conflict Arbiter Indexes", ())}

    def scans_of(self, tables):
        """Nodes that read the whole of one of these tables, by the heap or by an index."""
        for node in self.nodes():
            whole = node["Node Type"] in ("Index Scan", "Index Only Scan") and not (
                "Index Cond" in node)
            if node["Node Type"] == "Seq Scan" or whole:
                if node["Relation Name"] in tables:
                    yield f"{node['Node Type']} on {node['Relation Name']} in: {self.text}"


class Planner:
    """A superuser's connection that reports plans. One transaction a call, always rolled back."""

    def __init__(self, connection):
        self.connection = connection
        connection.autocommit = True
        self.cursor = connection.cursor()
        self.cursor.execute(SESSION)

    def prepare(self, statement):
        """Prepares a statement of test_statements --describe, as the handlers do: typed."""
        types = ", ".join(name.lower().replace("_array", "[]") for name in statement["params"])
        self.cursor.execute("PREPARE {} {} AS {}".format(
            statement["name"], f"({types})" if types else "", statement["text"]))

    def run(self, statement, calls, plan_mode):
        """Executes a prepared statement, each call twice. Returns the plans and the rows."""
        plans, rows = [], []
        self.cursor.execute(f"SET plan_cache_mode = {plan_mode}")
        self.cursor.execute("BEGIN")
        for values in calls:
            self.cursor.execute("SAVEPOINT before")
            for _ in range(2):
                del self.connection.notices[:]
                marks = ", ".join(["%s"] * len(values))
                self.cursor.execute(
                    f"EXECUTE {statement['name']}" + (f" ({marks})" if values else ""), values)
                rows += self.cursor.fetchall()
                plans += self._reported()
            self.cursor.execute("ROLLBACK TO before")
        self.cursor.execute("ROLLBACK")
        return plans, rows

    def _reported(self):
        for notice in self.connection.notices:
            _, found, document = notice.partition("plan:\n")
            if found:
                yield Plan(json.loads(document))
