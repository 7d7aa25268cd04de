"""scripts/check-style finds what it says it finds, and docs/contributing.md has its numbers."""
import importlib.machinery
import importlib.util
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.process import REPOSITORY

ROOT = Path(REPOSITORY)
SCRIPT = ROOT / "scripts/check-style"

GOOD_HEADER = "#pragma once\n#include <stdint.h>\n\nint64_t thing_twice(int64_t number);\n"
GOOD_SOURCE = """\
#include "base/thing.h"

int64_t thing_twice(int64_t number)
{
    return 2 * number;
}
"""


def function(parameters, lines, name="thing"):
    """A function of C, well formed, of so many parameters and lines."""
    listed = ", ".join(f"int a{number}" for number in range(parameters)) or "void"
    body = "".join(f"    call({number});\n" for number in range(lines - 3))
    return f"static void {name}({listed})\n{{\n{body}}}\n"


@pytest.fixture
def check(tmp_path):
    """Runs the script on a small tree with the given files: (exit status, lines printed)."""
    def run(**files):
        shutil.copy(ROOT / ".clang-format", tmp_path)
        written = {"common/base/thing.h": GOOD_HEADER, "common/base/thing.c": GOOD_SOURCE}
        for path, text in {**written, **files.get("files", {})}.items():
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_text(text, encoding="utf-8")
        done = subprocess.run([SCRIPT, str(tmp_path)], capture_output=True, text=True, check=False,
                              timeout=60)
        assert not done.stderr, done.stderr
        return done.returncode, done.stdout.splitlines()
    return run


def test_what_is_right_is_right(check):
    assert check() == (0, ["style: 2 files, 1 functions, 1 headers are right"])


@pytest.mark.parametrize("path, text, expected", [
    ("common/base/thing.c", GOOD_SOURCE.replace("2 * number", "2*number"),
     "common/base/thing.c:5: clang-format has other blanks or lines, in 2 places: "
     "clang-format -i common/base/thing.c"),
    ("common/base/other.h", "#pragma once\n\nint other(uint64_t number);\n",
     "common/base/other.h:3: does not compile alone: unknown type name 'uint64_t'"),
    ("common/base/other.h", "int other(int number);\n",
     "common/base/other.h:1: expected #pragma once"),
    ("common/base/wide.c", f'/* clang-format off */\nchar a[] = "{"x" * 87}";\n',
     "common/base/wide.c:2: 101 columns, expected at most 100"),
    ("sql/queries/wide.sql", f"-- Thing.\n-- {'я' * 98}\n",
     "sql/queries/wide.sql:2: 101 columns, expected at most 100"),
    ("scripts/wide", f"#!/bin/sh\n# {'x' * 99}\n",
     "scripts/wide:2: 101 columns, expected at most 100"),
    ("tests/wide.py", f'"""{"x" * 95}"""\n', "tests/wide.py:1: 101 columns, expected at most 100"),
    ("common/base/long.c", function(0, 61),
     "common/base/long.c:1: thing has 61 lines, expected at most 60"),
    ("scripts/long.sh", "long() {\n" + "    true\n" * 59 + "}\n",
     "scripts/long.sh:1: long has 61 lines, expected at most 60"),
    ("scripts/long.sh", "long() ( # in a subshell\n" + "    true\n" * 59 + ")\n",
     "scripts/long.sh:1: long has 61 lines, expected at most 60"),
    ("tests/long.py", "def long():\n" + "    pass\n" * 60,
     "tests/long.py:1: long has 61 lines, expected at most 60"),
    ("common/base/long.c", "int a;\n" * 501,
     "common/base/long.c:501: a file of 501 lines, expected at most 500"),
    ("scripts/long", "#!/bin/bash\n" + "true\n" * 500,
     "scripts/long:501: a file of 501 lines, expected at most 500"),
    ("tests/long.py", "pass\n" * 501,
     "tests/long.py:501: a file of 501 lines, expected at most 500"),
])
def test_what_is_wrong_is_named(check, path, text, expected):
    assert check(files={path: text}) == (1, [expected])


def test_what_is_at_the_limit_is_right(check):
    status, lines = check(files={
        "common/base/long.c": function(4, 60), "common/base/wide.c": f'char a[] = "{"x" * 86}";\n',
        "tests/long.py": "pass\n" * 500, "sql/schema.sql": f"-- {'x' * 200}\n",
        "build/gen/thing.c": "int  a ;\n", "docs/page.md": "x" * 200 + "\n"})
    assert (status, lines) == (0, ["style: 5 files, 2 functions, 1 headers are right"])


def test_many_parameters_are_a_share_of_the_product(check):
    def tree(others):
        return {"common/base/many.c": "\n".join(
                    [function(5, 4, "crowded")] + [function(4, 4, f"f{n}") for n in range(others)]),
                # Tests are neither among the crowded nor among all.
                "tests/unit/many.c": "\n".join(function(6, 4, f"t{n}") for n in range(20))}

    assert check(files=tree(48))[0] == 0  # thing_twice is the fiftieth
    assert check(files=tree(47)) == (1, [
        "common/base/many.c:1: crowded has 5 parameters, as 1 of 49 functions have more than 4; "
        "expected at most 2 in 100"])


def test_parameters_are_counted_as_a_compiler_does():
    loader = importlib.machinery.SourceFileLoader("check_style", str(SCRIPT))
    module = importlib.util.module_from_spec(
        importlib.util.spec_from_loader("check_style", loader))
    loader.exec_module(module)
    for signature, name, count in [
            ("int main(void)", "main", 0), ("int f()", "f", 0), ("static int *f(int a)", "f", 1),
            ("void f(int a, void (*call)(int, int), char b[])", "f", 3),
            ('__attribute__((format(printf, 1, 2))) void f(const char *text, ...)', "f", 2)]:
        assert (module.name_of(signature), module.parameters(signature)) == (name, count)
