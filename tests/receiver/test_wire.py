"""HTTP/1.1 as senders and attackers speak it, over raw sockets."""

from __future__ import annotations

import asyncio

import pytest
from receiver.support import Served, body_of, request, until

from platint_tui.engine.receiver import intake, server, wire


async def test_an_event_is_stored_whole_before_its_answer(served: Served) -> None:
    body = '{"number": 1, "text": "Grüße 😀"}\n'.encode()
    answer = await served.send(request(body, "first", more={"X-Unused": "no"}))
    assert answer.status == 200
    assert answer.body == b""
    assert "server" not in answer.headers
    assert "date" in answer.headers
    (event,) = await served.events()
    assert event.body == body
    assert (event.event_id, event.type, event.profile, event.verified_by) == (
        "first",
        "push",
        "gh",
        "webhook_secret",
    )
    assert dict(event.headers)["content-type"] == "application/json"
    assert not {"x-unused", "host"} & set(dict(event.headers))


async def test_a_connection_is_kept_and_pipelined_requests_are_answered_in_order(served: Served) -> None:
    peer = await served.connect()
    # The second is refused, which takes longer than to store the third: it is answered second all the same.
    peer.write(request(body_of(1), "a") + request(body_of(2), "b", secret="wrong") + request(body_of(3), "c"))
    assert [(await peer.answer()).status for _ in range(3)] == [200, 401, 200]
    peer.write(request(body_of(4), "d"))
    assert (await peer.answer()).status == 200
    peer.close()
    assert [event.event_id for event in await served.events()] == ["a", "c", "d"]


async def test_many_pipelined_requests_are_all_answered(served: Served) -> None:
    peer = await served.connect()
    count = 8 * wire.MAX_PIPELINED
    peer.write(b"".join(request(body_of(n), f"p{n}") for n in range(count)))
    assert [(await peer.answer()).status for _ in range(count)] == [200] * count
    peer.close()
    assert [event.event_id for event in await served.events()] == [f"p{n}" for n in range(count)]


async def test_a_request_may_come_byte_by_byte_and_in_chunks(served: Served) -> None:
    peer = await served.connect()
    for byte in request(body_of(1), "slow"):
        peer.write(bytes([byte]))
        await asyncio.sleep(0)
    assert (await peer.answer()).status == 200
    peer.write(request(body_of(2, size=5000), "chunked", chunks=7))
    assert (await peer.answer()).status == 200
    peer.close()
    assert [event.body for event in await served.events()] == [body_of(1), body_of(2, size=5000)]


async def test_a_sender_that_waits_for_100_continue_gets_it(served: Served) -> None:
    peer = await served.connect()
    head, _, body = request(body_of(1), more={"Expect": "100-continue"}).partition(b"\r\n\r\n")
    peer.write(head + b"\r\n\r\n")
    assert await peer.line() == b"HTTP/1.1 100 Continue\r\n"
    assert await peer.line() == b"\r\n"
    peer.write(body)
    assert (await peer.answer()).status == 200
    # One whose request is refused by its head is told so, and not to go on.
    peer.write(head.replace(b"/webhooks/gh", b"/elsewhere") + b"\r\n\r\n")
    assert (await peer.answer()).status == 404
    assert await peer.closed()


async def test_an_offer_of_another_protocol_is_not_taken_and_the_body_is_read(served: Served) -> None:
    peer = await served.connect()
    upgrade = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2-Settings": "AAMAAABk"}
    peer.write(request(body_of(1), "h2c", more=upgrade) + request(body_of(2), "after"))
    assert [(await peer.answer()).status for _ in range(2)] == [200, 200]
    for part in (
        request(body_of(3, 2000), "h2c again", more=upgrade, chunks=100)[start : start + 50]
        for start in range(0, 4000, 50)
    ):
        peer.write(part)
        await asyncio.sleep(0)
    assert (await peer.answer()).status == 200
    peer.close()
    assert [event.body for event in await served.events()] == [body_of(1), body_of(2), body_of(3, 2000)]


