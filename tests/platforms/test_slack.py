"""Slack through its manifest: against `emulate` with its scopes enforced, and refusals in Slack's shapes."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from peers.emulate import SlackEmulator
from platforms.vendor import Account, Reply, Vendor, account, running

from platint_tui.core.errors import CredentialError, ErrorClass, RateLimited, TransientError


@pytest.fixture
async def bot(slack_emulator: SlackEmulator) -> AsyncIterator[Account]:
    fields = {"base_url": f"{slack_emulator.url}/api"}
    async with account("slack", fields, {"token": slack_emulator.token}) as opened:
        yield opened


async def test_check_and_discovery(bot: Account) -> None:
    found = await bot.check()
    assert all(item.ok for item in found.values()) and "Acme" in found["auth"].detail
    assert {"users", "channels", "messages", "replies", "files"} <= await bot.streams()


async def test_messages_full_then_what_is_new(slack_emulator: SlackEmulator, bot: Account) -> None:
    found = await bot.read(stream="messages")
    texts = [item["text"] for item in found if item["text"].startswith("message ")]
    assert texts == [f"message {number}" for number in range(230, 0, -1)]
    assert len(bot.pages) >= 3 and {item["channel"] for item in found} == {slack_emulator.channel}
    position = bot.position
    assert await bot.read(position, "messages") == []
    slack_emulator.post("one more")
    assert [item["text"] for item in await bot.read(position, "messages")] == ["one more"]


async def test_users_members_and_replies(slack_emulator: SlackEmulator, bot: Account) -> None:
    assert {"ada", "bo"} <= {item["name"] for item in await bot.read(stream="users")}
    members = await bot.read(stream="members")
    assert len(members) >= 2 and {item["channel"] for item in members} == {slack_emulator.channel}
    thread = slack_emulator.post("a question")
    slack_emulator.post("an answer", thread_ts=thread)
    assert [item["text"] for item in await bot.read(stream="replies")] == ["a question", "an answer"]


async def test_a_message_is_posted_changed_and_deleted(slack_emulator: SlackEmulator, bot: Account) -> None:
    row = {"channel": slack_emulator.channel, "text": "Deployed"}
    result = await bot.write("messages", "create", row, {"channel": "C0NOWHERE", "text": "lost"})
    assert result.written == 1
    [(index, fault)] = result.faults
    assert index == 1 and fault.error_class is ErrorClass.RECORD and fault.code == "channel_not_found"
    ts = result.responses[0]["ts"]
    assert (await bot.write("messages", "update", {**row, "ts": ts, "text": "Deployed 1.4"})).written == 1
    assert (await bot.read(stream="messages"))[0]["text"] == "Deployed 1.4"
    assert (await bot.write("messages", "delete", {**row, "ts": ts})).written == 1
    assert ts not in {item["ts"] for item in await bot.read(stream="messages")}


async def test_a_channel_is_made_and_archived(bot: Account) -> None:
    made = await bot.write("channels", "create", {"name": "incidents"})
    channel = made.responses[0]["id"]
    assert (await bot.write("channels", "delete", {"id": channel})).written == 1
    by_name = {item["name"]: item for item in await bot.read(stream="channels")}
    assert by_name["incidents"]["is_archived"]


async def test_a_missing_scope_is_named(slack_emulator: SlackEmulator) -> None:
    fields = {"base_url": f"{slack_emulator.url}/api"}
    async with account("slack", fields, {"token": slack_emulator.narrow}) as narrow:
        found = await narrow.check()
        assert found["channels"].ok and not found["users"].ok and "users:read" in found["users"].detail
        error = await narrow.refused("users")
        assert isinstance(error, CredentialError) and error.code == "missing_scope"
        assert "Needs the scope users:read" in error.message and "install" in error.hint
        # The other streams go on.
        assert await narrow.read(stream="channels")


@pytest.fixture
async def slack() -> AsyncIterator[Vendor]:
    async with running(Vendor("slack", "/api")) as vendor:
        vendor.on("POST /users.list", {"ok": True, "members": [{"id": "U01", "updated": 1}]})
        yield vendor


@pytest.fixture
async def someone(slack: Vendor) -> AsyncIterator[Account]:
    async with account("slack", {"base_url": slack.url}, {"token": "xoxb-0123456789"}) as opened:
        yield opened


async def test_a_wrong_token(slack: Vendor, someone: Account) -> None:
    """`emulate` takes any token; Slack says no with status 200."""
    slack.refuse("/auth.test", Reply({"ok": False, "error": "invalid_auth"}))
    assert not (await someone.check())["auth"].ok
    slack.refuse("/users.list", Reply({"ok": False, "error": "invalid_auth"}))
    error = await someone.refused("users")
    assert isinstance(error, CredentialError) and error.code == "invalid_auth"


async def test_limits(slack: Vendor, someone: Account) -> None:
    """A method of the second tier takes 20 calls a minute, whatever the others take."""
    limited = Reply({"ok": False, "error": "ratelimited"}, 429, {"Retry-After": "5"})
    slack.refuse("/users.list", limited)
    assert len(await someone.read(stream="users")) == 1
    assert someone.waited(5.0) and ("users_list", 5.0) in someone.limits.blocked
    assert {item[:3] for item in someone.limits.acquired} == {("users_list", 20, 60.0)}
    slack.refuse("/users.list", Reply({"ok": False, "error": "ratelimited"}, 429, {"Retry-After": "120"}))
    assert isinstance(await someone.refused("users"), RateLimited)


async def test_a_fault_of_slack_is_tried_again(slack: Vendor, someone: Account) -> None:
    slack.refuse("/users.list", Reply({"ok": False, "error": "internal_error"}), times=2)
    assert len(await someone.read(stream="users")) == 1
    slack.refuse("/users.list", Reply({"ok": False, "error": "internal_error"}), times=9)
    assert isinstance(await someone.refused("users"), TransientError)


async def test_an_error_that_nobody_knows_is_none_of_the_records(slack: Vendor, someone: Account) -> None:
    slack.refuse("/users.list", Reply({"ok": False, "error": "brand_new_error"}))
    error = await someone.refused("users")
    assert error.code == "brand_new_error" and error.error_class is ErrorClass.SYSTEMIC
