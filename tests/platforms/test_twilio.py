"""Twilio through its manifest: against `emulate`, and for what that has not against answers in Twilio's shapes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from peers.twilio import ACCOUNT, TwilioEmulator
from platforms.vendor import Account, Asked, Reply, Vendor, account, running

from platint_tui.core.errors import CredentialError, RateLimited

BASE = f"/2010-04-01/Accounts/{ACCOUNT}"
TOKEN = {"auth_token": "0123456789abcdef0123456789abcdef"}


@pytest.fixture(scope="module")
def twilio_emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TwilioEmulator]:
    server = TwilioEmulator(tmp_path_factory.mktemp("twilio"))
    yield server
    server.stop()


@pytest.fixture
async def shop(twilio_emulator: TwilioEmulator) -> AsyncIterator[Account]:
    """By an API key."""
    fields = {"account_sid": ACCOUNT, "api_key_sid": twilio_emulator.key, "endpoint_url": twilio_emulator.url}
    async with account("twilio", fields, {"api_key_secret": twilio_emulator.key_secret}) as opened:
        yield opened


async def test_check_and_discovery(shop: Account) -> None:
    found = await shop.check()
    assert found["account"].ok and "Example Ltd" in found["account"].detail
    assert found["read_messages"].ok and found["read_numbers"].ok
    # The emulator has no monitor: an optional capability that is not there.
    assert not found["read_alerts"].ok and found["read_alerts"].optional
    assert {"messages", "calls", "recordings", "usage_records", "alerts"} <= await shop.streams()


async def test_messages_full_then_what_was_sent_since(twilio_emulator: TwilioEmulator, shop: Account) -> None:
    found = await shop.read(stream="messages")
    assert {f"Number {count}" for count in range(1, 13)} <= {item["body"] for item in found}
    position = shop.position
    assert await shop.read(position, "messages") == []
    position = shop.position
    created = twilio_emulator.message("one more")
    assert [item["sid"] for item in await shop.read(position, "messages")] == [created["sid"]]


async def test_messages_are_sent_redacted_and_deleted(shop: Account) -> None:
    good = {"to": "+15558881111", "from": TwilioEmulator.number, "body": "Your order & more"}
    result = await shop.write("messages", "create", good, {**good, "to": "nobody"})
    assert result.written == 1 and [index for index, _ in result.faults] == [1]
    assert result.faults[0][1].code == "21201"
    sid = result.responses[0]["sid"]
    assert (
        await shop.write("messages", "update", {"sid": sid, "body": "", "status": "canceled"})
    ).written == 1
    found = {item["sid"]: item for item in await shop.read(stream="messages")}
    assert found[sid]["body"] == "" and found[sid]["status"] == "canceled"
    gone = {"sid": "SM00000000000000000000000000000009"}
    assert (await shop.write("messages", "delete", {"sid": sid}, gone)).written == 2
    assert sid not in {item["sid"] for item in await shop.read(stream="messages")}


async def test_a_number_is_bought_changed_and_given_back(shop: Account) -> None:
    row = {"phone_number": "+15553334444", "friendly_name": "Support"}
    sid = (await shop.write("incoming_phone_numbers", "create", row)).responses[0]["sid"]
    changed = {"sid": sid, "friendly_name": "Help", "sms_url": "https://example.com/sms"}
    assert (await shop.write("incoming_phone_numbers", "update", changed)).written == 1
    found = {item["sid"]: item for item in await shop.read(stream="incoming_phone_numbers")}
    assert found[sid]["friendly_name"] == "Help" and found[sid]["sms_url"] == "https://example.com/sms"
    assert (await shop.write("incoming_phone_numbers", "delete", {"sid": sid})).written == 1
    assert sid not in {item["sid"] for item in await shop.read(stream="incoming_phone_numbers")}


async def test_by_the_auth_token_and_with_a_wrong_one(twilio_emulator: TwilioEmulator) -> None:
    fields = {"account_sid": ACCOUNT, "endpoint_url": twilio_emulator.url}
    async with account("twilio", fields, TOKEN) as main:
        assert (await main.check())["account"].ok
    async with account("twilio", fields, {"auth_token": "wrong"}) as wrong:
        assert not (await wrong.check())["account"].ok
        error = await wrong.refused("messages")
        assert isinstance(error, CredentialError) and "revoked" in error.hint


def message(number: int, day: int) -> dict[str, Any]:
    at = f"Thu, {day:02} Oct 2026 10:00:00 +0000"
    return {"sid": f"SM{number:032d}", "body": f"{number}", "date_sent": at, "date_updated": at}


class Twilio(Vendor):
    """Messages in pages of two by next_page_uri, held against Twilio's description."""

    def __init__(self) -> None:
        super().__init__(platform="twilio", undescribed=("/v2/token",))
        self.messages = [message(number, number) for number in range(7, 0, -1)]
        self.on(f"GET {BASE}/Messages.json", self.pages)

    def pages(self, asked: Asked) -> Any:
        since = asked.query.get("DateSent>", "2000-01-01")[:10]
        rows = [item for item in self.messages if f"2026-10-{int(item['date_sent'][5:7]):02}" >= since]
        start = int(asked.query.get("Page", "0")) * 2
        following = f"{BASE}/Messages.json?PageSize=1000&Page={start // 2 + 1}&PageToken=PA{start}"
        if since > "2000-01-01":
            following += f"&DateSent%3E={since}"
        return {
            "messages": rows[start : start + 2],
            "next_page_uri": following if rows[start + 2 :] else None,
        }


