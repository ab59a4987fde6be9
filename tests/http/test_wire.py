"""Faults of the wire (F) and of answers (G): a typed sentence, nothing lost, nothing sent astray."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import subprocess
import sys
import zlib
from typing import Any

import pytest

from platint_tui.core.errors import (
    ConfigError,
    CredentialError,
    PlatintError,
    RateLimited,
    SystemicError,
    TransientError,
)
from tests.http.hostile import SECRET, Build, Hostile, Seen, answer

LINES = {"data": [{"id": number, "text": "x" * 50} for number in range(200)], "next": None}


async def failure(rig: Any) -> PlatintError:
    with pytest.raises(PlatintError) as caught:
        await rig.read()
    assert SECRET not in caught.value.sentence()
    return caught.value


async def test_F3_dns_failure(build: Build) -> None:
    error = await failure(build(base_url="https://nope.invalid"))
    assert isinstance(error, TransientError) and error.code == "dns"
    assert "nope.invalid" in error.message
    assert error.hint.startswith("Check base_url of profile ")


async def test_F4_dns_that_hangs_meets_the_connect_timeout(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang(*args: Any, **options: Any) -> None:
        await asyncio.sleep(3600)

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", hang)
    changes = {"transport": {"timeout": {"connect": "200ms"}}, "errors": {"policy": {"attempts": 1}}}
    error = await failure(build(changes, base_url="https://slow.example"))
    assert error.code == "connect_timeout" and "slow.example" in error.message


async def test_F5_refused_is_tried_again_then_said(build: Build, hostile: Hostile) -> None:
    rig = build(base_url="http://127.0.0.1:1")
    error = await failure(rig)
    assert error.code == "connection_refused" and "refuses the connection" in error.message
    assert rig.notes.seen == [("read items", False)] * 3
    assert len(rig.clock.slept) == 2


async def test_F5_closed_before_an_answer(build: Build, hostile: Hostile) -> None:
    hostile.raw("/items", b"")
    error = await failure(build())
    assert isinstance(error, TransientError) and error.code == "connection_broken"


async def test_F6_reset_in_the_middle_of_a_body(build: Build, hostile: Hostile) -> None:
    def handle(seen: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(answer(200, LINES)[:4000])
        if len(hostile.seen) < 2:
            asyncio.get_running_loop().call_later(0.05, writer.transport.abort)
        else:
            writer.write(answer(200, LINES)[4000:])

    hostile.routes["/items"] = handle
    assert len(await build().read()) == 200
    assert len(hostile.seen) == 2


@pytest.mark.parametrize("kind", ["length", "chunked"])
async def test_F7_body_shorter_than_announced(build: Build, hostile: Hostile, kind: str) -> None:
    if kind == "length":
        hostile.raw("/items", answer(200, LINES)[:-10])
    else:
        hostile.raw("/items", b'HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"dat\r\n')
    error = await failure(build())
    assert isinstance(error, TransientError) and error.code == "truncated"


async def test_F8_unframed_lines_are_refused(build: Build, hostile: Hostile) -> None:
    hostile.raw(
        "/items", b'HTTP/1.1 200 X\r\nContent-Type: application/x-ndjson\r\n\r\n{"id": 1}\n{"id": 2}\n'
    )
    error = await failure(build())
    assert isinstance(error, SystemicError) and error.code == "unframed"


async def test_F8_unframed_json_is_complete_or_refused(build: Build, hostile: Hostile) -> None:
    whole = b"HTTP/1.1 200 X\r\nContent-Type: application/json\r\n\r\n" + json.dumps(LINES).encode()
    hostile.raw("/items", whole)
    assert len(await build().read()) == 200
    hostile.raw("/items", whole[:-20])
    assert (await failure(build())).code == "json"


@pytest.mark.parametrize("cut", [1, 8, 40])
async def test_F9_truncated_gzip_with_the_right_length(build: Build, hostile: Hostile, cut: int) -> None:
    data = gzip.compress(json.dumps(LINES).encode())[:-cut]
    hostile.routes["/items"] = lambda seen, writer: writer.write(
        answer(200, data, {"Content-Encoding": "gzip"})
    )
    error = await failure(build())
    assert isinstance(error, TransientError) and error.code == "truncated"


async def test_F10_every_member_of_a_gzip_body(build: Build, hostile: Hostile) -> None:
    text = json.dumps(LINES).encode()
    data = gzip.compress(text[:500]) + gzip.compress(text[500:])
    hostile.routes["/items"] = lambda seen, writer: writer.write(
        answer(200, data, {"Content-Encoding": "gzip"})
    )
    assert len(await build().read()) == 200


async def test_F11_silence(build: Build, hostile: Hostile) -> None:
    async def handle(seen: Seen, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(3600)

    hostile.routes["/items"] = handle
    error = await failure(build({"transport": {"timeout": {"read": "100ms"}}}))
    assert error.code == "read_timeout" and len(hostile.seen) == 3


@pytest.mark.parametrize("kind", ["body", "header", "informational"])
async def test_F12_drip_meets_the_total_deadline(build: Build, hostile: Hostile, kind: str) -> None:
    drips = {
        "body": (b"HTTP/1.1 200 X\r\nContent-Length: 1000\r\n\r\n", b" "),
        "header": (b"HTTP/1.1 200 X\r\nX-Slow: ", b"a"),
        "informational": (b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"),
    }
    first, drop = drips[kind]

    async def handle(seen: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(first)
        while not writer.is_closing():
            writer.write(drop)
            await asyncio.sleep(0.02)

    hostile.routes["/items"] = handle
    changes = {"transport": {"timeout": {"total": "300ms"}}, "errors": {"policy": {"attempts": 1}}}
    error = await failure(build(changes))
    assert error.code == "deadline" and "127.0.0.1" in error.message


async def test_F13_a_half_open_stall(build: Build, hostile: Hostile) -> None:
    async def handle(seen: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(answer(200, LINES)[:3000])
        await asyncio.sleep(3600)

    hostile.routes["/items"] = handle
    rig = build({"transport": {"timeout": {"read": "100ms"}}})
    assert (await failure(rig)).code == "read_timeout" and len(hostile.seen) == 3


async def test_F19_the_network_goes_away_and_comes_back(build: Build, hostile: Hostile) -> None:
    hostile.json("/items", {"data": [{"id": 1}], "next": None})
    rig = build({"errors": {"policy": {"attempts": 2}}})
    assert len(await rig.read()) == 1
    await hostile.stop()
    assert (await failure(rig)).code in ("connection_refused", "connection_broken")
    await hostile.start(port=hostile.port)
    assert len(await rig.read()) == 1


async def test_F14_a_slow_but_steady_body_is_given_time(build: Build, hostile: Hostile) -> None:
    data = answer(200, {"data": [{"id": 1, "text": "x" * 60_000}], "next": None})

    async def handle(seen: Seen, writer: asyncio.StreamWriter) -> None:
        for start in range(0, len(data), 6000):
            writer.write(data[start : start + 6000])
            await asyncio.sleep(0.1)

    hostile.routes["/items"] = handle
    # 60 kB at 60 kB/s take a second: more than the deadline, faster than the slowest rate.
    assert len(await build({"transport": {"timeout": {"total": "400ms"}}}).read()) == 1


async def test_F15_headers_too_large(build: Build, hostile: Hostile) -> None:
    hostile.raw("/items", b"HTTP/1.1 200 X\r\nX-Big: " + b"a" * 120_000 + b"\r\n\r\n")
    error = await failure(build())
    assert error.code == "header_size" and "too large" in error.message


async def test_F16_proxies_of_the_environment_are_ignored(
    build: Build, hostile: Hostile, other: Hostile, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, other.url)
    hostile.json("/items", LINES)
    assert len(await build().read()) == 200
    assert other.seen == []


async def test_F18_a_socks_proxy_of_the_environment_harms_nothing(
    build: Build, hostile: Hostile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:1")
    hostile.json("/items", LINES)
    assert len(await build().read()) == 200


async def test_a_proxy_of_the_manifest_is_used(build: Build, hostile: Hostile, other: Hostile) -> None:
    other.json("/items", LINES)
    rig = build({"transport": {"proxy": other.url}})
    assert len(await rig.read()) == 200
    assert hostile.seen == [] and other.seen[0].target == f"{hostile.url}/items?limit=2"


async def test_G1_html_with_200(build: Build, hostile: Hostile) -> None:
    page = b"<!doctype html><title>Sign in</title>"
    hostile.routes["/items"] = lambda seen, writer: writer.write(
        answer(200, page, {"Content-Type": "text/html; charset=utf-8"})
    )
    error = await failure(build())
    assert isinstance(error, SystemicError) and "text/html" in error.message and "login page" in error.message


async def test_G2_no_content_is_an_error_unless_the_manifest_says_end(build: Build, hostile: Hostile) -> None:
    hostile.routes["/items"] = lambda seen, writer: writer.write(b"HTTP/1.1 204 X\r\n\r\n")
    assert (await failure(build())).code == "no_content"
    rig = build({"resources": {"items": {"read": {"page": {"stop_on_empty": True}}}}})
    assert await rig.read() == [] and rig.pages[-1].last


async def test_G2_empty_200(build: Build, hostile: Hostile) -> None:
    hostile.routes["/items"] = lambda seen, writer: writer.write(answer(200, b""))
    assert (await failure(build())).code == "empty_body"
    assert len(hostile.seen) == 2


async def test_G3_error_document_with_200(build: Build, hostile: Hostile) -> None:
    hostile.json("/items", {"error": {"message": "maintenance"}})
    assert (await failure(build())).code == "records_path"
    rules = [
        {
            "when": {"status": [200], "body": {"path": "error.message"}},
            "class": "systemic",
            "action": "fail_stream",
        }
    ]
    error = await failure(build({"errors": {"rules": rules}}))
    assert error.message == "Hostile answered 200: maintenance"


@pytest.mark.parametrize(
    "text", ['{"data": [{"id": 1}', '{"data": [{"id": 1}]} x', '{"data": [{"id": 1},]}', "nothing"]
)
async def test_G4_broken_json_is_asked_for_once_more(build: Build, hostile: Hostile, text: str) -> None:
    hostile.routes["/items"] = lambda seen, writer: writer.write(answer(200, text.encode()))
    error = await failure(build())
    assert isinstance(error, SystemicError) and error.code == "json" and "byte" in error.message
    assert len(hostile.seen) == 2


async def test_G4_the_second_time_may_be_right(build: Build, hostile: Hostile) -> None:
    texts = [b'{"data": [', json.dumps(LINES).encode()]
    hostile.routes["/items"] = lambda seen, writer: writer.write(answer(200, texts.pop(0)))
    rig = build()
    assert len(await rig.read()) == 200 and rig.pages[0].requests == 2


async def test_G5_text_that_is_not_utf8(build: Build, hostile: Hostile) -> None:
    hostile.routes["/items"] = lambda seen, writer: writer.write(answer(200, b'{"data": [{"id": "\xff"}]}'))
    error = await failure(build())
    assert error.code == "encoding" and "byte 18" in error.message
    text = "\ufeff" + json.dumps(LINES)
    hostile.routes["/items"] = lambda seen, writer: writer.write(answer(200, text.encode()))
    assert len(await build().read()) == 200
    hostile.routes["/items"] = lambda seen, writer: writer.write(
        answer(200, json.dumps(LINES).encode("utf-16"))
    )
    assert "UTF-16" in (await failure(build())).hint


@pytest.mark.parametrize("depth", [10, 1000, 100_000])
async def test_G6_nesting(build: Build, hostile: Hostile, depth: int) -> None:
    deep = '{"data": [{"id": 1, "deep": ' + "[" * depth + "]" * depth + "}]}"
    hostile.routes["/items"] = lambda seen, writer: writer.write(answer(200, deep.encode()))
    rig = build()
    if depth == 10:
        assert len(await rig.read()) == 1
    elif depth == 1000:
        # Refused as one record if it can be told from the others, else as a page.
        try:
            assert await rig.read() == [] and len(rig.pages[0].bad) == 1
        except SystemicError as error:
            assert error.code == "json"
    else:
        assert (await failure(rig)).code == "json"


async def test_G7_an_endless_body(build: Build, hostile: Hostile) -> None:
    async def handle(seen: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n")
        while not writer.is_closing():
            writer.write(b"10000\r\n" + b" " * 65536 + b"\r\n")
            await writer.drain()

    hostile.routes["/items"] = handle
    error = await failure(build())
    assert isinstance(error, SystemicError) and error.code == "too_large"


async def test_G8_compression_bomb(build: Build, hostile: Hostile) -> None:
    packer = zlib.compressobj(9, wbits=31)
    bomb = b"".join(packer.compress(b" " * (1 << 20)) for _ in range(64)) + packer.flush()
    hostile.routes["/items"] = lambda seen, writer: writer.write(
        answer(200, bomb, {"Content-Encoding": "gzip"})
    )
    error = await failure(build())
    assert error.code == "too_large" and len(bomb) < 100_000


@pytest.mark.parametrize("coding", ["gzip, gzip", "br", "deflate", "zstd"])
async def test_G8_codings_that_were_not_asked_for(build: Build, hostile: Hostile, coding: str) -> None:
    data = gzip.compress(gzip.compress(b"{}"))
    hostile.routes["/items"] = lambda seen, writer: writer.write(
        answer(200, data, {"Content-Encoding": coding})
    )
    error = await failure(build())
    assert isinstance(error, SystemicError) and error.code == "coding"
    assert hostile.seen[0].headers["accept-encoding"] == "gzip"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_G9_redirect_to_another_origin(
    build: Build, hostile: Hostile, other: Hostile, status: int
) -> None:
    hostile.json("/items", {}, status=status, headers={"Location": f"{other.url}/items"})
    error = await failure(build())
    assert isinstance(error, SystemicError) and error.code == "origin"
    assert other.seen == []


async def test_G9_redirect_on_the_same_origin_is_followed_with_the_credential(
    build: Build, hostile: Hostile
) -> None:
    hostile.json("/items", {}, status=307, headers={"Location": "/moved?x=1"})
    hostile.json("/moved", LINES)
    assert len(await build().read()) == 200
    assert hostile.seen[1].headers["authorization"] == f"Bearer {SECRET}"


@pytest.mark.parametrize(
    "location",
    [
        "file:///etc/passwd",
        "http://user:pass@{host}/items",
        "//evil.example/items",
        "https://{host}/items",
        "ftp://{host}/",
        "http://127.0.0.1:1/",
        "/ok\\@evil.example",
        "http://{host}:80@evil.example/",
    ],
)
async def test_G11_locations_that_are_not_followed(build: Build, hostile: Hostile, location: str) -> None:
    target = location.replace("{host}", f"127.0.0.1:{hostile.port}")
    hostile.json("/items", {}, status=302, headers={"Location": target})
    error = await failure(build())
    assert isinstance(error, SystemicError) and error.code == "origin"
    assert len(hostile.seen) == 1


async def test_G11_redirect_loop(build: Build, hostile: Hostile) -> None:
    hostile.json("/items", {}, status=301, headers={"Location": "/items"})
    error = await failure(build())
    assert error.code == "redirects" and len(hostile.seen) == 6


async def test_G12_retry_after_seconds_is_shared_and_waited(build: Build, hostile: Hostile) -> None:
    replies = [answer(429, {}, {"Retry-After": "7"}), answer(200, LINES)]
    hostile.routes["/items"] = lambda seen, writer: writer.write(replies.pop(0))
    rig = build({"limits": [{"id": "all", "rate": "10/1s", "burst": 3}]})
    assert len(await rig.read()) == 200
    assert rig.limits.blocked == [("all", 7.0)]
    assert rig.limits.acquired == [("all", 10, 1.0, 3)] * 2
    assert len(rig.clock.slept) == 1 and 7.0 <= rig.clock.slept[0] <= 8.0


async def test_G13_a_longer_wait_parks_the_run(build: Build, hostile: Hostile) -> None:
    hostile.json("/items", {}, status=429, headers={"Retry-After": "120"})
    rig = build()
    before = rig.clock.now_ms()
    error = await failure(rig)
    assert isinstance(error, RateLimited)
    assert before + 119_000 <= error.until_ms <= rig.clock.now_ms() + 121_000
    assert rig.clock.slept == []


async def test_G13_the_manifest_may_park_sooner(build: Build, hostile: Hostile) -> None:
    hostile.json("/items", {}, status=429, headers={"Retry-After": "5"})
    wait = {"header": "Retry-After", "cap": "2s"}
    rules = [{"when": {"status": [429]}, "class": "rate_limited", "action": "wait", "wait": wait}]
    assert isinstance(await failure(build({"errors": {"rules": rules}})), RateLimited)


@pytest.mark.parametrize("value", ["315360000", "Fri, 01 Jan 2100 00:00:00 GMT"])
async def test_G13_ten_years_are_capped_and_said(build: Build, hostile: Hostile, value: str) -> None:
    hostile.json("/items", {}, status=429, headers={"Retry-After": value})
    rig = build()
    error = await failure(rig)
    assert isinstance(error, RateLimited) and "asked again after 24 h" in error.message
    assert error.until_ms <= rig.clock.now_ms() + 86_401_000


async def test_G13_an_hour_is_an_hour(build: Build, hostile: Hostile) -> None:
    hostile.json("/items", {}, status=429, headers={"Retry-After": "3600"})
    rig = build()
    before = rig.clock.now_ms()
    error = await failure(rig)
    assert isinstance(error, RateLimited) and "asked to wait 60 min" in error.message
    assert error.until_ms >= before + 3_600_000


@pytest.mark.parametrize("value", ["-5", "soon", "Mon, 01 Jan 2001 00:00:00 GMT", "0", "", "1e99", "nan"])
async def test_G13_garbage_means_our_own_backoff(build: Build, hostile: Hostile, value: str) -> None:
    replies = [answer(429, {}, {"Retry-After": value}), answer(200, LINES)]
    hostile.routes["/items"] = lambda seen, writer: writer.write(replies.pop(0))
    rig = build()
    assert len(await rig.read()) == 200
    assert len(rig.clock.slept) == 1 and 0 < rig.clock.slept[0] < 2


async def test_G14_the_reset_header_that_the_manifest_names(build: Build, hostile: Hostile) -> None:
    rig = build(
        {
            "errors": {
                "rules": [
                    {
                        "when": {"status": [403], "header": {"name": "X-Left", "equals": "0"}},
                        "class": "rate_limited",
                        "action": "wait",
                        "wait": {"header": "X-Reset", "format": "epoch_s"},
                    }
                ]
            }
        }
    )
    reset = rig.clock.now_ms() // 1000 + 10
    replies = [answer(403, {}, {"X-Left": "0", "X-Reset": str(reset)}), answer(200, LINES)]
    hostile.routes["/items"] = lambda seen, writer: writer.write(replies.pop(0))
    assert len(await rig.read()) == 200
    assert 8 <= rig.clock.slept[0] <= 13
    hostile.json("/items", {"message": "no"}, status=403)
    assert isinstance(await failure(rig), CredentialError)


async def test_G14_an_endless_429_parks_the_run_at_the_end_of_the_budget(
    build: Build, hostile: Hostile
) -> None:
    hostile.json("/items", {}, status=429, headers={"Retry-After": "0"})
    rig = build({"errors": {"policy": {"budget": "2s"}}})
    assert isinstance(await failure(rig), RateLimited)
    assert len(hostile.seen) < 60


async def test_G15_5xx_storm_is_bounded(build: Build, hostile: Hostile) -> None:
    hostile.json("/items", {"message": "boom"}, status=503)
    error = await failure(build())
    assert isinstance(error, TransientError) and "boom" in error.message and "Tried 3 times" in error.message
    assert len(hostile.seen) == 3


async def test_G18_an_expired_page_cursor_is_said(build: Build, hostile: Hostile) -> None:
    def handle(seen: Seen, writer: asyncio.StreamWriter) -> None:
        if "after" in seen.query:
            writer.write(answer(410, {"message": "gone"}))
        else:
            writer.write(answer(200, {"data": [{"id": 1}], "next": "a"}))

    hostile.routes["/items"] = handle
    rig = build()
    error = await failure(rig)
    assert isinstance(error, SystemicError) and error.code == "cursor_expired" and "Reset" in error.hint
    # Resumed from the page that was stored, the same.
    assert (await failure_from(rig, rig.position)).code == "cursor_expired"


async def failure_from(rig: Any, position: Any) -> PlatintError:
    with pytest.raises(PlatintError) as caught:
        await rig.read(position)
    return caught.value


@pytest.mark.parametrize("status", [206, 304, 302, 201])
async def test_G19_odd_statuses_are_errors(build: Build, hostile: Hostile, status: int) -> None:
    hostile.routes["/items"] = lambda seen, writer: writer.write(
        answer(status, None if status == 304 else LINES)
    )
    assert isinstance(await failure(build()), SystemicError)


async def test_G20_no_cookies(build: Build, hostile: Hostile) -> None:
    pages = [{"data": [{"id": 1}], "next": "b"}, {"data": [{"id": 2}], "next": None}]
    hostile.json("/items", *pages, headers={"Set-Cookie": "session=abc; Path=/"})
    await build().read()
    assert len(hostile.seen) == 2 and "cookie" not in hostile.seen[1].headers


async def test_I9_a_large_text_is_kept_whole(build: Build, hostile: Hostile) -> None:
    data = gzip.compress(json.dumps({"data": [{"id": 1, "text": "x" * (16 << 20)}], "next": None}).encode())
    hostile.routes["/items"] = lambda seen, writer: writer.write(
        answer(200, data, {"Content-Encoding": "gzip"})
    )
    rig = build()
    assert len((await rig.read())[0]["text"]) == 16 << 20
    assert rig.pages[0].bytes == len(data)


async def test_N2_a_key_in_the_address_is_in_no_error(build: Build, hostile: Hostile) -> None:
    changes = {"auth": {"type": "api_key", "secret": "key", "in": "query", "name": "k"}}
    rig = build(changes)
    replies = [b"", answer(404, {}), answer(302, {}, {"Location": "//evil.example/"}), answer(200, b"<")]
    for reply in replies:
        hostile.raw("/items", reply)
        error = await failure(rig)
        assert SECRET not in repr(error) + error.sentence() + str(error.__cause__ or "")
    assert all(seen.query["k"] == SECRET for seen in hostile.seen)


async def test_N1_nothing_is_logged(build: Build, hostile: Hostile, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(0)
    hostile.json("/items", LINES)
    await build({"auth": {"type": "api_key", "secret": "key", "in": "query", "name": "api_key"}}).read()
    assert hostile.seen[0].query["api_key"] == SECRET
    assert SECRET not in caplog.text and "/items" not in caplog.text


async def test_a_cancelled_read_leaves_no_connection_behind(build: Build, hostile: Hostile) -> None:
    waiting = asyncio.Event()

    async def handle(seen: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 X\r\nContent-Length: 100\r\n\r\n{")
        waiting.set()
        await asyncio.sleep(3600)

    hostile.routes["/items"] = handle
    task = asyncio.create_task(build().read())
    await waiting.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_the_credential_stays_where_it_was_entered_for(build: Build, hostile: Hostile) -> None:
    with pytest.raises(ConfigError) as caught:
        build(origins=("https://api.example.com:443",))
    assert caught.value.code == "origin"
    build(origins=(hostile.url,))


async def test_plain_http_to_another_machine_is_refused(build: Build) -> None:
    with pytest.raises(ConfigError):
        build(base_url="http://api.example.com")


def test_F17_no_tls_secrets_are_written(tmp_path: Any) -> None:
    log = tmp_path / "keys"
    code = """
import asyncio, ssl, sys
from platint_tui.drivers.http.transport import tls_context
context = tls_context(None)
assert context.keylog_filename is None
assert context.verify_mode is ssl.CERT_REQUIRED and context.check_hostname
"""
    environment = {**os.environ, "SSLKEYLOGFILE": str(log), "SSL_CERT_FILE": "/nonexistent"}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
    assert not log.exists() or b"CLIENT" not in log.read_bytes()
