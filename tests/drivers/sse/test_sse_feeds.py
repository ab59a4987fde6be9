"""Feeds as records, going on after the last id, silence, refusals, and a real server (nginx with Nchan)."""

from __future__ import annotations

import asyncio
import json

import pytest
from drivers.sse.conftest import FOLLOW, HEAD, SCAN, Asked, EventServer, reading, scan, sse_driver, values
from peers.nchan import NchanServer

from platint_tui.core.errors import (
    ConfigError,
    CredentialError,
    PlatintError,
    RateLimited,
    SystemicError,
    TransientError,
)
from platint_tui.core.jsontext import loads
from platint_tui.core.model import ReadOptions
from platint_tui.manifest.request import BodyMatch


def said(*events: str) -> str:
    return HEAD + "".join(f"{event}\n\n" for event in events)


def numbered(start: int, end: int) -> str:
    return said(*(f"id: {number}\ndata: n{number}" for number in range(start, end)))


async def test_events_are_records(events: EventServer) -> None:
    events.says(
        said(
            'id: 1\nevent: order\ndata: {"total": 12.50,\ndata:  "at": "2024-05-01T12:00:00Z"}',
            "id: 2\ndata: plain",
            "data: one more",
            "data: and another",
        )
    )
    driver = sse_driver(events.url, happened="at")
    order, plain, more, another = values(pages := await scan(driver))
    assert order == {
        "id": "1",
        "body": {"total": 12.5, "at": "2024-05-01T12:00:00Z"},
        "headers": {},
        "key": None,
        "stream": "events",
        "timestamp": "2024-05-01T12:00:00.000+00:00",
        "event": "order",
    }
    assert (plain["body"], plain["event"], plain["timestamp"]) == ("plain", "message", None)
    # Without an id of their own they are counted after the last one: two events never share an id.
    assert [more["id"], another["id"]] == ["2+1", "2+2"]
    assert [moment for page in pages for moment in page.happened] == [1714564800000]
    assert events.asked[0].headers["accept"] == "text/event-stream"
    assert "last-event-id" not in events.asked[0].headers
    await driver.close()


async def test_the_next_reading_goes_on_after_the_last_id(events: EventServer) -> None:
    events.says(numbered(1, 6), numbered(6, 9))
    driver = sse_driver(events.url)
    first = await scan(driver)
    again = await scan(driver, first[-1].position)
    assert events.asked[1].headers["last-event-id"] == "5"
    assert [item["id"] for item in values(again)] == ["6", "7", "8"]
    assert [gap for page in first + again for gap in page.gaps] == []
    await driver.close()


async def test_a_server_that_does_not_go_on_is_seen_where_ids_count_up(events: EventServer) -> None:
    events.says(numbered(1, 6), numbered(9, 11))
    driver = sse_driver(events.url)
    again = await scan(driver, (await scan(driver))[-1].position)
    (gap,) = [gap for page in again for gap in page.gaps]
    assert (gap.start, gap.end) == ("6", "8") and "went on with 9" in gap.reason
    events.scripts.clear()
    # Ids that jump anyway say nothing, and neither do ids that are no numbers.
    events.says(said("id: 1\ndata: a", "id: 40\ndata: b", "id: 41\ndata: c"), numbered(90, 92))
    assert [g for p in await scan(driver, (await scan(driver))[-1].position) for g in p.gaps] == []
    events.scripts.clear()
    events.says(said("id: a\ndata: a", "id: b\ndata: b"), said("id: z\ndata: z"))
    assert [g for p in await scan(driver, (await scan(driver))[-1].position) for g in p.gaps] == []
    await driver.close()


async def test_without_ids_the_time_away_is_a_gap(events: EventServer) -> None:
    events.says(said("data: a", "data: a"))
    driver = sse_driver(events.url)
    first = await scan(driver)
    again = await scan(driver, first[-1].position)
    ids = [item["id"] for item in values(first + again)]
    assert len(set(ids)) == 4
    (gap,) = [gap for page in again for gap in page.gaps]
    assert gap.start == first[-1].position["at"] and "not resumable" in gap.reason and gap.end > gap.start
    await driver.close()


async def test_an_id_without_data_moves_the_position(events: EventServer) -> None:
    events.says(said("id: 1\ndata: a", "id: 7", "event: other\nid: 8\ndata: x"))
    driver = sse_driver(events.url, names=("message",))
    pages = await scan(driver)
    assert [item["id"] for item in values(pages)] == ["1"] and pages[-1].position["id"] == "8"
    await driver.close()


