"""Session tokens like Clerk's, of an issuer that needs no Node (tests/support/clerk.py has one)."""

import base64
import json
import subprocess
import time


class Issuer:
    """Signs session tokens as Clerk does (RS256), with a key that openssl makes."""

    def __init__(self, folder):
        self.private = str(folder / "issuer.pem")
        subprocess.run(["openssl", "genpkey", "-quiet", "-algorithm", "RSA", "-pkeyopt",
                        "rsa_keygen_bits:2048", "-out", self.private], check=True,
                       stdin=subprocess.DEVNULL, capture_output=True)
        self.public = subprocess.run(["openssl", "pkey", "-in", self.private, "-pubout"],
                                     check=True, capture_output=True, text=True).stdout

    def token(self, subject):
        """A token of a minute."""
        now = int(time.time())
        parts = [{"alg": "RS256", "typ": "JWT"},
                 {"sub": subject, "iat": now, "nbf": now, "exp": now + 60}]
        text = b".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=")
                         for part in parts)
        signature = subprocess.run(["openssl", "dgst", "-sha256", "-sign", self.private],
                                   input=text, check=True, capture_output=True).stdout
        return (text + b"." + base64.urlsafe_b64encode(signature).rstrip(b"=")).decode()
