"""/api/ledger and devices that were linked: what came before is told again, what comes after
happens in the account."""

import time

import pytest

from tests.support import openapi
from tests.support.service import agree, item
from tests.support.session_tokens import Issuer
from tests.support.stack import Stack


@pytest.fixture(scope="module")
def issuer(tmp_path_factory):
    """Who signs the Clerk tokens of this module."""
    return Issuer(tmp_path_factory.mktemp("issuer"))


@pytest.fixture(scope="module")
def stack(cluster, template, binaries, issuer):
    """An instance that knows the issuer."""
    url = cluster.create_database(template)
    with Stack(url, binaries, {"CLERK_JWT_KEY": issuer.public}) as made:
        made.database_url = url
        yield made
    cluster.drop(url)


def sign_in(stack, issuer, name):
    """(client, user id) of a Clerk account."""
    client = stack.client(anonymous=True)
    headers = {"Authorization": f"Bearer {issuer.token(name)}"}
    send = client.request
    client.request = lambda method, path, **options: send(
        method, path, **{**options, "headers": {**headers, **(options.get("headers") or {})}})
    return client, client.get("/api/user").data["user"]["id"]


def link(account, device):
    """Moves a device's account into a Clerk account."""
    answer = account.post("/api/user/link", headers={"X-Device-Id": device.device})
    openapi.check_response("POST", "/api/user/link", answer.status, answer.headers, answer.body)
    assert answer.data == {"linked": True}


def test_a_linked_device_is_followed(service, stack, issuer):
    device = stack.client()
    device_user = device.get("/api/user").data["user"]["id"]
    hold = service.hold(device_user, 3, key="hold").data
    small = service.hold(device_user, 1, key="small").data
    early = service.post(f"holds/{small['holdId']}/capture", key="early")
    spent = service.spend(device_user, 1, key="before")
    undone = service.post(f"transactions/{early.data['transactionId']}/reverse", key="undo")
    account, user = sign_in(stack, issuer, f"user_linked_{time.time_ns()}")
    link(account, device)
    assert account.get("/api/tokens").data["balance"] == 6, "10 + 5 - 5 (bonus) - 1 - 3 held"

    # What came before is told again, to the letter.
    assert service.hold(device_user, 3, key="hold").data == hold
    assert service.spend(device_user, 1, key="before").body == spent.body
    again = service.post(f"holds/{small['holdId']}/capture", key="early")
    assert (again.status, again.body) == (200, early.body)
    again = service.post(f"transactions/{early.data['transactionId']}/reverse", key="undo")
    assert (again.status, again.body) == (201, undone.body)
    answer = service.post(f"transactions/{early.data['transactionId']}/reverse", key="other")
    assert (answer.status, answer.code) == (409, "already_reversed")
    assert account.get("/api/tokens").data["balance"] == 6

    # What comes after happens in the account.
    assert service.spend(device_user, 1).data["balance"] == 5
    assert account.get("/api/tokens").data["balance"] == 5
    assert device.get("/api/tokens").data["balance"] == 5, "the device leads to the account"
    captured = service.post(f"holds/{hold['holdId']}/capture", {"amount": 2}, key="late")
    assert captured.data["balance"] == 6
    again = service.post(f"holds/{hold['holdId']}/capture", {"amount": 2}, key="late")
    assert again.body == captured.body and again.headers["Idempotency-Replayed"] == "true"
    assert service.post(f"holds/{hold['holdId']}/release").code == "hold_not_pending"
    for entry, balance in ((captured, 8), (spent, 9)):
        answer = service.post(f"transactions/{entry.data['transactionId']}/reverse", key="r")
        assert answer.data["balance"] == balance
        again = service.post(f"transactions/{entry.data['transactionId']}/reverse", key="r")
        assert again.body == answer.body
    for ident in (device_user, user):
        assert service.get(f"users/{ident}").data["balance"] == 9
    results = service.post("batch", {"operations": [
        item("a", device_user, 2), item("b", user, 2), item("c", device_user, 99)]}).data["results"]
    assert [(r["status"], r["balance"]) for r in results] == [(201, 7), (201, 5), (402, 5)] or [
        (r["status"], r["balance"]) for r in results] == [(201, 5), (201, 7), (402, 5)]
    # Holds moved with the account; what was captured before the link stays where it happened.
    for ident in (device_user, user):
        moved = {found["amount"]: found for found in
                 service.get(f"users/{ident}/holds?status=captured").data["holds"]}
        assert moved[3]["userId"] == moved[1]["userId"] == user
        assert (moved[3]["captured"], moved[3]["transactionId"]) == (
            2, captured.data["transactionId"])
        assert (moved[1]["captured"], moved[1]["transactionId"]) == (
            1, early.data["transactionId"])
    assert service.get("holds/" + hold["holdId"]).data["hold"] == moved[3]
    held = service.hold(device_user, 5).data
    assert held["balance"] == 0
    assert service.post(f"holds/{held['holdId']}/release").data["balance"] == 5
    agree(service)