SMUGGLED = {
    "two lengths": b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}x",
    "equal lengths": b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
    "length and chunks": b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks and length": b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n0\r\n\r\n",
    "a length with a sign": b"Content-Length: +2\r\n\r\n{}",
    "a coding that is not chunked": b"Transfer-Encoding: gzip\r\n\r\n{}",
    "two codings": b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "a space before the colon": b"Content-Length : 2\r\n\r\n{}",
    "a folded header": b"X-A: b\r\n c\r\nContent-Length: 2\r\n\r\n{}",
    "two hosts": b"Host: b\r\nContent-Length: 2\r\n\r\n{}",
    "a chunk without a number": b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
    "a NUL": b"X-A: \x00\r\n\r\n",
}


@pytest.mark.parametrize("rest", SMUGGLED.values(), ids=list(SMUGGLED))
async def test_J18_what_could_be_read_in_two_ways_is_refused_and_the_connection_closed(
    served: Served, rest: bytes
) -> None:
    peer = await served.connect()
    peer.write(b"POST /webhooks/gh HTTP/1.1\r\nHost: 127.0.0.1\r\n" + rest)
    peer.write(request(body_of(1), "smuggled"))
    answer = await peer.answer()
    assert answer.status in (400, 501)
    assert answer.headers["connection"] == "close"
    assert await peer.closed()
    assert await served.events() == []


@pytest.mark.parametrize(
    "line",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"POST /webhooks/gh\r\n\r\n",
        b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST /webhooks/gh HTTP/1.1\r\n\r\n",
        b"\x00" * 100,
    ],
    ids=["TLS", "HTTP/2", "HTTP/0.9", "CONNECT", "no host", "zeros"],
)
async def test_J18_other_protocols_are_turned_away(served: Served, line: bytes) -> None:
    peer = await served.connect()
    peer.write(line)
    assert (await peer.answer()).status in (400, 405, 505)
    assert await peer.closed()


async def test_a_request_of_http_1_0_is_answered_and_closed(served: Served) -> None:
    peer = await served.connect()
    peer.write(request(body_of(1), "old").replace(b"HTTP/1.1", b"HTTP/1.0", 1))
    answer = await peer.answer()
    assert (answer.status, answer.headers["connection"]) == (200, "close")
    assert await peer.closed()


async def test_J7_a_body_over_the_limit_is_refused_without_reading_it(served: Served) -> None:
    limit = served.context.registry.get("github").webhooks.max_body  # type: ignore[union-attr]
    head = request(b"", more={"Content-Length": str(limit + 1)})
    peer = await served.connect()
    peer.write(head)
    answer = await peer.answer()
    assert (answer.status, answer.headers["connection"]) == (413, "close")
    # What is sent all the same is thrown away, so that the answer is not destroyed on its way.
    peer.write(b"x" * 1000)
    assert await peer.closed()
    await served.receiver.flush()
    (rejection,) = await served.store.events.rejections("gh")
    assert rejection.cause == "too_large"


