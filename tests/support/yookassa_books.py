"""What a payment provider keeps: payments, refunds, saved methods, and the rules of its API
(yookassa.ru/developers/api). No network here; tests/support/yookassa.py serves it.

    books = Books("123456")
    payment, is_new = books.create_payment("key", b'{"amount":...}')
    books.pay(payment["id"])            # the person's side
"""

import base64
import bisect
import copy
import datetime
import json
import re
import secrets
import threading
import uuid

KEY_BYTES_MAX = 64
DESCRIPTION_MAX, URL_MAX = 128, 2048
METADATA_MAX, METADATA_NAME_MAX, METADATA_VALUE_MAX = 16, 32, 512
REFUSALS = ("insufficient_funds", "card_expired", "permission_revoked", "general_decline")


class Refusal(Exception):
    """An error object and its HTTP status."""

    def __init__(self, status, code, description, parameter=None, **more):
        super().__init__(f"{status} {code} {parameter or ''}: {description}")
        self.status = status
        self.object = {"type": "error", "id": str(uuid.uuid4()), "code": code,
                       "description": description, **more}
        if parameter:
            self.object["parameter"] = parameter


def invalid(parameter, description="Wrong value"):
    """The refusal of a value."""
    return Refusal(400, "invalid_request", description, parameter)


def not_found(what):
    """The refusal of an id."""
    return Refusal(404, "not_found", f"{what} doesn't exist or access denied")


def now():
    """The time as the API writes it."""
    text = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def to_minor(text):
    """"99.50" -> 9950; never by way of a floating-point number."""
    whole, _, places = text.partition(".")
    return int(whole) * 100 + int((places + "00")[:2])


def to_text(minor):
    """9950 -> "99.50"."""
    return f"{minor // 100}.{minor % 100:02}"


def _amount(holder, parameter="amount"):
    amount = holder.get("amount")
    if not isinstance(amount, dict):
        raise invalid(parameter, "Amount is missing")
    value, currency = amount.get("value"), amount.get("currency")
    if not isinstance(value, str) or not re.fullmatch(r"(0|[1-9]\d{0,9})\.\d\d", value, re.ASCII):
        raise invalid(f"{parameter}.value")
    if to_minor(value) == 0:
        raise invalid(f"{parameter}.value", "Amount must be positive")
    if currency != "RUB":
        raise invalid(f"{parameter}.currency")
    return to_minor(value)


def _metadata(order):
    metadata = order.get("metadata", {})
    if not isinstance(metadata, dict) or len(metadata) > METADATA_MAX:
        raise invalid("metadata")
    for name, value in metadata.items():
        if (len(name) > METADATA_NAME_MAX or not isinstance(value, str)
                or len(value) > METADATA_VALUE_MAX):
            raise invalid(f"metadata.{name}")
    return metadata


def _description(order):
    description = order.get("description")
    if description is not None and not (
            isinstance(description, str) and 0 < len(description) <= DESCRIPTION_MAX):
        raise invalid("description")
    return description


def _receipt(order, minor, required):
    receipt = order.get("receipt")
    if receipt is None:
        if required:
            raise invalid("receipt", "Receipt is missing or illegal")
        return
    customer = receipt.get("customer") or {}
    if not re.fullmatch(r"[^@\s]+@[^@\s]+", customer.get("email", "")):
        raise invalid("receipt.customer.email")
    total = 0
    for number, item in enumerate(receipt.get("items") or []):
        where = f"receipt.items[{number}]"
        if not 1 <= len(item.get("description", "")) <= DESCRIPTION_MAX:
            raise invalid(f"{where}.description")
        if item.get("quantity") != 1:
            raise invalid(f"{where}.quantity")
        if item.get("vat_code") not in range(1, 13):
            raise invalid(f"{where}.vat_code")
        total += _amount(item, f"{where}.amount")
    if total != minor:
        raise invalid("receipt.items", "The sum differs from the amount")


def _object(body):
    try:
        order = json.loads(body)
    except ValueError:
        order = None
    if not isinstance(order, dict):
        raise invalid(None, "Expected a JSON object")
    return order


