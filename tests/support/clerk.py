"""A Clerk of our own: a key set on the loopback, with faults, and tokens signed by npm's jose.

    with Issuer() as issuer, Clerk(issuer) as clerk:
        stack = make_stack(url, **clerk.environment())
        client.get("/api/tokens", headers=bearer(clerk.token("user_1")))

Issuer is one Node process for all tests of a run (tests/clerk/issuer.mjs). The packages it needs
are pinned by tests/clerk/package-lock.json and installed once by npm ci.
"""

import base64
import contextlib
import http.server
import json
import os
import secrets
import subprocess
import threading
import time

from tests.support import npm
from tests.support.process import REPOSITORY, end

FOLDER = os.path.join(REPOSITORY, "tests", "clerk")
PARTIES = ("https://app.example", "https://other.example")
MACHINE_CATEGORY = "cl_B7d4PD333AAA"
SESSION_CATEGORY = "cl_B7d4PD111AAA"


def part(value):
    """A part of a token: base64url of bytes, of text, or of anything else as JSON."""
    if not isinstance(value, (bytes, str)):
        value = json.dumps(value, separators=(",", ":"))
    data = value if isinstance(value, bytes) else value.encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def bearer(token):
    """The header that carries a token."""
    return {"Authorization": f"Bearer {token}"}


def new_user():
    """A Clerk user id nobody has used."""
    return "user_" + secrets.token_hex(13)


class Issuer:
    """Keys, tokens, and @clerk/backend's opinion of them."""

    def __init__(self):
        npm.install(FOLDER)
        self.process = subprocess.Popen(
            ["node", "issuer.mjs"], cwd=FOLDER, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env={"PATH": os.environ["PATH"]}, text=True, encoding="utf-8")
        self.lock = threading.Lock()

    def run(self, commands):
        """Runs a list of commands (issuer.mjs) and returns the list of their results."""
        with self.lock:
            self.process.stdin.write(json.dumps(commands) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        assert line, f"the issuer ended, exit status {self.process.wait()}"
        return json.loads(line)

    def one(self, **command):
        """Runs one command."""
        return self.run([command])[0]

    def close(self):
        """Ends the process."""
        self.process.stdin.close()
        end(self.process)
        self.process.stdout.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):  # the name is http.server's
        clerk = self.server.clerk
        with clerk.lock:
            clerk.fetches.append(time.monotonic())
            fault = clerk.fault
        status, body = 200, json.dumps({"keys": clerk.jwks()}).encode()
        if self.path != "/.well-known/jwks.json":
            status, body = 404, b"{}"
        elif fault == "error":
            status = 500
        elif fault == "redirect":
            status = 302
        elif fault == "garbage":
            body = b"<html>" + os.urandom(200)
        elif fault == "no_keys":
            body = b'{"keys":[]}'
        elif fault == "huge":
            body = body[:-1] + b" " * (8 << 20) + b"}"
        elif fault == "hang":
            clerk.released.wait(30)
        elif fault == "slow":
            time.sleep(1)
        elif fault == "cut":
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[:-10])
            self.close_connection = True
            return
        with contextlib.suppress(OSError):  # the client gave up meanwhile
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            if status == 302:
                self.send_header("Location", self.path)
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, *_):  # nothing on the terminal
        pass


class Clerk:
    """One instance of Clerk. fault: what the next fetches of the key set meet, None for nothing."""

    FAULTS = ("error", "redirect", "garbage", "no_keys", "huge", "cut", "hang")

    def __init__(self, issuer):
        self.issuer = issuer
        self.lock = threading.Lock()
        self.released = threading.Event()
        self.fault = None
        self.fetches = []
        self.keys = {}
        self.published = []
        self.signing = self.new_key()
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self.server.daemon_threads = True
        self.server.clerk = self
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)
        self.thread.start()

    def new_key(self, publish=True):
        """Makes a key, publishes it unless told not to, and returns its kid."""
        kid = "ins_" + secrets.token_hex(8)
        self.keys[kid] = self.issuer.one(do="key", name=kid)
        if publish:
            self.published.append(kid)
        return kid

    def jwks(self):
        """The published keys as they are served."""
        return [self.keys[kid]["jwk"] for kid in self.published]

    def pem(self, kid=None):
        """A public key as CLERK_JWT_KEY has it."""
        return self.keys[kid or self.signing]["pem"]

    def environment(self, networkless=False):
        """What the handlers are configured with."""
        settings = {"CLERK_ISSUER": self.url, "CLERK_AUTHORIZED_PARTIES": ", ".join(PARTIES)}
        if networkless:
            settings["CLERK_JWT_KEY"] = self.pem().strip().replace("\n", "\\n")
        return settings

    def claims(self, subject=None, now=None, **changes):
        """The payload of a session token as Clerk makes it; a change to None leaves a claim out."""
        now = int(time.time() if now is None else now)
        payload = {
            "azp": PARTIES[0], "exp": now + 60, "fva": [0, -1], "iat": now, "iss": self.url,
            "jti": secrets.token_hex(10), "nbf": now - 10, "sid": "sess_" + secrets.token_hex(13),
            "sts": "active", "sub": subject or new_user(), "v": 2, **changes,
        }
        return {name: value for name, value in payload.items() if value is not None}

    def header(self, **changes):
        """The header of a session token as Clerk makes it."""
        header = {"alg": "RS256", "cat": SESSION_CATEGORY, "kid": self.signing, "typ": "JWT",
                  **changes}
        return {name: value for name, value in header.items() if value is not None}

    def token(self, subject=None, key=None, header=None, **claims):
        """A token, good unless claims or header say otherwise."""
        key = key or self.signing
        return self.issuer.one(do="jose", key=key, payload=self.claims(subject, **claims),
                               header={**self.header(kid=key), **(header or {})})

    def close(self):
        """Stops the server."""
        self.released.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(10)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Person:
    """A client with a Clerk account."""

    def __init__(self, stack, clerk, subject=None, device=None):
        self.stack, self.clerk, self.subject = stack, clerk, subject or new_user()
        self.client = stack.client(anonymous=True)
        self.device = device

    def request(self, method, path, token=None, **options):
        """A request with a fresh token, unless one is given."""
        headers = bearer(token or self.clerk.token(self.subject))
        if self.device:
            headers["X-Device-Id"] = self.device
        headers.update(options.pop("headers", {}))
        return self.client.request(method, path, headers=headers, **options)
