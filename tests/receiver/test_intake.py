"""Whose request it is, whether it is genuine, what is kept of it, and what its sender learns."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from receiver.support import (
    OTHER_SECRET,
    SECRET,
    Answered,
    Served,
    body_of,
    finish,
    headers_of,
    request,
    serve,
    until,
)

from platint_tui.core.errors import CredentialError, StoreError
from platint_tui.core.events import EventState, Rejection
from platint_tui.engine.receiver import batches, intake, sources
from platint_tui.store.events import REJECTIONS_KEPT


async def rejections(served: Served, profile: str | None = None) -> list[Rejection]:
    await served.receiver.flush()
    found = await served.store.events.rejections(profile)
    return [whole for item in found if (whole := await served.store.events.rejection(item.number))]


def set_state(served: Served, profile: str, state: str) -> None:
    """As another process does it."""
    path = Path(served.store.database.path)  # type: ignore[attr-defined]
    with sqlite3.connect(path) as database:
        database.execute(
            "INSERT INTO sources (profile, state, changed_ms) VALUES (?, ?, 0)"
            " ON CONFLICT (profile) DO UPDATE SET state = excluded.state",
            (profile, state),
        )
    database.close()


async def timed(served: Served, data: bytes) -> tuple[Answered, float]:
    loop = asyncio.get_running_loop()
    began = loop.time()
    return await served.send(data), loop.time() - began


async def test_J1_whoever_is_not_genuine_learns_nothing(served: Served) -> None:
    await served.profile("nosecret", webhook_secret="env:NOT_SET")
    refused = {
        "wrong secret": request(b"{}", secret="wrong"),
        "no signature": request(b"{}").replace(b"X-Hub-Signature-256", b"X-Other"),
        "another scheme": request(b"{}").replace(b"sha256=", b"sha1=", 1),
        "no secret": request(b"{}", path="/webhooks/nosecret"),
        "no such source": request(b"{}", path="/webhooks/unknown"),
        "no name": request(b"{}", path="/webhooks/"),
        "J5 garbage": request(b"\xff\xfe", more={"X-Hub-Signature-256": "%%%\xff"}),
    }
    answers = {name: await timed(served, data) for name, data in refused.items()}
    (first, _), *others = answers.values()
    assert first.status == 401
    assert first.body == b""
    assert set(first.headers) == {"date", "content-length"}
    for answer, _ in others:
        assert (answer.status, answer.headers.keys(), answer.body) == (401, first.headers.keys(), b"")
    # However long the check took, none is answered before the others would be.
    assert all(seconds >= intake.REFUSED_AFTER * 0.99 for _, seconds in answers.values())
    assert await served.events() == []
    causes = {(item.profile, item.cause) for item in await rejections(served)}
    assert causes == {
        ("gh", "bad_signature"),
        ("gh", "missing_header"),
        ("gh", "malformed"),
        ("nosecret", "no_secret"),
        ("", "unknown_source"),
    }


async def test_a_refusal_is_shown_step_by_step_and_without_what_would_let_somebody_in(served: Served) -> None:
    await served.profile("hook", "webhook", webhook_token="env:HOOK_SECRET")
    await served.send(
        request(
            b'{"echo": "%s"}' % SECRET.encode(),
            path="/webhooks/gh?token=abc&x=1",
            secret="wrong",
            more={"Authorization": "Bearer abcdefgh", "Cookie": "session=abcdefgh", "X-Api-Key": "k1"},
        )
    )
    await served.send(
        request(b"{}", path="/webhooks/hook?token=guess-1234", more={"X-Webhook-Token": "guess-1234"})
    )
    (rejection,) = await rejections(served, "gh")
    shown = dict(rejection.headers)
    assert shown["x-hub-signature-256"].startswith("sha256=")
    assert {shown[name] for name in ("authorization", "cookie", "x-api-key")} == {"•••"}
    assert rejection.target == "/webhooks/gh?token=•••&x=1"
    assert SECRET.encode() not in rejection.body
    assert [step.ok for step in rejection.steps][-1] is False
    assert "Signed is {body}" in " ".join(step.detail for step in rejection.steps)
    (rejection,) = await rejections(served, "hook")
    assert "guess" not in repr((rejection.headers, rejection.target, rejection.steps, rejection.message))


async def test_J3_a_request_that_comes_again_is_stored_once_and_accepted(served: Served) -> None:
    for _ in range(3):
        assert (await served.send(request(body_of(1), "again"))).status == 200
    (event,) = await served.events()
    assert event.seen == 3
    (source,) = await served.store.events.sources()
    assert (source.events, source.rejected) == (1, 0)


async def test_J9_the_same_request_on_many_connections_is_stored_once(served: Served) -> None:
    answers = await asyncio.gather(*(served.send(request(body_of(1), "same")) for _ in range(20)))
    assert {answer.status for answer in answers} == {200}
    (event,) = await served.events()
    assert event.seen == 20


async def test_J14_the_same_id_with_other_bytes_is_kept_as_well_and_somebody_is_told(served: Served) -> None:
    for body in (body_of(1), body_of(2), body_of(2), body_of(1)):
        assert (await served.send(request(body, "twice"))).status == 200
    first, second = await served.events()
    assert (first.event_id, first.body, first.seen) == ("twice", body_of(1), 2)
    assert (second.body, second.seen) == (body_of(2), 2)
    assert second.event_id.startswith("twice~")
    (alert,) = await served.store.alerts.list()
    assert (alert.subject, alert.times) == ("events of gh", 1)
    assert "twice" in alert.text


async def test_J11_an_event_without_an_id_is_known_by_its_bytes(served: Served) -> None:
    await served.profile("hook", "webhook", webhook_secret="env:HOOK_SECRET")
    for body in (b"no json", b"", b"no json"):
        data = request(body, path="/webhooks/hook").replace(b"X-GitHub-Delivery", b"X-Other")
        assert (await served.send(data)).status in (200, 202, 204)
    assert [(event.body, event.seen) for event in await served.events(profile="hook")] == [
        (b"no json", 2),
        (b"", 1),
    ]


async def test_J6_a_rotated_secret_is_noticed_with_the_first_request_that_uses_it(served: Served) -> None:
    assert (await served.send(request(body_of(1), "old"))).status == 200
    served.environ["HOOK_SECRET"] = OTHER_SECRET
    served.clock.later += sources.AGAIN_SECONDS
    assert (await served.send(request(body_of(2), "new", secret=OTHER_SECRET))).status == 200
    assert (await served.send(request(body_of(3), "old again"))).status == 401
    # The present and the previous secret are both good.
    served.environ["HOOK_PREVIOUS"] = SECRET
    await served.profile("gh", webhook_secret="env:HOOK_SECRET", webhook_secret_previous="env:HOOK_PREVIOUS")
    await until(lambda: "webhook_secret_previous" in served.receiver.receives("gh").profile.secrets)  # type: ignore[union-attr]
    for number, secret in enumerate((SECRET, OTHER_SECRET)):
        assert (await served.send(request(body_of(4), f"either{number}", secret=secret))).status == 200
    assert [event.verified_by for event in await served.events()] == [
        "webhook_secret",
        "webhook_secret",
        "webhook_secret_previous",
        "webhook_secret",
    ]


async def test_a_flood_of_wrong_requests_asks_for_the_secrets_now_and_then_only(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = 0
    present = served.context.present_secrets

    async def counting(*args: Any) -> Any:
        nonlocal asked
        asked += 1
        return await present(*args)

    object.__setattr__(served.context, "present_secrets", counting)
    await asyncio.gather(*(served.send(request(b"{}", f"f{n}", secret="wrong")) for n in range(40)))
    assert asked == 1
    assert (await served.send(request(b"{}", "good"))).status == 200
    (rejection,) = await rejections(served, "gh")
    assert rejection.times == 40
    (source,) = await served.store.events.sources()
    assert (source.events, source.rejected) == (1, 40)


async def test_the_rows_of_refusals_are_bounded(served: Served) -> None:
    for _ in range(REJECTIONS_KEPT + 20):
        await served.send(request(b"{}", method="PATCH"))
        served.clock.wall_ms += 61_000
        await served.receiver.flush()
    assert len(await served.store.events.rejections("gh", limit=1000)) == REJECTIONS_KEPT
    large = request(b"-." * 100_000, secret="wrong")  # no secret of another test
    await served.send(large)
    (rejection, *_) = await rejections(served, "gh")
    assert (len(rejection.body), rejection.truncated) == (64 * 1024, True)


async def test_secrets_that_cannot_be_asked_for_refuse_nothing_for_good(served: Served) -> None:
    async def locked(*args: Any) -> Any:
        raise CredentialError("The keyring is locked.", code="keyring_locked")

    present = served.context.present_secrets
    object.__setattr__(served.context, "present_secrets", locked)
    answer = await served.send(request(b"{}", "unknown"))
    assert (answer.status, answer.headers["retry-after"]) == (503, "10")
    (rejection,) = await rejections(served, "gh")
    assert "The keyring is locked." in rejection.message
    object.__setattr__(served.context, "present_secrets", present)
    served.clock.later += sources.AGAIN_SECONDS
    assert (await served.send(request(b"{}", "unknown"))).status == 200
    # What is known goes on being used while nobody can tell.
    object.__setattr__(served.context, "present_secrets", locked)
    served.clock.later += sources.FRESH_SECONDS
    assert (await served.send(request(b"{}", "known"))).status == 200
    assert await until(lambda: served.receiver.receives("gh").problem)  # type: ignore[union-attr]
    assert (await served.send(request(b"{}", "still known"))).status == 200


async def test_a_disabled_source_tells_its_senders_to_come_back(served: Served) -> None:
    set_state(served, "gh", "disabled")
    await until(lambda: served.receiver.receives("gh").state == "disabled")  # type: ignore[union-attr]
    answer = await served.send(request(b"{}"))
    assert (answer.status, answer.headers["retry-after"]) == (503, "300")
    assert [item.cause for item in await rejections(served, "gh")] == ["disabled"]
    forged = await served.send(request(b"{}", secret="wrong"))
    assert (forged.status, set(forged.headers)) == (401, {"date", "content-length"})
    disabled = [item for item in await rejections(served, "gh") if item.cause == "disabled"]
    assert [item.times for item in disabled] == [1], (
        "what is forged is not counted among what was refused for that"
    )
    assert await served.events() == []
    set_state(served, "gh", "paused")
    await until(lambda: served.receiver.receives("gh").state == "paused")  # type: ignore[union-attr]
    assert (await served.send(request(b"{}"))).status == 200


async def test_B2_what_cannot_be_stored_stays_with_its_sender(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (await served.send(request(body_of(1), "before"))).status == 200
    broken = True
    ingest = served.store.database.submit  # type: ignore[attr-defined]

    def submit(task: Any, done: Any) -> None:
        if broken:
            raise StoreError("The disk is full.", code="disk_full")
        ingest(task, done)

    monkeypatch.setattr(served.store.database, "submit", submit)  # type: ignore[attr-defined]
    answers = await asyncio.gather(*(served.send(request(body_of(n), f"during{n}")) for n in range(5)))
    assert {(item.status, item.headers["retry-after"]) for item in answers} == {(503, "10")}
    broken = False
    assert (await served.send(request(body_of(2), "after"))).status == 200
    assert [event.event_id for event in await served.events()] == ["before", "after"]


async def test_one_event_that_cannot_be_stored_does_not_take_others_along(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    take = batches.Batches._take

    def poisoned(self: batches.Batches) -> Any:
        events = take(self)
        if any(event.event_id == "poison" for event in events):
            raise sqlite3.DataError("string or blob too big")
        return events

    monkeypatch.setattr(batches.Batches, "_take", poisoned)
    ingest = served.store.events.ingest

    async def alone(events: Any) -> Any:
        if events[0].event_id == "poison":
            raise StoreError("It is too large.", code="too_big")
        return await ingest(events)

    monkeypatch.setattr(served.store.events, "ingest", alone)
    peer = await served.connect()
    peer.write(b"".join(request(body_of(1), name) for name in ("a", "poison", "b")))
    assert sorted([(await peer.answer()).status for _ in range(3)]) == [200, 200, 503]
    peer.close()
    assert {event.event_id for event in await served.events()} == {"a", "b"}


async def test_J15_a_name_that_is_not_ours_is_not_answered(served: Served) -> None:
    wrong = request(b"{}").replace(b"Host: 127.0.0.1", b"Host: evil.example")
    assert (await served.send(wrong)).status == 421
    (rejection,) = await rejections(served, "")
    assert rejection.cause == "wrong_host"
    assert "evil.example" in rejection.message
    for host in (b"localhost:1234", b"[::1]:80", b"192.168.1.5", b"127.0.0.1:8787"):
        assert (await served.send(request(b"{}").replace(b"Host: 127.0.0.1", b"Host: " + host))).status == 200


async def test_the_public_url_is_what_signatures_over_addresses_see(tmp_path: Path) -> None:
    served = await serve(tmp_path, public_url="https://hooks.example.com/in/")
    try:
        await served.listens()
        await served.profile("gh")
        seen: list[str] = []
        verify = intake.verify

        def spying(connector: Any, asked: Any, *rest: Any) -> Any:
            seen.append(asked.url)
            return verify(connector, asked, *rest)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(intake, "verify", spying)
            data = request(b"{}", path="/webhooks/gh?a=b%20c")
            answer = await served.send(data.replace(b"Host: 127.0.0.1", b"Host: hooks.example.com"))
            assert answer.status == 200
            await served.send(
                request(b"{}", more={"X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "http"})
            )
        assert set(seen) == {
            "https://hooks.example.com/in/webhooks/gh?a=b%20c",
            "https://hooks.example.com/in/webhooks/gh",
        }
    finally:
        await finish(served)


async def test_C1_C4_a_clock_that_jumped_is_named_and_loses_nothing(served: Served) -> None:
    await served.profile("hook", "webhook", webhook_secret="env:HOOK_SECRET")
    import base64
    import hmac

    moment = str(served.clock.now_ms() // 1000)
    signed = f"msg_1.{moment}.{{}}".encode()
    key = SECRET.encode()
    signature = "v1," + base64.b64encode(hmac.digest(key, signed, "sha256")).decode()
    headers = {"webhook-id": "msg_1", "webhook-timestamp": moment, "webhook-signature": signature}
    served.environ["HOOK_SECRET"] = "whsec_" + base64.b64encode(key).decode()
    data = request(b"{}", path="/webhooks/hook", more=headers)
    served.clock.wall_ms = 400 * 86_400_000
    assert (await served.send(data)).status == 401
    served.clock.wall_ms = -400 * 86_400_000
    assert (await served.send(data)).status == 401
    served.clock.wall_ms = 0
    assert (await served.send(data)).status in (200, 202, 204)
    messages = {item.cause: item.message for item in await rejections(served, "hook")}
    assert set(messages) == {"too_old", "in_future"}
    assert all("our clock says" in text for text in messages.values())


async def test_C2_order_of_arrival_survives_a_clock_that_goes_back(served: Served) -> None:
    for number in range(3):
        served.clock.wall_ms = -number * 86_400_000
        assert (await served.send(request(body_of(number), f"n{number}"))).status == 200
    assert [event.event_id for event in await served.events()] == ["n0", "n1", "n2"]
    (source,) = await served.store.events.sources()
    assert source.events == 3


async def test_handshakes_are_answered_and_those_that_are_verified_are_stored(served: Served) -> None:
    await served.profile("slack", "slack", signing_secret="env:HOOK_SECRET")
    import hmac

    body = json.dumps({"type": "url_verification", "challenge": "abc123", "token": "x"}).encode()
    moment = str(served.clock.now_ms() // 1000)
    signature = "v0=" + hmac.digest(SECRET.encode(), f"v0:{moment}:".encode() + body, "sha256").hex()
    signed = {"X-Slack-Request-Timestamp": moment, "X-Slack-Signature": signature}
    answer = await served.send(request(body, path="/webhooks/slack", more=signed))
    assert answer.status == 200
    assert b"abc123" in answer.body
    unsigned = await served.send(request(body, path="/webhooks/slack"))
    assert b"abc123" not in unsigned.body
    assert [event.state for event in await served.events(profile="slack")] == [EventState.HANDSHAKE]


async def test_the_probe_of_the_public_address_is_answered(served: Served) -> None:
    from platint_tui.drivers.http.webhooks.reaching import proof

    answer = await served.send(b"GET /webhooks/_check?nonce=abc HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert (answer.status, answer.body.decode()) == (200, proof(served.context.probe_key, "abc"))


async def test_a_large_body_is_judged_beside_the_others(served: Served) -> None:
    body = body_of(1, size=intake.LARGE)
    assert (await served.send(request(body, "large"))).status == 200
    assert (await served.send(request(body, "forged", secret="wrong"))).status == 401
    (event,) = await served.events()
    assert (event.size, event.body == body) == (len(body), True)
    assert headers_of(body, "large")["X-Hub-Signature-256"] == dict(event.headers)["x-hub-signature-256"]
