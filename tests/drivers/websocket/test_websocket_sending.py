"""Rows as messages: what is known to have arrived, what is refused, and what nobody knows."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest
from drivers.conftest import Tools
from drivers.websocket.conftest import TOKEN, SocketServer, scan, values, ws_driver
from peers.nchan import NchanServer
from websockets.asyncio.server import ServerConnection

from platint_tui.core.errors import ErrorClass, PlatintError, TransientError, UnknownOutcome
from platint_tui.core.model import Fault

ACKNOWLEDGED = {"taken": {"path": "ok", "equals": True}, "refused": {"path": "error", "exists": True}}


def rows(count: int, start: int = 0) -> list[dict[str, Any]]:
    return [{"id": number} for number in range(start, start + count)]


def codes(faults: Sequence[tuple[int, Fault]]) -> list[tuple[int, str]]:
    return [(index, fault.code) for index, fault in faults]


async def test_rows_arrive_in_their_order(sockets: SocketServer, tools: Tools) -> None:
    sockets.says()
    driver = ws_driver(sockets.url, token=TOKEN)
    target = await driver.open_target(tools.plan(target="messages"))
    result = await target.write(tools.batch(rows(250)))
    assert (result.written, list(result.faults)) == (250, [])
    assert [json.loads(item) for item in sockets.got] == rows(250)
    assert await target.confirmed() is None and await driver.describe_target("messages") is None
    await target.close()
    await driver.close()


async def test_an_answer_takes_or_refuses_a_row(sockets: SocketServer, tools: Tools) -> None:
    async def script(connection: ServerConnection) -> None:
        await connection.send('{"hello": 1}')
        async for message in connection:
            number = json.loads(message)["id"]
            await connection.send('{"error": "odd"}' if number % 2 else '{"ok": true}')

    sockets.scripts.append(script)
    driver = ws_driver(sockets.url, **ACKNOWLEDGED)
    target = await driver.open_target(tools.plan(target="messages"))
    result = await target.write(tools.batch([*rows(4), {"id": "\ud800"}]))
    assert result.written == 2 and codes(result.faults) == [(1, "refused"), (3, "refused"), (4, "body")]
    assert {fault.error_class for _, fault in result.faults} == {ErrorClass.RECORD}
    assert "odd" in result.faults[0][1].message
    await target.close()
    await driver.close()


@pytest.mark.parametrize("acknowledged", [True, False])
async def test_a_connection_that_ends_leaves_the_outcome_unknown(
    sockets: SocketServer, tools: Tools, acknowledged: bool
) -> None:
    async def script(connection: ServerConnection) -> None:
        if not acknowledged:
            connection.transport.pause_reading()
            await asyncio.sleep(0.1)
            connection.transport.abort()
            return
        count = 0
        async for message in connection:
            count += 1
            sockets.got.append(message)
            if count == 3:
                connection.transport.abort()
                return
            await connection.send('{"ok": true}')

    sockets.scripts.append(script)
    driver = ws_driver(sockets.url, **(ACKNOWLEDGED if acknowledged else {}))
    target = await driver.open_target(tools.plan(target="messages"))
    result = await target.write(tools.batch(rows(5)))
    unknown = UnknownOutcome.code
    if acknowledged:
        assert codes(result.faults) == [(2, unknown), (3, "not_sent"), (4, "not_sent")]
    else:
        # Nothing said that any of them arrived.
        assert codes(result.faults) == [(number, unknown) for number in range(5)]
    assert isinstance(target.failure, TransientError)  # type: ignore[attr-defined]
    assert len(sockets.got) == (3 if acknowledged else 0)
    # The next batch goes over a new connection; nothing is sent once more by itself.
    sockets.scripts[:] = []
    sockets.says()
    if not acknowledged:
        assert (await target.write(tools.batch(rows(2, 10)))).written == 2
    await target.close()
    await driver.close()


async def test_an_answer_that_does_not_come_is_unknown(sockets: SocketServer, tools: Tools) -> None:
    sockets.says()
    driver = ws_driver(sockets.url, total=0.2, **ACKNOWLEDGED)
    target = await driver.open_target(tools.plan(target="messages"))
    result = await target.write(tools.batch(rows(2)))
    assert codes(result.faults) == [(0, UnknownOutcome.code), (1, "not_sent")]
    await target.close()
    await driver.close()


async def test_nothing_was_sent_when_the_platform_is_away(sockets: SocketServer, tools: Tools) -> None:
    sockets.says(code=4401)
    driver = ws_driver(sockets.url)
    target = await driver.open_target(tools.plan(target="messages"))
    await asyncio.sleep(0.05)
    sockets.refusal = (401, {})
    with pytest.raises(PlatintError, match="401"):
        await target.write(tools.batch(rows(2)))
    await target.close()
    await driver.close()


async def test_bytes_are_sent_as_they_were(sockets: SocketServer, tools: Tools) -> None:
    sockets.says()
    driver = ws_driver(sockets.url, form="base64")
    target = await driver.open_target(tools.plan(target="messages"))
    message = {
        "id": "1",
        "body": "/wA=",
        "encoding": "base64",
        "headers": {},
        "stream": "s",
        "timestamp": None,
    }
    assert (await target.write(tools.batch([message]))).written == 1
    assert sockets.got == [b"\xff\x00"]
    text = ws_driver(sockets.url)
    other = await text.open_target(tools.plan(target="messages"))
    assert codes((await other.write(tools.batch([message]))).faults) == [(0, "body")]
    for opened in (target, other):
        await opened.close()
    await driver.close()
    await text.close()


async def test_nchan_publishes_what_is_sent(nchan_server: NchanServer, tools: Tools) -> None:
    driver = ws_driver(nchan_server.ws_url("sent").replace("ws:", "http:"))
    target = await driver.open_target(tools.plan(target="messages"))
    assert (await target.write(tools.batch(rows(3)))).written == 3
    assert [item["body"] for item in values(await scan(driver))] == rows(3)
    await target.close()
    await driver.close()
