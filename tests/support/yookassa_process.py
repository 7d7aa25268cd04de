"""The provider of tests/support/yookassa.py in a process of its own, for tests that need its speed
or their own.

    with ProviderProcess(seed=1) as provider:
        env = provider.environment()
        provider.control("faults", timeout_after=0.1)
        provider.act(payment["confirmation"]["confirmation_url"], "pay")
"""

import json
import subprocess
import sys
import urllib.error
import urllib.request

from tests.support.process import REPOSITORY, end

ANSWER_SECONDS = 30


class ProviderProcess:
    """See the head of the file."""

    def __init__(self, seed=0, workers=4):
        self.process = subprocess.Popen(
            [sys.executable, "-B", "-m", "tests.support.yookassa", "--seed", str(seed),
             "--workers", str(workers)], cwd=REPOSITORY, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True, start_new_session=True)
        self.url = self.process.stdout.readline().strip()
        assert self.url.endswith("/v3"), "the provider did not start"
        self.base = self.url[:-len("/v3")]

    def environment(self, **more):
        """As Provider.environment."""
        return {"YOOKASSA_SHOP_ID": "123456", "YOOKASSA_SECRET_KEY": "test_secret",
                "YOOKASSA_API_URL": self.url, "YOOKASSA_WEBHOOK_NETWORKS": "127.0.0.0/8", **more}

    def control(self, what, **arguments):
        """Provider.control of the process; its answer."""
        request = urllib.request.Request(f"{self.base}/control/{what}",
                                         json.dumps(arguments).encode())
        with urllib.request.urlopen(request, timeout=ANSWER_SECONDS) as answer:
            return json.load(answer)

    @staticmethod
    def act(url, what):
        """What a person does on the page they were sent to. Returns whether it was possible."""
        try:
            with urllib.request.urlopen(urllib.request.Request(url, what.encode()),
                                        timeout=ANSWER_SECONDS):
                return True
        except urllib.error.HTTPError:
            return False

    def page(self, payment_id):
        """The page where a payment is paid."""
        return f"{self.base}/confirm/{payment_id}"

    def close(self):
        """Ends it."""
        self.process.stdin.close()
        self.process.stdout.close()
        end(self.process)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
