"""Certificates and key sets are fetched from where the manifest allows, once, and kept for a while."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from webhooks.authority import authority, certificate
from webhooks.senders import NOW, connector_of
from webhooks.test_verify_certificates import CERT_URL, PAYPAL_NAME, PEM_URL, WEBHOOK_ID, message, paypal, sns

from platint_tui.core.webhooks import Cause
from platint_tui.drivers.http.webhooks import Certificates, needs, verify
from platint_tui.drivers.http.webhooks import certificates as module

CHAIN = certificate(PAYPAL_NAME)
KEYS = "https://www.googleapis.com/oauth2/v3/certs"


class Hands:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.time = 1000.0

    def now_ms(self) -> int:
        return NOW * 1000

    def monotonic(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("nothing waits here")


class Server(httpx.AsyncBaseTransport):
    """Answers by address and keeps what was asked; the wire itself is tested elsewhere."""

    def __init__(self, answers: dict[str, Any]) -> None:
        self.answers = answers
        self.asked: list[httpx.Request] = []
        self.closed = False
        self.gate: asyncio.Event | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        if self.gate is not None:
            await self.gate.wait()
        answer = self.answers.get(str(request.url), 404)
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, int):
            return httpx.Response(answer, headers={"location": "https://api.paypal.com/elsewhere"})
        if isinstance(answer, httpx.Response):
            return answer
        return httpx.Response(200, stream=_Stream(answer))

    async def aclose(self) -> None:
        self.closed = True


class _Stream(httpx.AsyncByteStream):
    def __init__(self, data: bytes) -> None:
        self.data = data

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for start in range(0, len(self.data), 1000):
            yield self.data[start : start + 1000]


def fetcher(
    answers: dict[str, Any], vendor: str = "paypal", root: bytes = b""
) -> tuple[Certificates, Server, Hands]:
    server, clock = Server(answers), Hands()
    return Certificates(connector_of(vendor), clock, server, root or authority()), server, clock


async def test_what_a_request_needs_is_fetched_and_verifies_it() -> None:
    known, server, _ = fetcher({CERT_URL: CHAIN})
    request, connector = paypal(), connector_of("paypal")
    before = verify(connector, request, {"webhook_id": WEBHOOK_ID}, NOW, known, authorities=authority())
    assert before.cause == Cause.NO_CERTIFICATE
    await known.fetch(needs(connector, request))
    after = verify(connector, request, {"webhook_id": WEBHOOK_ID}, NOW, known, authorities=authority())
    assert after.accepted
    assert [str(item.url) for item in server.asked] == [CERT_URL]
    assert server.asked[0].headers["accept-encoding"] == "identity"
    await known.aclose()
    assert server.closed


async def test_it_is_kept_and_asked_for_again_after_an_hour() -> None:
    known, server, clock = fetcher({CERT_URL: CHAIN})
    for _ in range(3):
        await known.fetch((CERT_URL,))
    assert len(server.asked) == 1
    clock.time += module.FRESH + 1
    await known.fetch((CERT_URL,))
    assert len(server.asked) == 2


async def test_while_the_address_cannot_be_reached_what_is_known_is_used() -> None:
    known, server, clock = fetcher({CERT_URL: CHAIN})
    await known.fetch((CERT_URL,))
    server.answers[CERT_URL] = httpx.ConnectError("no route")
    clock.time += module.FRESH + 1
    await known.fetch((CERT_URL,))
    assert known(CERT_URL) is not None
    assert known.fault(CERT_URL) == "no route"
    clock.time += module.KEPT
    assert known(CERT_URL) is None


async def test_a_failure_is_not_repeated_at_once() -> None:
    known, server, clock = fetcher({CERT_URL: 500})
    for _ in range(3):
        await known.fetch((CERT_URL,))
    assert len(server.asked) == 1
    assert known.fault(CERT_URL) == "the answer was HTTP 500"
    server.answers[CERT_URL] = CHAIN
    clock.time += module.AGAIN
    await known.fetch((CERT_URL,))
    assert (known(CERT_URL), known.fault(CERT_URL)) == (CHAIN, "")


async def test_a_newer_key_set_is_asked_for_out_of_turn_but_not_for_every_request() -> None:
    known, server, clock = fetcher({KEYS: b'{"keys": []}'}, "gcp")
    await known.fetch((KEYS,))
    await known.fetch((KEYS,), again=True)
    assert len(server.asked) == 1
    clock.time += module.AGAIN
    server.answers[KEYS] = b'{"keys": [1]}'
    await known.fetch((KEYS,))
    assert len(server.asked) == 1
    await known.fetch((KEYS,), again=True)
    assert known(KEYS) == b'{"keys": [1]}'


BAD: list[tuple[Callable[[], Any], str]] = [
    (lambda: 302, "HTTP 302"),
    (lambda: 404, "HTTP 404"),
    (lambda: 204, "HTTP 204"),
    (lambda: b"x" * (module.MAX_SIZE + 1), "64 KiB"),
    (lambda: b"no certificate", "no certificate"),
    (lambda: httpx.Response(200, headers={"content-encoding": "gzip"}, stream=_Stream(b"x")), "compressed"),
    (lambda: httpx.ReadTimeout("too slow"), "too slow"),
    (lambda: httpx.ConnectError(""), "ConnectError"),
    (lambda: TimeoutError(), "no answer within"),
    (lambda: OSError("broken"), "broken"),
]


@pytest.mark.parametrize(("answer", "fault"), BAD)
async def test_what_is_not_used_is_told(answer: Callable[[], Any], fault: str) -> None:
    known, server, _ = fetcher({CERT_URL: answer()})
    await known.fetch((CERT_URL,))
    assert known(CERT_URL) is None
    assert fault in known.fault(CERT_URL)
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    "address",
    [
        "http://api.paypal.com/x",
        "https://evil.example/x",
        "https://api.paypal.com:8443/x",
        "https://a@api.paypal.com/",
    ],
)
async def test_another_address_is_not_asked(address: str) -> None:
    known, server, _ = fetcher({address: CHAIN})
    await known.fetch((address,))
    assert (known(address), server.asked) == (None, [])
    assert "paypal.com" in known.fault(address)


async def test_one_question_for_all_who_wait_even_when_one_gives_up() -> None:
    known, server, _ = fetcher({CERT_URL: CHAIN})
    server.gate = asyncio.Event()
    waiting = [asyncio.create_task(known.fetch((CERT_URL,))) for _ in range(20)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    waiting[0].cancel()
    server.gate.set()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError)
    assert results[1:] == [None] * 19
    assert len(server.asked) == 1
    assert known(CERT_URL) == CHAIN


async def test_whoever_sends_requests_does_not_make_us_ask_without_end() -> None:
    known, server, clock = fetcher({CERT_URL: CHAIN})
    await known.fetch((CERT_URL,))
    for number in range(200):
        clock.time += 0.01
        await known.fetch((f"https://api.paypal.com/{number}",))
    assert len(server.asked) == module.PER_MINUTE
    assert "within a minute" in known.fault("https://api.paypal.com/199")
    assert known(CERT_URL) == CHAIN
    assert len(known._entries) <= module.MAX_KEPT
    clock.time += 61
    await known.fetch(("https://api.paypal.com/new",))
    assert len(server.asked) == module.PER_MINUTE + 1


async def test_a_certificate_of_the_issuer_that_was_left_out_is_fetched_by_https() -> None:
    middle = authority("Issuer between", "Root of the tests")
    leaf = certificate(
        PAYPAL_NAME, issuer="Issuer between", issuer_at="http://cacerts.digicert.com/between.crt"
    )
    known, server, _ = fetcher({CERT_URL: leaf, "https://cacerts.digicert.com/between.crt": middle})
    await known.fetch((CERT_URL,))
    assert [str(item.url) for item in server.asked] == [CERT_URL, "https://cacerts.digicert.com/between.crt"]
    verdict = verify(
        connector_of("paypal"), paypal(), {"webhook_id": WEBHOOK_ID}, NOW, known, authorities=authority()
    )
    assert verdict.accepted


async def test_an_issuer_elsewhere_is_not_asked_for() -> None:
    leaf = certificate(PAYPAL_NAME, issuer="Issuer between", issuer_at="http://evil.example/between.crt")
    known, server, _ = fetcher({CERT_URL: leaf})
    await known.fetch((CERT_URL,))
    assert len(server.asked) == 1
    assert known(CERT_URL) == leaf


async def test_sns_certificates_are_taken_as_they_are() -> None:
    pem = certificate("sns.amazonaws.com", key="sns", issuer="Nobody")
    known, _, _ = fetcher({PEM_URL: pem}, "aws")
    request = sns(message())
    await known.fetch(needs(connector_of("aws"), request))
    topic = {"topic_arn": "arn:aws:sns:eu-central-1:123456789012:orders"}
    assert verify(connector_of("aws"), request, topic, NOW, known).accepted
