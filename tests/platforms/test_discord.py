"""Discord through its manifest, against a server in Discord's shapes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from platforms.vendor import Account, Asked, Reply, Vendor, account, running

from platint_tui.core.errors import CredentialError, ErrorClass

TOKEN = "MTE0.GabcdE.0123456789abcdefghijklmnop"
BASE = 1456210108416000000
BUCKET = {"X-RateLimit-Limit": "5", "X-RateLimit-Remaining": "4", "X-RateLimit-Reset-After": "1.000"}


def message(number: int) -> dict[str, Any]:
    at = "2026-01-02T00:00:00.000000+00:00"
    return {"id": str(BASE + number), "channel_id": "41", "type": 0, "content": f"m{number}", "timestamp": at}


def member(number: int) -> dict[str, Any]:
    return {"user": {"id": str(5000 + number), "username": f"u{number}"}, "nick": None, "roles": []}


class Discord(Vendor):
    """Messages newest first by `before`, members by `after`; one channel is closed to the bot."""

    def __init__(self) -> None:
        super().__init__("discord", "/api/v10", guard=self.bot)
        self.messages = {number: message(number) for number in range(1, 251)}
        self.on("GET /users/@me", {"id": "1", "username": "platint", "bot": True})
        self.on("GET /applications/@me", {"id": "1", "name": "Platint"})
        self.on("GET /users/@me/guilds", [{"id": "11", "name": "Acme", "features": [], "permissions": "8"}])
        self.on("GET /guilds/11/channels", [self.channel(40, 4), self.channel(41, 0), self.channel(42, 0)])
        self.on("GET /guilds/11/members", self.members)
        self.on("GET /guilds/11/roles", [{"id": "12", "name": "ops", "permissions": "8"}])
        self.on("GET /channels/41/messages", self.history)
        self.on("GET /channels/42/messages", Reply({"message": "Missing Access", "code": 50001}, 403))
        self.on("POST /channels/41/messages", self.send)
        self.on("DELETE /channels/41/messages/{id}", self.delete)

    @staticmethod
    def channel(number: int, kind: int) -> dict[str, Any]:
        return {"id": str(number), "guild_id": "11", "type": kind, "name": f"c{number}", "position": 0}

    def bot(self, asked: Asked) -> Reply | None:
        assert asked.headers["user-agent"].startswith("DiscordBot (")
        if asked.headers.get("authorization") == f"Bot {TOKEN}":
            return None
        return Reply({"message": "401: Unauthorized", "code": 0}, 401)

    def history(self, asked: Asked) -> Reply:
        before = int(asked.query.get("before", "9" * 20))
        newest = sorted((item for item in self.messages.values() if int(item["id"]) < before), key=self.age)
        return Reply(newest[: int(asked.query["limit"])], headers=BUCKET)

    @staticmethod
    def age(item: dict[str, Any]) -> int:
        return -int(item["id"])

    def members(self, asked: Asked) -> Reply:
        after = int(asked.query.get("after", "0"))
        found = [member(number) for number in range(1, 1203) if 5000 + number > after]
        return Reply(found[: int(asked.query["limit"])], headers=BUCKET)

    def send(self, asked: Asked) -> Reply:
        sent = asked.json
        if len(sent["content"]) > 2000:
            errors = {
                "content": {
                    "_errors": [{"code": "BASE_TYPE_MAX_LENGTH", "message": "Must be 2000 or fewer."}]
                }
            }
            return Reply({"message": "Invalid Form Body", "code": 50035, "errors": errors}, 400)
        number = max(self.messages) + 1
        self.messages[number] = {**message(number), **sent}
        return Reply(self.messages[number], headers=BUCKET)

    def delete(self, asked: Asked, id: str) -> Reply:
        if self.messages.pop(int(id) - BASE, None) is None:
            return Reply({"message": "Unknown Message", "code": 10008}, 404)
        return Reply(None, 204)


@pytest.fixture
async def discord() -> AsyncIterator[Discord]:
    async with running(Discord()) as vendor:
        assert isinstance(vendor, Discord)
        yield vendor


@pytest.fixture
async def bot(discord: Discord) -> AsyncIterator[Account]:
    async with account("discord", {"base_url": discord.url}, {"token": TOKEN}) as opened:
        yield opened


async def test_check_and_discovery(bot: Account) -> None:
    found = await bot.check()
    assert all(item.ok for item in found.values()) and "platint" in found["user"].detail
    assert {"guilds", "channels", "messages", "members", "audit_log"} <= await bot.streams()


async def test_messages_full_then_what_is_new(discord: Discord, bot: Account) -> None:
    """A closed channel and a category are left out; three pages of the open one are read by snowflake."""
    found = await bot.read(stream="messages")
    assert [item["content"] for item in found] == [f"m{number}" for number in range(250, 0, -1)]
    assert not discord.asked("GET /channels/40/messages") and discord.asked("GET /channels/42/messages")
    position = bot.position
    assert await bot.read(position, "messages") == []
    discord.messages[251] = message(251)
    before = len(discord.asked("GET /channels/41/messages"))
    assert [item["content"] for item in await bot.read(position, "messages")] == ["m251"]
    assert len(discord.asked("GET /channels/41/messages")) - before == 1


async def test_members_by_pages_of_a_thousand(discord: Discord, bot: Account) -> None:
    found = await bot.read(stream="members")
    assert len({item["user"]["id"] for item in found}) == len(found) == 1202
    assert {item["guild_id"] for item in found} == {"11"}
    assert [item.query.get("after") for item in discord.asked("GET /guilds/11/members")] == [None, "6000"]


async def test_a_message_is_sent_and_deleted(discord: Discord, bot: Account) -> None:
    long = {"channel_id": "41", "content": "x" * 2001}
    result = await bot.write("messages", "create", {"channel_id": "41", "content": "Deployed"}, long)
    assert result.written == 1 and result.responses[0]["id"] == str(BASE + 251)
    [(_, fault)] = result.faults
    assert fault.error_class is ErrorClass.RECORD and fault.code == "50035"
    gone = [{"channel_id": "41", "id": str(BASE + number)} for number in (251, 999)]
    assert (await bot.write("messages", "delete", *gone)).written == 2 and 251 not in discord.messages


async def test_a_message_to_a_channel_that_is_closed_to_the_bot_is_not_told_as_sent(
    discord: Discord, bot: Account
) -> None:
    discord.on("POST /channels/42/messages", Reply({"message": "Missing Access", "code": 50001}, 403))
    result = await bot.write("messages", "create", {"channel_id": "42", "content": "Deployed"})
    [(_, fault)] = result.faults
    assert (result.written, fault.error_class, fault.code) == (0, ErrorClass.RECORD, "50001")


async def test_a_wrong_token(discord: Discord) -> None:
    async with account("discord", {"base_url": discord.url}, {"token": "wrong.wrong.wrong"}) as wrong:
        assert not (await wrong.check())["user"].ok
        assert isinstance(await wrong.refused("guilds"), CredentialError)


async def test_a_missing_permission_is_named(discord: Discord, bot: Account) -> None:
    discord.on("GET /guilds/11/audit-logs", Reply({"message": "Missing Permissions", "code": 50013}, 403))
    error = await bot.refused("audit_log")
    assert isinstance(error, CredentialError) and error.code == "50013"
    assert "View Audit Log" in f"{error.message} {error.hint}"


async def test_a_bucket_that_is_empty_is_waited_for(discord: Discord, bot: Account) -> None:
    body = {"message": "You are being rate limited.", "retry_after": 1.337, "global": False}
    discord.refuse("/guilds/11/roles", Reply(body, 429, {"Retry-After": "2", "X-RateLimit-Scope": "user"}))
    assert len(await bot.read(stream="roles")) == 1
    assert bot.waited(1.337)


async def test_an_empty_bucket_is_not_asked_again(discord: Discord, bot: Account) -> None:
    """The answer itself says that nothing remains for a while: no 429 is provoked."""
    empty = {**BUCKET, "X-RateLimit-Remaining": "0", "X-RateLimit-Reset-After": "1.500"}
    discord.on("GET /channels/41/messages", lambda asked: Reply(discord.history(asked).body, headers=empty))
    assert len(await bot.read(stream="messages")) == 250
    assert len([slept for slept in bot.clock.slept if 1.0 <= slept <= 3.0]) >= 2