async def test_what_cannot_be_a_record_is_kept(events: EventServer) -> None:
    events.says(
        (HEAD + "id: 1\ndata: ").encode()
        + b"\xff\xfe\n\n"
        + b'id: 2\ndata: {"a": 1, "a": 2}\n\n'
        + b"id: 3\ndata: "
        + b"x" * 5_000
        + b"\n\nid: 4\ndata: good\n\n"
    )
    driver = sse_driver(events.url, source={"max_message": 1_000})
    pages = await scan(driver)
    binary, twice, large = [bad for page in pages for bad in page.bad]
    assert "no UTF-8" in binary.reason and loads(binary.raw)["body"] == "//4="
    assert "occurs twice" in twice.reason and loads(twice.raw)["id"] == "2"
    assert "bytes" in large.reason and loads(large.raw)["id"] == "3"
    assert [item["body"] for item in values(pages)] == ["good"]
    events.scripts.clear()
    events.says(HEAD.encode() + b"data: " + b"x" * 100_000, after=None)
    with pytest.raises(SystemicError, match="does not end"):
        await scan(driver)
    await driver.close()


async def test_records_in_messages_and_messages_that_are_none(events: EventServer) -> None:
    batch = {"items": [{"key": 1, "at": 1714564800}, {"key": 2, "at": 1714564800500}, "x"]}
    events.says(said(f"id: 1\ndata: {json.dumps(batch)}", 'data: {"type": "ping"}'))
    driver = sse_driver(
        events.url,
        records="items",
        happened="at",
        ignore=(BodyMatch.model_validate({"path": "type", "equals": "ping"}),),
    )
    pages = await scan(driver)
    assert values(pages) == batch["items"][:2]
    assert [bad.reason for page in pages for bad in page.bad] == ["it is no object"]
    assert [moment for page in pages for moment in page.happened] == [1714564800000, 1714564800500]
    await driver.close()