async def test_J7_a_body_in_chunks_is_refused_where_it_becomes_too_large(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint = served.receiver.receives("gh")
    monkeypatch.setattr(endpoint, "webhooks", endpoint.webhooks.model_copy(update={"max_body": 10_000}))  # type: ignore[union-attr]
    peer = await served.connect()
    peer.write(request(b"x" * 10_001, chunks=1000)[: -len(b"\r\n0\r\n\r\n")])
    assert (await peer.answer()).status == 413
    assert await peer.closed()
    assert (await served.send(request(b"x" * 10_000, "fits", chunks=1000))).status == 200


async def test_heads_are_limited(served: Served) -> None:
    large = request(b"{}", more={"X-Large": "x" * wire.MAX_HEAD})
    assert (await served.send(large)).status == 431
    many = request(b"{}", more={f"X-{n}": "1" for n in range(wire.MAX_HEADERS)})
    assert (await served.send(many)).status == 431
    peer = await served.connect()
    # A line that never ends.
    peer.write(b"POST /" + b"x" * (wire.MAX_HEAD + 300_000))
    assert (await peer.answer()).status in (400, 431)
    assert (await served.send(request(b"{}", more={"X-Large": "x" * 60_000}))).status == 200


async def test_J7_slow_senders_are_cut_off(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "HEAD_SECONDS", 0.05)
    monkeypatch.setattr(wire, "BODY_SECONDS", 0.05)
    monkeypatch.setattr(wire, "IDLE_SECONDS", 0.05)
    peers = [await served.connect() for _ in range(3)]
    whole = request(b"{}", "slow")
    peers[0].write(whole[:40])
    peers[1].write(whole[:-1])
    peers[2].write(whole)
    assert (await peers[2].answer()).status == 200
    for peer in peers[:2]:
        assert (await peer.answer()).status == 408
    for peer in peers:
        assert await peer.closed()


async def test_J18_of_too_many_connections_the_idle_ones_go(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(served.receiver._serving, "_most", 3)
    idle = await served.connect()
    idle.write(request(b"{}", "idle"))
    assert (await idle.answer()).status == 200
    busy = [await served.connect() for _ in range(2)]
    for peer in busy:
        peer.write(b"POST /webhooks/gh HTTP/1.1\r\n")
    await until(lambda: served.receiver.connections == (3, 1))
    assert (await served.send(request(b"{}", "another"))).status == 200
    assert await idle.closed()
    busy.append(await served.connect())
    busy[-1].write(b"POST")
    await until(lambda: served.receiver.connections == (3, 0))
    answer = await served.send(b"")
    assert (answer.status, answer.headers["retry-after"]) == (503, "5")
    monkeypatch.setattr(server, "SLOW_SECONDS", 0.0)
    assert (await served.send(request(b"{}", "not kept out"))).status == 200
    await until(lambda: served.receiver.connections == (2, 0))
    for peer in busy:
        peer.close()


async def test_J12_more_than_there_is_memory_for_is_told_to_come_back(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "MAX_HELD", 5_000)
    first = await served.connect()
    body = body_of(1, size=4_000)
    whole = request(body, "first")
    first.write(whole[:-1])
    await until(lambda: served.receiver.held > 4_000)
    answer = await served.send(request(body_of(2, size=4_000), "second"))
    assert (answer.status, answer.headers["retry-after"]) == (503, "5")
    answer = await served.send(request(body_of(2, size=4_000), "second", chunks=500))
    assert answer.status == 503
    first.write(whole[-1:])
    assert (await first.answer()).status == 200
    assert (await served.send(request(body_of(2, size=4_000), "second"))).status == 200
    assert served.receiver.held == 0


async def test_J8_only_what_a_manifest_names_is_answered(served: Served) -> None:
    for method in ("GET", "HEAD", "PUT", "OPTIONS", "DELETE"):
        peer = await served.connect()
        peer.write(f"{method} /webhooks/gh HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        answer = await peer.answer()
        assert (answer.status, answer.headers["allow"], answer.body) == (405, "POST", b"")
        peer.close()
    for path in ("/", "/webhooks", "/favicon.ico", "/webhooks/../webhooks"):
        answer = await served.send(request(path=path))
        assert answer.status in (404, 401)
    assert await served.events() == []


async def test_requests_in_hand_are_answered_when_the_receiver_ends(served: Served) -> None:
    whole = await served.connect()
    partial = await served.connect()
    idle = await served.connect()
    begun = await served.connect()
    partial.write(request(body_of(2), "partial")[:-1])
    begun.write(b"POST /webh")
    await until(lambda: served.receiver.connections == (4, 2))
    server_address = served.port
    whole.write(request(body_of(1), "whole"))
    whole.write(request(body_of(3), "refused", secret="wrong"))
    await until(lambda: served.receiver.connections == (4, 1))
    served.task.cancel()
    await served.receiver.stop()
    assert [(await whole.answer()).status for _ in range(2)] == [200, 401]
    assert await whole.closed()
    assert (await partial.answer()).status == 503
    for peer in (partial, idle, begun):
        assert await peer.closed()
    with pytest.raises(OSError):
        await asyncio.open_connection("127.0.0.1", server_address)
    assert [event.event_id for event in await served.events()] == ["whole"]


async def test_a_sender_that_leaves_before_its_answer_has_its_event_stored(served: Served) -> None:
    peer = await served.connect()
    peer.write(request(body_of(1), "left"))
    await peer.writer.drain()
    peer.writer.transport.abort()
    assert await until(served.events)
    # One that only stops writing is answered.
    half = await served.connect()
    half.write(request(body_of(2), "half"))
    half.writer.write_eof()
    assert (await half.answer()).status == 200
    assert await half.closed()
