"""What a cached read costs the handler: processor instructions and system calls for a request.

The real tokens handler answers N and then, in another process, 2N requests for a balance that is
in the shared cache, over one kept connection with the parameters nginx sends. The difference
divided by N leaves out the start and the first, uncached read. Instructions are valgrind's count
(callgrind), which repeats to a fraction of a percent on a busy machine; system calls are strace's.
See scripts/bench-instructions.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from tests.support.fastcgi import PARAMS, STDIN, Handler, begin, name_values, parameters, stream
from tests.support.postgres import Cluster, Template
from tests.support.process import REPOSITORY, wait_until
from tests.support.stack import new_device

# A browser's request, as nginx hands it on.
HEADERS = {
    "Host": "localhost:8443", "Accept": "application/json", "Accept-Encoding": "gzip, deflate, br",
    "Accept-Language": "ru-RU,ru;q=0.9,en-US;q=0.8", "Origin": "https://app.example",
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
}

TOOLS = {
    "callgrind": "valgrind --tool=callgrind --callgrind-out-file={out} -q",
    "strace": "strace -D -f -c -o {out}",
}


def serve(binary, url, tool, count, folder):
    """Answers count cached reads under a tool. Returns the path of what the tool wrote."""
    out = f"{folder}/{tool}.{count}"
    wrapper = f"{folder}/tokens"
    with open(wrapper, "w", encoding="utf-8") as file:
        file.write(f"#!/bin/sh\nexec {TOOLS[tool].format(out=out)} {binary}\n")
    os.chmod(wrapper, 0o755)
    device = new_device()
    headers = {**HEADERS, "Authorization": f"Device {device}"}
    with Handler(folder, "tokens", POSTGRES_URL=url, SANDBOX="off",
                 ALLOWED_ORIGINS="https://app.example") as handler:
        with handler.connect() as connection:
            params = parameters("GET", "/api/tokens", headers=headers, REMOTE_ADDR="203.0.113.7")
            request = begin() + stream(PARAMS, name_values(params)) + stream(STDIN, b"")
            for _ in range(count + 1):
                connection.send(request)
                answer = connection.receive()
                assert answer.status == 200, answer
        handler.stop()
    wait_until(lambda: os.path.exists(out) and os.path.getsize(out) > 0, 30, out)
    return out


def read_callgrind(path):
    """{function: instructions of its own} and, under "", those of the whole process."""
    done = subprocess.run(["callgrind_annotate", "--auto=no", "--threshold=100", path], check=True,
                          capture_output=True, text=True)
    costs = {}
    for line in done.stdout.splitlines():
        match = re.match(r"\s*([\d,]+) \([ \d.]+%\)\s+(.*)", line)
        if not match:
            continue
        count, where = int(match[1].replace(",", "")), match[2]
        name = re.sub(r" \[.*\]$", "", where).rpartition(":")[2].partition("'")[0]
        if where.startswith("PROGRAM TOTALS"):
            name = ""
        elif name.startswith("0x"):
            name = "a function without a name in " + os.path.basename(where.rstrip("]"))
        costs[name] = costs.get(name, 0) + count
    return costs


def read_strace(path):
    """{system call: count} and, under "", the sum."""
    calls = {}
    with open(path, encoding="utf-8") as file:
        for line in file:
            words = line.split()
            if len(words) in (5, 6) and words[3].isdigit() and words[-1] != "total":
                calls[words[-1]] = calls.get(words[-1], 0) + int(words[3])
    calls[""] = sum(calls.values())
    return calls


READERS = {"callgrind": read_callgrind, "strace": read_strace}


def per_request(binary, url, tool, count):
    """{name: cost of one request}, "" for the whole."""
    with tempfile.TemporaryDirectory(prefix="dl-in-", dir="/tmp") as folder:
        few, many = (READERS[tool](serve(binary, url, tool, times, folder))
                     for times in (count, 2 * count))
    costs = {name: (many[name] - few.get(name, 0)) / count for name in many}
    return {name: cost for name, cost in costs.items() if cost > 0.005}


def print_costs(title, costs, rows):
    """The whole and its largest parts."""
    print(f"{title}: {costs['']:,.1f}")
    parts = sorted(((cost, name) for name, cost in costs.items() if name), reverse=True)
    for cost, name in parts[:rows]:
        print(f"  {cost:9,.1f} {100 * cost / costs['']:5.1f}%  {name}")


def main():
    """See scripts/bench-instructions."""
    parser = argparse.ArgumentParser(prog="bench-instructions", description=__doc__)
    parser.add_argument("--count", type=int, default=1000, help="N")
    parser.add_argument("--rows", type=int, default=25, help="functions to list")
    parser.add_argument("--json", metavar="FILE", help="write the numbers there as well")
    arguments = parser.parse_args()
    binary = f"{REPOSITORY}/build/release/bin/tokens"
    cluster = Cluster()
    try:
        url = cluster.create_database(
            Template(cluster, f"{REPOSITORY}/build/release/bin/init-db").name)
        costs = {tool: per_request(binary, url, tool, arguments.count) for tool in TOOLS}
    finally:
        cluster.close()
    print_costs("instructions per cached read", costs["callgrind"], arguments.rows)
    print_costs("system calls per cached read", costs["strace"], arguments.rows)
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump({"instructions": costs["callgrind"], "system_calls": costs["strace"]}, file,
                      indent=1)


if __name__ == "__main__":
    main()