async def test_followed_it_shows_signs_of_life_and_tells_silence(events: EventServer) -> None:
    async def script(_: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(said("id: 1\ndata: a").encode())
        for _ in range(6):
            await asyncio.sleep(0.1)
            writer.write(b": alive\n")
            await writer.drain()
        await asyncio.sleep(60)

    events.scripts.append(script)
    driver = sse_driver(events.url, source={"idle": 0.05}, stale_after=0.4)
    assert driver.follows("events", FOLLOW) and not driver.follows("events", SCAN)
    seen = []
    async with reading(driver, options=FOLLOW) as pages:
        with pytest.raises(TransientError, match="silent since 20"):
            while True:
                seen.append(await anext(pages))
    assert [item["id"] for item in values(seen)] == ["1"] and not any(page.last for page in seen)
    quiet = [page for page in seen if not page.records][1:]
    assert len(quiet) >= 3 and {page.position["at"] for page in quiet} == {seen[-1].position["at"]}
    await driver.close()


async def test_an_end_is_told_and_the_servers_delay_is_kept(events: EventServer) -> None:
    events.says(said("retry: 300", "id: 1\ndata: a"))
    driver = sse_driver(events.url)
    loop = asyncio.get_running_loop()
    with pytest.raises(TransientError, match="ended the feed"):
        await scan(driver, options=FOLLOW)
    started = loop.time()
    with pytest.raises(TransientError, match="ended the feed"):
        await scan(driver, options=FOLLOW)
    assert loop.time() - started >= 0.25
    events.scripts.clear()
    events.says("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
    assert values(await scan(driver)) == []
    with pytest.raises(ConfigError, match="204"):
        await scan(driver, options=FOLLOW)
    await driver.close()


@pytest.mark.parametrize(
    ("head", "kind", "words"),
    [
        ("401 Unauthorized\r\nContent-Type: text/plain", CredentialError, "401"),
        ("404 Not Found\r\nContent-Type: text/plain", ConfigError, "404"),
        ("429 Slow\r\nContent-Type: text/plain\r\nRetry-After: 30", RateLimited, "429"),
        ("503 Busy\r\nContent-Type: text/plain", TransientError, "503"),
        ("200 OK\r\nContent-Type: application/json", ConfigError, "application/json"),
        ("200 OK\r\nContent-Type: text/html", ConfigError, "text/html"),
        ("200 OK\r\nContent-Type: text/event-stream\r\nContent-Encoding: gzip", SystemicError, "compresses"),
        ("302 Found\r\nLocation: https://evil.example/feed", SystemicError, "another origin"),
        ("302 Found\r\nLocation: /feed", SystemicError, "redirects more than"),
    ],
)
async def test_what_a_server_answers_instead_of_events(
    events: EventServer, head: str, kind: type[PlatintError], words: str
) -> None:
    events.says(f"HTTP/1.1 {head}\r\nConnection: close\r\n\r\nbody")
    driver = sse_driver(events.url, token="sse-canary-1b")
    with pytest.raises(kind, match=words) as caught:
        await scan(driver)
    assert "sse-canary" not in caught.value.sentence()
    (probe,) = await driver.check()
    assert not probe.ok and words in probe.detail and probe.error_class == kind.error_class
    await driver.close()


async def test_a_redirect_on_the_same_server_is_followed(events: EventServer) -> None:
    events.says("HTTP/1.1 307 Go\r\nLocation: /there?x=1\r\nConnection: close\r\n\r\n", numbered(1, 3))
    driver = sse_driver(f"{events.url}/feed?topic=a", token="sse-canary-1b")
    assert len(values(await scan(driver))) == 2
    assert [item.path for item in events.asked] == ["/feed?topic=a", "/there?x=1"]
    assert events.asked[1].headers["authorization"] == "Bearer sse-canary-1b"
    await driver.close()


async def test_a_credential_goes_only_where_it_was_entered_for(events: EventServer) -> None:
    with pytest.raises(ConfigError, match="was entered for"):
        sse_driver(events.url, token="sse-canary-1b", origins=("https://other.example:443",))


async def test_a_look_ends_after_some_events_and_nothing_is_left(events: EventServer) -> None:
    before = len(asyncio.all_tasks())
    events.says(*[numbered(1, 400)] * 2, after=None)
    driver = sse_driver(events.url)
    pages = await scan(driver, options=ReadOptions(peek=True))
    assert 25 <= len(values(pages)) <= 400
    async with reading(driver, options=FOLLOW) as opened:
        await anext(opened)
        await anext(opened)
    await driver.close()
    async with asyncio.timeout(5):
        while len(asyncio.all_tasks()) > before + 3:
            await asyncio.sleep(0.01)


async def test_modes_discovery_and_targets(events: EventServer) -> None:
    driver = sse_driver(events.url)
    (stream,) = await driver.discover()
    assert (stream.name, stream.key, stream.kind, stream.modes) == ("events", ("id",), "events", ("consume",))
    assert any("does not say whether it went on" in note for note in stream.notes) and not stream.writable
    with pytest.raises(ConfigError, match="no mode 'cdc'"):
        await scan(driver, options=ReadOptions(mode="cdc"))
    await driver.close()


async def test_nchan_goes_on_after_the_last_event_id(nchan_server: NchanServer) -> None:
    for number in range(5):
        nchan_server.publish("orders", json.dumps({"n": number}), event="order")
    driver = sse_driver(nchan_server.sse_url("orders", private=True), token=nchan_server.token)
    assert [item.ok for item in await driver.check()] == [True]
    first = await scan(driver)
    assert [(item["body"]["n"], item["event"]) for item in values(first)] == [(n, "order") for n in range(5)]
    for number in range(5, 8):
        nchan_server.publish("orders", json.dumps({"n": number}))
    again = await scan(driver, first[-1].position)
    assert [item["body"]["n"] for item in values(again)] == [5, 6, 7]
    # From an older position the same events come again, with the same ids.
    older = next(page.position for page in first if page.records)
    assert not {item["id"] for item in values(again)} & {item["id"] for item in values(first)}
    assert values(await scan(driver, older))[-3:] == values(again)
    refused = sse_driver(nchan_server.sse_url("orders", private=True), token="wrong-canary-2")
    with pytest.raises(CredentialError, match="401"):
        await scan(refused)
    await driver.close()
    await refused.close()


async def test_nchan_is_killed_while_it_is_followed(nchan_server: NchanServer) -> None:
    driver = sse_driver(nchan_server.sse_url("live"))
    nchan_server.publish("live", "before")
    async with reading(driver, options=FOLLOW) as pages:
        async for page in pages:
            if page.records:
                nchan_server.kill()
                break
        with pytest.raises(TransientError):
            while True:
                await anext(pages)
    with pytest.raises(TransientError, match=r"127\.0\.0\.1"):
        await scan(driver, page.position)
    nchan_server.start_again()
    await asyncio.sleep(1.1)  # its ids are seconds, and it has forgotten those of before
    nchan_server.publish("live", "after")
    assert [item["body"] for item in values(await scan(driver, page.position))] == ["after"]
    await driver.close()
