"""Requests to the edge as bytes, and what comes back: for what no client would send."""

import contextlib
import os
import re
import socket
import ssl


def connect(stack, tls=True, timeout=15.0):
    """A connection to the edge that speaks HTTP/1.1."""
    plain = socket.create_connection(("127.0.0.1", stack.https_port if tls else stack.http_port),
                                     timeout)
    if not tls:
        return plain
    context = ssl.create_default_context(cafile=f"{stack.run_dir}/tls/certificate.pem")
    context.set_alpn_protocols(["http/1.1"])
    return context.wrap_socket(plain, server_hostname="localhost")


def receive(connection):
    """Everything until the other side closes, resets or says nothing for the time-out."""
    data = b""
    with contextlib.suppress(TimeoutError, ssl.SSLError, ConnectionError):
        while piece := connection.recv(65536):
            data += piece
    return data


def exchange(stack, request, timeout=2.0, **options):
    """Sends bytes and returns everything that comes back."""
    with connect(stack, timeout=timeout, **options) as connection:
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            connection.sendall(request)
        return receive(connection)


def answers(data):
    """[(status, headers, rest)] of the answers in what came back."""
    found = []
    for part in re.split(rb"(?=HTTP/1\.1 \d{3}[ \r])", data):
        if not part:
            continue
        head, _, body = part.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip()
                   for name, _, value in (line.partition(":") for line in lines)}
        found.append((int(first.split()[1]), headers, body))
    return found


def request(method, path, *lines, body=b"", ending=b"\r\n"):
    """A request of exactly these header lines (bytes or text)."""
    lines = [line if isinstance(line, bytes) else line.encode() for line in lines]
    return ending.join([f"{method} {path} HTTP/1.1".encode(), b"Host: localhost", *lines, b"",
                        b""]) + body


def quick(data):
    """The status of the only answer."""
    found = answers(data)
    assert len(found) == 1, data[:2000]
    return found[0][0]


@contextlib.contextmanager
def away(path):
    """A file that is not there for a while."""
    os.rename(path, path + ".away")
    try:
        yield
    finally:
        os.rename(path + ".away", path)