class Books:
    """See the head of the file. Thread-safe; what it returns are copies."""

    def __init__(self, shop_id, receipts_required=False):
        self.shop_id, self.receipts_required = shop_id, receipts_required
        self.saving_allowed = True  # whether payment methods may be saved
        self.lock = threading.RLock()
        self.payments, self.refunds = {}, {}
        self.order = {"payments": [], "refunds": []}  # (created_at, id), ascending
        self.answers = {}  # idempotence key -> (request, answer)
        self.methods = {}  # saved method -> None, or the reason it is refused for
        self.save_wanted = set()  # payments whose method is to be saved
        self.damage = {}  # payment -> how it differs from what was ordered
        self.on_event = lambda event, thing: None  # called with the lock held

    # --- idempotence ---

    def once(self, key, request, make):
        """make()'s answer, or the first one for the same key and request. Returns (answer, whether
        it is the first)."""
        if not key or len(key) > KEY_BYTES_MAX:
            raise invalid("Idempotence-Key", "Idempotence key is missing or too long")
        with self.lock:
            if key in self.answers:
                first, answer = self.answers[key]
                if first != request:
                    raise invalid("Idempotence-Key", "Idempotence key duplicated")
                return copy.deepcopy(answer), False
            answer = copy.deepcopy(make())
            self.answers[key] = (request, answer)
            return copy.deepcopy(answer), True

    def forget_keys(self):
        """As after 24 hours."""
        with self.lock:
            self.answers.clear()

    # --- payments ---

    def create_payment(self, key, body, confirmation="https://example.org/{}", damage=()):
        """POST /payments. damage: of other_amount, other_currency, test_flag."""
        def make():
            order = _object(body)
            minor = _amount(order)
            _receipt(order, minor, self.receipts_required)
            payment = self._new_payment(order, minor, confirmation)
            self._damage(payment, damage)
            self._keep("payments", payment)
            if "payment_method_id" in order:
                self._charge(payment["id"], order["payment_method_id"])
            return self.payments[payment["id"]]
        return self.once(key, ("payments", body), make)

    def _new_payment(self, order, minor, confirmation):
        payment = {
            "id": str(uuid.uuid4()), "status": "pending",
            "amount": {"value": to_text(minor), "currency": "RUB"},
            "recipient": {"account_id": self.shop_id, "gateway_id": "100700"},
            "created_at": now(), "paid": False, "refundable": False, "test": False,
            "metadata": _metadata(order),
        }
        if description := _description(order):
            payment["description"] = description
        if order.get("capture") not in (True, False):
            raise invalid("capture")
        method = order.get("payment_method_id")
        if method is not None:
            if method not in self.methods:
                raise invalid("payment_method_id", "Payment method is not available")
            return payment
        wanted = order.get("confirmation")
        if not isinstance(wanted, dict) or wanted.get("type") != "redirect":
            raise invalid("confirmation.type")
        back = wanted.get("return_url")
        if not isinstance(back, str) or not re.match("https?://", back) or len(back) > URL_MAX:
            raise invalid("confirmation.return_url")
        payment["confirmation"] = {
            "type": "redirect", "confirmation_url": confirmation.format(payment["id"])}
        if order.get("save_payment_method"):
            if not self.saving_allowed:
                raise Refusal(403, "forbidden", "This store can't make recurring payments."
                                                " Contact the YooMoney manager to learn more")
            self.save_wanted.add(payment["id"])
        return payment

    def _damage(self, payment, damage):
        amount = payment["amount"]
        if "other_amount" in damage:
            minor = to_minor(amount["value"])
            amount["value"] = to_text(secrets.choice((1, minor - 1, minor + 1, 10 * minor)))
        if "other_currency" in damage:
            amount["currency"] = secrets.choice(("USD", "KZT", "EUR"))
        if "test_flag" in damage:
            payment["test"] = True
        if damage:
            self.damage[payment["id"]] = sorted(damage)

    def _keep(self, kind, thing):
        getattr(self, kind)[thing["id"]] = thing
        bisect.insort(self.order[kind], (thing["created_at"], thing["id"]))

    def _charge(self, payment_id, method):
        """A payment by a saved method is final at once."""
        reason = self.methods[method]
        self.payments[payment_id]["payment_method"] = {
            "type": "bank_card", "id": method, "saved": True}
        if reason:
            self.cancel(payment_id, "payment_network", reason)
        else:
            self._succeed(self.payments[payment_id])

    def _find(self, payment_id, *statuses):
        payment = self.payments.get(payment_id)
        if payment is None:
            raise not_found("Payment")
        if statuses and payment["status"] not in statuses:
            raise Refusal(400, "invalid_request", f"Payment is {payment['status']}", "payment_id")
        return payment

    def _succeed(self, payment):
        payment.update(status="succeeded", paid=True, refundable=True, captured_at=now())
        payment.pop("confirmation", None)
        self.on_event("payment.succeeded", copy.deepcopy(payment))

    def pay(self, payment_id, hold=False):
        """The person pays. hold: the money is only reserved (waiting_for_capture)."""
        with self.lock:
            payment = self._find(payment_id, "pending")
            wanted = payment_id in self.save_wanted
            payment["payment_method"] = {"type": "bank_card", "id": payment_id, "saved": wanted}
            if wanted:
                self.methods[payment_id] = None
            if hold:
                payment.update(status="waiting_for_capture", paid=True)
                payment.pop("confirmation", None)
                self.on_event("payment.waiting_for_capture", copy.deepcopy(payment))
            else:
                self._succeed(payment)
            return copy.deepcopy(payment)

    def capture(self, payment_id):
        """POST /payments/{id}/capture."""
        with self.lock:
            payment = self._find(payment_id, "waiting_for_capture")
            self._succeed(payment)
            return payment

    def cancel(self, payment_id, party="merchant", reason="canceled_by_merchant"):
        """By the person, the bank or the shop (POST /payments/{id}/cancel)."""
        with self.lock:
            payment = self._find(payment_id, "pending", "waiting_for_capture")
            payment.update(status="canceled", paid=False,
                           cancellation_details={"party": party, "reason": reason})
            payment.pop("confirmation", None)
            self.on_event("payment.canceled", copy.deepcopy(payment))
            return payment

    def decline(self, payment_id, reason="general_decline"):
        """The bank says no."""
        with self.lock:
            return copy.deepcopy(self.cancel(payment_id, "payment_network", reason))

    # --- refunds ---

    def create_refund(self, key, body, status="succeeded"):
        """POST /refunds. status: pending and canceled ones exist as well."""
        def make():
            order = _object(body)
            payment = self.payments.get(order.get("payment_id"))
            if payment is None:
                raise invalid("payment_id", "Payment doesn't exist")
            if payment["status"] != "succeeded":
                raise invalid("payment_id", "Payment is not refundable")
            minor = _amount(order)
            if minor > to_minor(payment["amount"]["value"]) - self._refunded(payment["id"]):
                raise invalid("amount.value", "More than is left of the payment")
            _receipt(order, minor, self.receipts_required)
            refund = {
                "id": str(uuid.uuid4()), "payment_id": payment["id"], "status": status,
                "amount": {"value": to_text(minor), "currency": order["amount"]["currency"]},
                "created_at": now(), "metadata": _metadata(order),
            }
            if status == "canceled":
                refund["cancellation_details"] = {"party": "yoo_money",
                                                  "reason": "insufficient_funds"}
            self._keep("refunds", refund)
            self._after_refund(refund)
            return refund
        return self.once(key, ("refunds", body), make)

    def _refunded(self, payment_id, statuses=("succeeded", "pending")):
        return sum(to_minor(refund["amount"]["value"]) for refund in self.refunds.values()
                   if refund["payment_id"] == payment_id and refund["status"] in statuses)

    def _after_refund(self, refund):
        if refund["status"] != "succeeded":
            return
        payment = self.payments[refund["payment_id"]]
        minor = self._refunded(payment["id"], ("succeeded",))
        payment["refunded_amount"] = {"value": to_text(minor),
                                      "currency": payment["amount"]["currency"]}
        payment["refundable"] = minor < to_minor(payment["amount"]["value"])
        self.on_event("refund.succeeded", copy.deepcopy(refund))

    def settle_refund(self, refund_id, status="succeeded"):
        """Ends a pending refund."""
        with self.lock:
            refund = self.refunds[refund_id]
            assert refund["status"] == "pending"
            refund["status"] = status
            self._after_refund(refund)
            return copy.deepcopy(refund)

    # --- reading ---

    def get(self, kind, thing_id):
        """GET /payments/{id} or /refunds/{id}."""
        with self.lock:
            if thing_id not in getattr(self, kind):
                raise not_found(kind[:-1].capitalize())
            return copy.deepcopy(getattr(self, kind)[thing_id])

    def snapshot(self):
        """Everything, as it is at one moment."""
        with self.lock:
            return json.loads(json.dumps({
                "payments": self.payments, "refunds": self.refunds, "damage": self.damage}))

    def list(self, kind, query):
        """GET /payments or /refunds: the newest first, by pages."""
        limit, since, cursor = query.pop("limit", "10"), query.pop("created_at.gte", ""), \
            query.pop("cursor", None)
        if query:
            raise invalid(sorted(query)[0], "Not served here")
        if not re.fullmatch(r"\d{1,3}", limit) or not 1 <= int(limit) <= 100:
            raise invalid("limit")
        with self.lock:
            order = self.order[kind]
            end = len(order)
            if cursor is not None:
                try:
                    end = bisect.bisect_left(order, tuple(
                        json.loads(base64.b64decode(cursor, validate=True))))
                except (ValueError, TypeError) as problem:
                    raise invalid("cursor") from problem
            start = bisect.bisect_left(order, (since, ""))
            chosen = order[max(start, end - int(limit)):end][::-1]
            answer = {"type": "list",
                      "items": [copy.deepcopy(getattr(self, kind)[item]) for _, item in chosen]}
            if chosen and end - len(chosen) > start:
                answer["next_cursor"] = base64.b64encode(
                    json.dumps(chosen[-1]).encode()).decode()
            return answer
