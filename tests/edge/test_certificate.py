"""The certificate nginx serves: one that was given stays while it is valid, our own is renewed."""

import hashlib
import os
import socket
import ssl
import subprocess

import pytest

from tests.support import logs
from tests.support.stack import Stack


def make_pair(folder, days, name="given"):
    """A self-signed pair that is valid for some days, as TLS_CERTIFICATE and TLS_KEY."""
    certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-days", str(days), "-subj", f"/CN={name}.example", "-keyout", key,
         "-out", certificate],
        check=True, capture_output=True)
    return {"TLS_CERTIFICATE": str(certificate), "TLS_KEY": str(key)}


def make_ended(folder):
    """A pair whose certificate was valid for a day of 2020."""
    names = {name: str(folder / f"ended.{name}") for name in ("conf", "key", "csr", "pem", "index")}
    (folder / "ended.index").touch()
    (folder / "ended.conf").write_text(
        f"[ca]\ndefault_ca = own\n[own]\ndatabase = {names['index']}\nnew_certs_dir = {folder}\n"
        "rand_serial = yes\ndefault_md = sha256\npolicy = any\n[any]\ncommonName = supplied\n",
        encoding="ascii")
    for command in (
        ["req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj",
         "/CN=ended.example", "-keyout", names["key"], "-out", names["csr"]],
        ["ca", "-selfsign", "-batch", "-notext", "-config", names["conf"], "-keyfile", names["key"],
         "-in", names["csr"], "-out", names["pem"], "-startdate", "20200101000000Z", "-enddate",
         "20200102000000Z"]):
        subprocess.run(["openssl", *command], check=True, capture_output=True)
    return {"TLS_CERTIFICATE": names["pem"], "TLS_KEY": names["key"]}


def served(stack):
    """The certificate a client is shown, in PEM."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", stack.https_port), 10) as plain, \
            context.wrap_socket(plain) as connection:
        return ssl.DER_cert_to_PEM_cert(connection.getpeercert(binary_form=True))


def pem(path):
    """The certificate of a file, in the form of served()."""
    return ssl.DER_cert_to_PEM_cert(ssl.PEM_cert_to_DER_cert(logs.read(path)))


def again(stack):
    """scripts/up without a certificate; what it printed."""
    for name in ("TLS_CERTIFICATE", "TLS_KEY"):
        stack.environment.pop(name, None)
    done = stack.run("up")
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("days", [400, 29, 6, 1])
def test_one_that_was_given_stays(binaries, database, tmp_path, days):
    given = make_pair(tmp_path, days)
    with Stack(database, binaries, given) as stack:
        assert served(stack) == pem(given["TLS_CERTIFICATE"])
        said = again(stack)
        assert served(stack) == pem(given["TLS_CERTIFICATE"])
        assert ("the certificate that was given earlier ends on" in said) == (days < 30)
        assert "making a self-signed certificate" not in said


def replace(stack, given, ours):
    """Other files in place of the pair, as if made at another time, by us or by somebody else."""
    with open(given["TLS_CERTIFICATE"], "rb") as file:
        certificate = file.read()
    with open(given["TLS_KEY"], "rb") as file:
        key = file.read()
    folder = f"{stack.run_dir}/tls"
    digest = f"{hashlib.sha256(certificate).hexdigest()}  certificate.pem\n".encode()
    texts = {"certificate.pem": certificate, "key.pem": key}
    if ours:
        texts["self-signed.sha256"] = digest
    for name, text in texts.items():
        with open(os.path.join(folder, name), "r+b") as file:  # as the user that owns it
            file.truncate()
            file.write(text)


@pytest.mark.parametrize("days,renewed", [(31, False), (29, True), (1, True)])
def test_our_own_is_renewed_in_its_last_month(make_stack, database, tmp_path, days, renewed):
    stack = make_stack(database)
    assert served(stack) == pem(f"{stack.run_dir}/tls/certificate.pem")
    old = make_pair(tmp_path, days, "localhost")
    replace(stack, old, ours=True)
    said = again(stack)
    assert ("making a self-signed certificate" in said) == renewed
    assert (served(stack) != pem(old["TLS_CERTIFICATE"])) == renewed
    assert served(stack) == pem(f"{stack.run_dir}/tls/certificate.pem")


def test_one_that_was_given_after_ours(make_stack, database, tmp_path):
    """The mark of ours does not make the next one ours."""
    stack = make_stack(database)
    given = make_pair(tmp_path, 6)
    stack.environment.update(given)
    stack.run("up", check=True)
    assert served(stack) == pem(given["TLS_CERTIFICATE"])
    again(stack)
    assert served(stack) == pem(given["TLS_CERTIFICATE"])


def test_one_that_was_given_and_has_ended(make_stack, database, tmp_path):
    stack = make_stack(database)
    given = make_ended(tmp_path)
    replace(stack, given, ours=False)
    assert "making a self-signed certificate" in again(stack)
    assert served(stack) != pem(given["TLS_CERTIFICATE"])
    assert served(stack) == pem(f"{stack.run_dir}/tls/certificate.pem")


def test_without_its_key(make_stack, database):
    stack = make_stack(database)
    os.unlink(f"{stack.run_dir}/tls/key.pem")
    assert "making a self-signed certificate" in again(stack)
    assert stack.run("status").returncode == 0
