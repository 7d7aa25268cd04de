"""docs/configuration.md lists what the code reads: every variable, default and range."""
import re
from pathlib import Path

from tests.support.process import REPOSITORY

ROOT = Path(REPOSITORY)
PAGE = (ROOT / "docs/configuration.md").read_text(encoding="utf-8")

# Set by the scripts for themselves, not by the person who runs them.
INTERNAL = {"RUN_DIR", "HANDLER", "GENERATION"}


def table(heading):
    """variable -> the cells of its row: meaning, default, example, refused."""
    section = re.split(r"\n###? ", PAGE.split(f"\n## {heading}\n")[1])[0]
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")]
            for line in section.splitlines() if line.startswith("| `")]
    assert rows and all(len(row) == 5 for row in rows), [row for row in rows if len(row) != 5]
    return {row[0].strip("` |"): row[1:] for row in rows}


HANDLERS = table("Handlers")
SCRIPTS = table("scripts/up")


def config_table():
    """The rows of CONFIG_TABLE: kind, variable, default, least, most, choices."""
    text = (ROOT / "common/base/config.h").read_text(encoding="utf-8")
    limits = dict(re.findall(
        r"(\w+) = (\d+),", (ROOT / "common/base/limits.h").read_text(encoding="utf-8")))
    body = re.search(r"#define CONFIG_TABLE\(X\)(.*?)/\* clang-format on", text, re.S).group(1)
    body = re.sub(r'"\s+"', "", re.sub(r"\s+", " ", body.replace("\\\n", " ")))
    rows = re.findall(
        r'X\((\w+), \w+, "(\w+)", "([^"]*)", (\w+), (\w+), "([^"]*)"\)', body)
    assert len(rows) == body.count("X(") and rows, "a row of CONFIG_TABLE was not understood"
    return [(kind, name, default, limits.get(least, least), limits.get(most, most), choices)
            for kind, name, default, least, most, choices in rows]


def script_variables():
    """name -> default of every ${NAME-default} of scripts/up and what it sources."""
    found = {}
    for file in [ROOT / "scripts/up", *(ROOT / "scripts").glob("lib*.sh")]:
        text = file.read_text(encoding="utf-8").replace("\\\n", "")
        for variable, default in re.findall(r"\$\{([A-Z][A-Z0-9_]*):?-([^}]*)\}", text):
            if variable not in INTERNAL:
                found[variable] = found.get(variable) or default
    return found


def test_the_handlers_read_what_the_page_lists():
    assert list(HANDLERS) == [row[1] for row in config_table()]


def test_defaults_and_ranges_of_the_handlers():
    for kind, name, default, least, most, choices in config_table():
        meaning, written, example, refused = HANDLERS[name]
        assert meaning and example and refused, name
        assert ("Secret." in meaning) == (kind == "SECRET"), name
        if default:
            assert written == f"`{default}`", name
        else:
            assert "`" not in written.replace("`/dev/shm`", ""), name
        if kind == "NUMBER":
            assert refused == f"anything but a whole number from {least} to {most}", name
        if kind == "CHOICE":
            assert re.findall(r"`(\w+)`", refused) == choices.split(","), name


def test_no_other_variable_is_read():
    read = set()
    for file in (ROOT / "common").glob("*/*.c"):
        read |= set(re.findall(r'getenv\("(\w+)"\)', file.read_text(encoding="utf-8")))
    known = set(HANDLERS) | {"CONTENT_LENGTH"}  # of a CGI request
    assert read - known == {"NOTIFY_SOCKET", "HOME"}
    assert "`NOTIFY_SOCKET`" in PAGE and "`HOME`" in PAGE


def test_libraries_read_what_the_page_says():
    text = (ROOT / "common/base/config.h").read_text(encoding="utf-8")
    body = text.split("#define CONFIG_LIBRARY_TABLE(X)")[1].split("/* clang-format on")[0]
    names = re.findall(r'X\("(\w+)"\)', body)
    assert len(names) == body.count("X(")
    section = PAGE.split("\n### Other variables of a handler\n")[1].split("\n### ")[0]
    for name in names:
        assert name.startswith("PG") or f"`{name}`" in section, name


def test_scripts_up_reads_what_the_page_lists():
    read = set(script_variables())
    assert set(SCRIPTS) <= read, f"not read: {set(SCRIPTS) - read}"
    listed = set(SCRIPTS) | set(HANDLERS)
    assert read <= listed, f"not listed: {read - listed}"


def test_defaults_of_scripts_up():
    for name, default in script_variables().items():
        if name in HANDLERS and default and "$" not in default:  # what nginx has to know as well
            assert HANDLERS[name][1] == f"`{default}`", name
        if name not in SCRIPTS:
            continue
        meaning, written, example, refused = SCRIPTS[name]
        assert meaning and example and refused, name
        default = default.removeprefix("$REPOSITORY/")
        assert written == (f"`{default}`" if default else "none"), name


def test_the_head_of_scripts_up_names_them_as_well():
    text = (ROOT / "scripts/up").read_text(encoding="utf-8").split("set -euo")[0]
    for name in set(SCRIPTS) - {"TEST_FSYNC"}:
        assert re.search(rf"\b{name}\b", text), f"scripts/up --help does not name {name}"


def test_numbers_that_scripts_up_checks():
    text = (ROOT / "scripts/lib-settings.sh").read_text(encoding="utf-8")
    checks = re.findall(r"check_number (\w+) (\d+) (\d+)", text)
    assert checks
    for name, least, most in checks:
        refused = SCRIPTS[name][3]
        assert f"{least} to {most}" in refused or refused == "as `HTTPS_PORT`", name


def test_the_settings_in_the_database():
    text = (ROOT / "sql/migrations/0002_reference_tables.sql").read_text(encoding="utf-8")
    rows = text.split("INSERT INTO app_settings")[1].split(";")[0]
    section = PAGE.split("\n## Rows of the database\n")[1]
    for name in re.findall(r"\('(\w+)',", rows):
        assert f"`{name}`" in section, name
