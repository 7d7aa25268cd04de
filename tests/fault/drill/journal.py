"""What clients asked for and what they were told: one JSON line before each attempt, one after.

An operation: {"op": name, "kind", "path", "auth": [header, value], "body"}; its name is its
Idempotency-Key and stands in its description, so that its ledger entry is found by it.
An attempt: {"op": name, "sent": time}, which may end in {"op": name, "left": time}: not repeated
before the end of the drill; its answer: {"op": name, "got": time, "status", "replayed",
"data", "code"}; status 0 is no answer.
"""

import json
import os

KEYED = ("spend", "grant", "batch", "hold", "capture", "reverse", "bonus")


def is_definite(status, code, data=None):
    """Whether an answer settles the operation: done, or refused for a reason of its own. Of a batch
    every single one must be settled."""
    if status == 0 or status >= 500 or status == 429 or code == "idempotency_in_progress":
        return False
    if data and "results" in data:
        return all(is_definite(result["status"], result.get("code")) for result in data["results"])
    return True


class Journal:
    """Appends to a file; every line is with the kernel before the function returns."""

    def __init__(self, path):
        self.descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def write(self, **line):
        """Adds one line."""
        os.write(self.descriptor, json.dumps(line, ensure_ascii=False).encode() + b"\n")


class Operation:
    """One operation and its attempts, as the journals tell them."""

    def __init__(self, line):
        self.name, self.kind, self.path = line["op"], line["kind"], line["path"]
        self.auth, self.body = line["auth"], line["body"]
        self.headers = line.get("headers", {})
        self.answers = []
        self.sent = 0
        self.left = False

    @property
    def acknowledged(self):
        """The first answer that said it was done, or None."""
        for answer in self.answers:
            if 200 <= answer["status"] < 300:
                return answer
        return None

    @property
    def settled(self):
        """Whether some answer was definite."""
        return any(is_definite(answer["status"], answer["code"], answer["data"])
                   for answer in self.answers)

    @property
    def ambiguous(self):
        """Whether some attempt got no definite answer, so that it may still have been done."""
        definite = sum(1 for answer in self.answers
                       if is_definite(answer["status"], answer["code"], answer["data"]))
        return definite < self.sent

    def outage(self):
        """(first failure, seconds until it was done), or None when it never failed or was left."""
        failed = None
        if self.left:
            return None
        for answer in self.answers:
            if not is_definite(answer["status"], answer["code"], answer["data"]):
                if failed is None and answer["code"] != "idempotency_in_progress":
                    failed = answer["got"]
            elif failed is not None:
                return failed, answer["got"] - failed
            else:
                return None
        return None


def read(paths):
    """{name: Operation} of all journals, and what clients found wrong at once."""
    operations, violations = {}, []
    for path in paths:
        with open(path, encoding="utf-8") as file:
            for text in file:
                line = json.loads(text)
                if "kind" in line:
                    operations[line["op"]] = Operation(line)
                elif "sent" in line:
                    operations[line["op"]].sent += 1
                elif "left" in line:
                    operations[line["op"]].left = True
                elif "got" in line:
                    operations[line["op"]].answers.append(line)
                else:
                    violations.append(line["violation"])
    return operations, violations


def differs(operation, answer):
    """What is wrong with the answer to a repetition of an acknowledged operation, or None."""
    first = operation.acknowledged
    if not is_definite(answer["status"], answer["code"], answer["data"]):
        return None  # a fault; it will be asked again
    if not 200 <= answer["status"] < 300:
        return (f"{operation.name}: answered {first['status']}, again {answer['status']}"
                f" {answer['code']}")
    if operation.kind == "release":
        return None  # it promises to be repeatable, not the balance of then
    if operation.kind == "batch":
        for one, other in zip(first["data"]["results"], answer["data"]["results"]):
            # One that was refused burnt nothing and may succeed now.
            if one["status"] == 201 and one != other:
                return f"{operation.name}: answered {one}, again {other}"
        return None
    if first["data"] != answer["data"]:
        return f"{operation.name}: answered {first['data']}, again {answer['data']}"
    if operation.kind in KEYED and not answer["replayed"]:
        return f"{operation.name}: repeated without Idempotency-Replayed"
    return None
