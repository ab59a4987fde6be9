"""Feeds as records, subscribing and resuming, acknowledgements, silence, close codes, and a real server."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from drivers.websocket.conftest import (
    FOLLOW,
    SCAN,
    TOKEN,
    SocketServer,
    reading,
    scan,
    values,
    ws_driver,
)
from peers.nchan import NchanServer
from websockets.asyncio.server import ServerConnection

from platint_tui.core.errors import (
    ConfigError,
    CredentialError,
    PlatintError,
    RateLimited,
    TransientError,
)
from platint_tui.core.jsontext import loads
from platint_tui.core.model import ReadOptions
from platint_tui.drivers.websocket import connection as connections
from platint_tui.manifest.loader import load_text

PING = {"path": "type", "equals": "ping"}


async def test_messages_are_records(sockets: SocketServer) -> None:
    sockets.says(
        '{"n": 1, "total": 12.50}', b'{"n": 2}', '"text"', '{"a": 1, "a": 2}', "no json", b"\xff\x00"
    )
    driver = ws_driver(sockets.url, fields={"subscribe": '{"op": "subscribe"}'})
    pages = await scan(driver)
    one, two, text = values(pages)
    assert one == {
        "id": one["id"],
        "body": {"n": 1, "total": 12.5},
        "headers": {},
        "key": None,
        "stream": "messages",
        "timestamp": None,
    }
    assert (two["body"], text["body"]) == ({"n": 2}, "text") and len({one["id"], two["id"], text["id"]}) == 3
    twice, none, binary = [bad for page in pages for bad in page.bad]
    assert "occurs twice" in twice.reason and "no UTF-8" in binary.reason and none.reason
    assert loads(binary.raw)["body"] == "/wA="
    assert sockets.got == ['{"op": "subscribe"}']
    await driver.close()


@pytest.mark.parametrize(
    ("form", "wanted"), [("text", {"body": '{"n": 1}'}), ("base64", {"body": "eyJuIjogMX0="})]
)
async def test_other_forms(sockets: SocketServer, form: str, wanted: dict[str, Any]) -> None:
    sockets.says('{"n": 1}')
    driver = ws_driver(sockets.url, form=form)
    (found,) = values(await scan(driver))
    assert found["body"] == wanted["body"] and found.get("encoding") == (
        "base64" if form == "base64" else None
    )
    await driver.close()


async def test_the_time_away_is_a_gap_where_a_feed_cannot_resume(sockets: SocketServer) -> None:
    sockets.says('{"n": 1}')
    driver = ws_driver(sockets.url)
    first = await scan(driver)
    assert [gap for page in first for gap in page.gaps] == []
    again = await scan(driver, first[-1].position)
    (gap,) = [gap for page in again for gap in page.gaps]
    assert gap.start == first[-1].position["at"] and gap.end > gap.start
    assert gap.reason == f"not resumable: what was sent between {gap.start} and {gap.end} is not here."
    await driver.close()


@pytest.mark.parametrize(
    "resume", [{"param": "after"}, {"message": {"op": "resume", "after": "${cursor.start}"}}]
)
async def test_a_feed_goes_on_after_the_last_id(sockets: SocketServer, resume: dict[str, Any]) -> None:
    sockets.says('{"type": "ping"}', '{"seq": 41, "at": "2024-05-01T12:00:00Z"}')
    driver = ws_driver(
        f"{sockets.url}/feed",
        id="seq",
        happened="at",
        ignore=[PING],
        resume=resume,
        path="/v2",
        query={"q": "a b"},
        subscribe=[{"op": "subscribe", "to": "${profile.subscribe}"}],
    )
    first = await scan(driver)
    assert [item["id"] for item in values(first)] == ["41"] and first[-1].position["id"] == "41"
    assert [moment for page in first for moment in page.happened] == [1714564800000]
    again = await scan(driver, first[-1].position)
    assert [gap for page in again for gap in page.gaps] == []
    await asyncio.sleep(0.02)
    subscribed = '{"op":"subscribe"}'
    if "param" in resume:
        assert [item.path for item in sockets.asked] == ["/feed/v2?q=a%20b", "/feed/v2?q=a%20b&after=41"]
        assert sockets.got == [subscribed, subscribed]
    else:
        assert sockets.got == [subscribed, subscribed, '{"op":"resume","after":"41"}']
    await driver.close()


async def test_records_in_messages(sockets: SocketServer) -> None:
    sockets.says('{"data": [{"k": 1}, {"k": 2}, 3]}', '{"data": {"k": 4}}', '{"status": "ok"}')
    driver = ws_driver(sockets.url, records="data", id="k")
    pages = await scan(driver)
    assert values(pages) == [{"k": 1}, {"k": 2}, {"k": 4}] and pages[-1].position["id"] == "4"
    assert [bad.reason for page in pages for bad in page.bad] == ["it is no object"]
    await driver.close()


async def test_messages_are_acknowledged_when_they_are_stored(sockets: SocketServer) -> None:
    messages = [f'{{"envelope_id": "e{number}"}}' for number in range(5)]
    sockets.says(*messages)
    driver = ws_driver(sockets.url, id="envelope_id", acknowledge={"ack": "${record.envelope_id}"})
    async with reading(driver) as pages:
        found = [page async for page in pages]
    await asyncio.sleep(0.05)
    assert len(values(found)) == 5 and sockets.got == []
    await driver.acknowledge("messages", found[-1].position)
    await asyncio.sleep(0.05)
    assert [loads(item)["ack"] for item in sockets.got] == [f"e{number}" for number in range(5)]
    # The platform keeps what is not acknowledged, so the time away is no gap; another connection knows nothing of it.
    again = await scan(driver, found[-1].position)
    assert [gap for page in again for gap in page.gaps] == []
    with pytest.raises(TransientError, match="is gone"):
        await driver.acknowledge("messages", {**found[-1].position, "tag": 6})
    await driver.close()


async def test_pings_of_the_platform_are_answered_and_errors_told(sockets: SocketServer) -> None:
    sockets.says('{"type": "ping", "n": 7}', '{"n": 1}')
    rules = (
        '{"when": {"body": {"path": "type", "equals": "error"}}, "class": "config", "action": "fail_stream"}'
    )
    text = json.dumps(json.loads(_manifest(rules)))
    errors = load_text(text).errors
    replies = [{"when": PING, "send": {"type": "pong", "n": "${record.n}"}}]
    driver = ws_driver(sockets.url, replies=replies, changes={"errors": errors})
    assert [item["body"] for item in values(await scan(driver))] == [{"n": 1}]
    assert [loads(item) for item in sockets.got] == [{"type": "pong", "n": 7}]
    sockets.scripts.clear()
    sockets.says('{"type": "error", "message": "no such channel"}')
    with pytest.raises(ConfigError, match="no such channel"):
        await scan(driver)
    await driver.close()


def _manifest(rule: str) -> str:
    return json.dumps(
        {
            "manifest": 1,
            "platform": "feed",
            "name": "Feed",
            "version": "1.0.0",
            "category": "other",
            "docs": "https://example.org",
            "driver": "websocket",
            "profile": {"fields": [{"id": "url", "type": "url", "required": True}]},
            "auth": {"type": "none"},
            "transport": {"base_url": "${profile.url}"},
            "errors": {"rules": [json.loads(rule)]},
            "check": [{"id": "connect", "open": True}],
            "discover": {"type": "static"},
            "resources": {
                "live": {
                    "key": ["id"],
                    "source": {
                        "modes": ["consume"],
                        "socket": {
                            "acknowledge": {"ack": "${record.id}"},
                            "resume": {"message": "${cursor.start}"},
                        },
                    },
                }
            },
            "tests": [
                {
                    "name": "x",
                    "kind": "error",
                    "code": "4401",
                    "expect": {"class": "auth", "action": "fail_run"},
                }
            ],
        }
    )


async def test_followed_it_shows_signs_of_life_and_tells_silence(sockets: SocketServer) -> None:
    sockets.says('{"n": 1}')
    driver = ws_driver(sockets.url, source={"idle": 0.05}, heartbeat="50ms", stale_after="300ms")
    assert driver.follows("messages", FOLLOW) and not driver.follows("messages", SCAN)
    async with reading(driver, options=FOLLOW) as pages:
        seen = [await anext(pages) for _ in range(5)]
    assert len(values(seen)) == 1 and not any(page.last for page in seen)
    assert seen[-1].position == seen[-2].position and not seen[-1].records

    async def mute(connection: ServerConnection) -> None:
        connection.transport.pause_reading()  # it answers no ping any more
        await asyncio.sleep(0.8)
        connection.transport.abort()

    sockets.scripts[:] = [mute]
    async with reading(driver, seen[-1].position, FOLLOW) as pages:
        with pytest.raises(TransientError, match="silent since 20"):
            while True:
                await anext(pages)
    await driver.close()


async def test_a_ping_of_the_platforms_own_is_sent(sockets: SocketServer) -> None:
    sockets.says()
    driver = ws_driver(sockets.url, ping={"op": "ping"}, heartbeat="40ms", stale_after="300ms")
    async with reading(driver, options=FOLLOW) as pages:
        with pytest.raises(TransientError, match="silent since"):
            while True:
                await anext(pages)
    assert len(sockets.got) >= 3 and set(sockets.got) == {'{"op":"ping"}'}
    await driver.close()


@pytest.mark.parametrize(
    ("code", "kind", "hint"),
    [
        (4401, CredentialError, "token"),
        (4403, CredentialError, "not allowed"),
        (3000, CredentialError, "token"),
        (1008, ConfigError, "subscription"),
        (4404, ConfigError, "path"),
        (1009, ConfigError, "smaller"),
        (1013, TransientError, "later"),
        (1011, TransientError, ""),
        (4999, TransientError, ""),
        (1000, TransientError, ""),
    ],
)
async def test_close_codes_are_typed_errors(
    sockets: SocketServer, code: int, kind: type[PlatintError], hint: str
) -> None:
    sockets.says('{"n": 1}', code=code, reason=f"because \x1b[2J{TOKEN}")
    driver = ws_driver(sockets.url, token=TOKEN)
    seen = []
    async with reading(driver, options=FOLLOW) as pages:
        with pytest.raises(kind, match=f"code {code}: because") as caught:
            async for page in pages:
                seen.append(page)
    assert len(values(seen)) == 1  # what came before the end is not lost
    assert hint in caught.value.hint and "\x1b" not in caught.value.sentence()
    if code == 1000:
        assert len(values(await scan(driver))) == 1  # the end of a scan is no failure
    await driver.close()


async def test_a_broken_connection_and_one_that_is_too_large(
    sockets: SocketServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def breaks(connection: ServerConnection) -> None:
        await connection.send('{"n": 1}')
        await asyncio.sleep(0.05)
        connection.transport.abort()

    sockets.scripts.append(breaks)
    driver = ws_driver(sockets.url, source={"max_message": 1_000})
    with pytest.raises(TransientError, match="broke"):
        await scan(driver)
    monkeypatch.setattr(connections, "LARGEST", 10_000)
    sockets.scripts.clear()
    sockets.says('{"n": "' + "x" * 5_000 + '"}', '{"n": 2}', "y" * 50_000)
    with pytest.raises(ConfigError, match="more than 10,000 bytes"):
        await scan(driver)
    sockets.scripts.clear()
    sockets.says('{"n": "' + "x" * 5_000 + '"}', '{"n": 2}')
    pages = await scan(driver)
    assert ["5,009 bytes" in bad.reason for page in pages for bad in page.bad] == [True]
    assert [item["body"] for item in values(pages)] == [{"n": 2}]
    await driver.close()


@pytest.mark.parametrize(
    ("status", "headers", "kind"),
    [
        (401, {}, CredentialError),
        (404, {}, ConfigError),
        (429, {"Retry-After": "30"}, RateLimited),
        (503, {}, TransientError),
        (302, {"Location": "http://127.0.0.1:1/elsewhere"}, ConfigError),
        (200, {}, ConfigError),
    ],
)
async def test_what_is_answered_instead_of_a_handshake(
    sockets: SocketServer, status: int, headers: dict[str, str], kind: type[PlatintError]
) -> None:
    sockets.says()
    sockets.refusal = (status, headers)
    driver = ws_driver(sockets.url, token=TOKEN)
    with pytest.raises(kind) as caught:
        await scan(driver)
    assert TOKEN not in caught.value.sentence()
    (probe,) = await driver.check()
    assert not probe.ok and probe.error_class == kind.error_class and len(sockets.asked) == 2
    await driver.close()


async def test_no_server_and_no_websocket_are_told(sockets: SocketServer) -> None:
    await sockets.stop()
    driver = ws_driver(sockets.url)
    with pytest.raises(TransientError, match=r"127\.0\.0\.1"):
        await scan(driver)
    with pytest.raises(ConfigError, match="no mode 'cdc'"):
        await scan(driver, options=ReadOptions(mode="cdc"))
    with pytest.raises(ConfigError, match="was entered for"):
        ws_driver(sockets.url, token=TOKEN, origins=("https://other.example:443",))
    await driver.close()


@pytest.mark.parametrize("way", ["handshake", "subprotocol", "message"])
async def test_ways_to_sign_in(sockets: SocketServer, way: str) -> None:
    async def script(connection: ServerConnection) -> None:
        if way == "message":
            signed = loads(await connection.recv())
            assert signed == {"op": "auth", "args": {"token": TOKEN}}
            await connection.send('{"op": "hello"}')
            await connection.send('{"op": "auth", "ok": true}')
            assert await connection.recv() == '{"op":"subscribe"}'
        await connection.send('{"n": 1}')
        await connection.wait_closed()

    sockets.scripts.append(script)
    sign_in = {
        "subprotocol": {"subprotocol": "bearer."},
        "message": {
            "message": {"op": "auth"},
            "at": "args.token",
            "accepted": {"path": "ok", "equals": True},
        },
    }.get(way)
    options = {"sign_in": sign_in} if sign_in else {}
    subscribe = {"subscribe": [{"op": "subscribe"}]} if way == "message" else {}
    driver = ws_driver(sockets.url, token=TOKEN, form="json", subprotocols=["v1"], **options, **subscribe)
    assert [item["body"] for item in values(await scan(driver))] == [{"n": 1}]
    headers = sockets.asked[0].headers
    assert headers.get("Authorization") == (f"Bearer {TOKEN}" if way == "handshake" else None)
    assert sockets.protocols == (["v1", f"bearer.{TOKEN}"] if way == "subprotocol" else ["v1"])
    await driver.close()


async def test_a_look_ends_and_nothing_is_left(sockets: SocketServer) -> None:
    before = len(asyncio.all_tasks())
    sockets.says(*(f'{{"n": {number}}}' for number in range(200)))
    driver = ws_driver(sockets.url, source={"chunk": 10}, acknowledge={"ack": "${record.n}"})
    pages = await scan(driver, options=ReadOptions(peek=True))
    assert 25 <= len(values(pages)) <= 40 and sockets.got == []
    async with reading(driver, options=FOLLOW) as opened:
        await anext(opened)
        await anext(opened)
    await driver.close()
    (stream,) = await driver.discover()
    assert (stream.name, stream.kind, stream.modes, stream.writable) == (
        "messages",
        "socket",
        ("consume",),
        True,
    )
    async with asyncio.timeout(5):
        while len(asyncio.all_tasks()) > before + 2:
            await asyncio.sleep(0.01)


async def test_nchan_is_followed_and_killed(nchan_server: NchanServer) -> None:
    nchan_server.publish("trades", '{"n": 0}')
    driver = ws_driver(
        nchan_server.ws_url("trades", private=True).replace("ws:", "http:"), token=nchan_server.token
    )
    assert [item.ok for item in await driver.check()] == [True]
    seen = []
    async with reading(driver, options=FOLLOW) as pages:
        with pytest.raises(TransientError):
            async for page in pages:
                seen.append(page)
                if len(values(seen)) == 1 and page.records:
                    nchan_server.publish("trades", '{"n": 1}')
                if len(values(seen)) == 2:
                    nchan_server.kill()
    assert [item["body"] for item in values(seen)] == [{"n": 0}, {"n": 1}]
    nchan_server.start_again()
    again = await scan(driver, seen[-1].position)
    assert [gap.start for page in again for gap in page.gaps] == [seen[-1].position["at"]]
    refused = ws_driver(
        nchan_server.ws_url("trades", private=True).replace("ws:", "http:"), token="wrong-canary"
    )
    with pytest.raises(CredentialError):
        await scan(refused)
    await driver.close()
    await refused.close()
