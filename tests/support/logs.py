"""What no log of any test may hold, and log lines as objects."""

import json
import re

# A finding of a sanitizer or a failed assertion, whatever the test itself thought of the answers.
FINDING = re.compile(
    r"AddressSanitizer|LeakSanitizer|UndefinedBehaviorSanitizer|runtime error:|ThreadSanitizer"
    r"|Assertion|stack smashing|buffer overflow detected|PANIC:|TRAP:"
)

# What makes the findings complete; the handlers get it through the environment.
SANITIZER_OPTIONS = {
    "ASAN_OPTIONS": "detect_leaks=1:abort_on_error=0:exitcode=99:detect_stack_use_after_return=1",
    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1:exitcode=99",
    "TSAN_OPTIONS": "halt_on_error=1:exitcode=99",
}


def read(path):
    """The text of a file, "" when there is none."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def findings(text):
    """The lines that must not be, with what follows each."""
    lines = text.splitlines()
    return ["\n".join(lines[i : i + 25]) for i, line in enumerate(lines) if FINDING.search(line)]


def assert_clean(paths):
    """Fails with the first finding of each file."""
    found = {path: findings(read(path))[:1] for path in paths}
    found = {path: lines for path, lines in found.items() if lines}
    assert not found, "\n".join(f"{path}:\n{lines[0]}" for path, lines in found.items())


def events(text):
    """The JSON lines of a log as objects; a line that is none fails the test."""
    return [json.loads(line) for line in text.splitlines()]