@pytest.fixture
async def twilio() -> AsyncIterator[Twilio]:
    async with running(Twilio()) as vendor:
        assert isinstance(vendor, Twilio)
        yield vendor


async def test_the_filter_takes_days_and_older_messages_are_left_out(twilio: Twilio) -> None:
    async with account("twilio", {"account_sid": ACCOUNT, "endpoint_url": twilio.url}, TOKEN) as shop:
        assert [item["body"] for item in await shop.read(stream="messages")] == [
            "7",
            "6",
            "5",
            "4",
            "3",
            "2",
            "1",
        ]
        position = shop.position
        twilio.messages.insert(0, message(8, 7))
        before = len(twilio.seen)
        assert [item["body"] for item in await shop.read(position, "messages")] == ["8"]
        assert twilio.seen[before].query["DateSent>"] == "2026-10-07T00:00:00Z"


async def test_too_many_requests_at_once(twilio: Twilio) -> None:
    body = {
        "code": 20429,
        "message": "Too Many Requests",
        "more_info": "https://www.twilio.com/docs/errors/20429",
    }
    async with account("twilio", {"account_sid": ACCOUNT, "endpoint_url": twilio.url}, TOKEN) as shop:
        twilio.refuse(f"{BASE}/Messages.json", Reply({**body, "status": 429}, 429))
        assert len(await shop.read(stream="messages")) == 7 and shop.waited(5.0)
        twilio.refuse(f"{BASE}/Messages.json", Reply({**body, "status": 429}, 429, {"Retry-After": "900"}))
        assert isinstance(await shop.refused("messages"), RateLimited)


async def test_a_key_without_the_permission(twilio: Twilio) -> None:
    body = {
        "code": 70051,
        "message": "Authorization Error",
        "more_info": "https://www.twilio.com/docs/errors/70051",
    }
    async with account("twilio", {"account_sid": ACCOUNT, "endpoint_url": twilio.url}, TOKEN) as shop:
        twilio.refuse(f"{BASE}/Messages.json", Reply({**body, "status": 403}, 403))
        error = await shop.refused("messages")
        assert isinstance(error, CredentialError) and "70051" in f"{error.message} {error.code}"


async def test_an_oauth_app(twilio: Twilio) -> None:
    twilio.on("POST /v2/token", {"access_token": "first", "token_type": "bearer", "expires_in": 3600})
    fields = {"account_sid": ACCOUNT, "client_id": "OQ1", "endpoint_url": twilio.url}
    async with account("twilio", fields, {"client_secret": "s3cret"}) as shop:
        assert len(await shop.read(stream="messages")) == 7
    (token,) = twilio.asked("POST /v2/token")
    assert token.form == {"grant_type": "client_credentials", "client_id": "OQ1", "client_secret": "s3cret"}
    assert {item.headers["authorization"] for item in twilio.asked(f"GET {BASE}/Messages.json")} == {
        "Bearer first"
    }
