"""Events on their way to targets that work, refuse, break and come back."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import Any

import pytest
from aiohttp import web
from engine import hooks
from engine.hooks import Webhooks, deliveries, settled
from engine.peer import Peer
from engine.support import Installation, until

from platint_tui.core.events import DeliveryState, SourceState
from platint_tui.core.gaps import GapKind, GapState
from platint_tui.core.states import DeadLetterState, RunState
from platint_tui.engine.targetbreaker import OPENS_AFTER


@pytest.fixture
async def webhooks(installation: Installation, peer: Peer) -> Webhooks:
    await hooks.prepare(installation, peer)
    return Webhooks(installation)


def down(request: web.Request) -> web.Response:
    return web.Response(status=503)


def works(request: web.Request) -> None:
    return None


async def test_every_integration_of_a_source_gets_its_own_delivery(
    installation: Installation, peer: Peer, webhooks: Webhooks
) -> None:
    """Two integrations, two targets; a third stream takes the events themselves; what nobody wants says so."""
    await installation.integrate(hooks.integration("to-peer", {"items": "sink"}))
    await installation.integrate(
        hooks.integration("to-table", {"items": "items", "events": "log"}, to="sqlite")
    )
    await webhooks.items(3)
    await webhooks.send("note.made", {"id": "x"})
    async with installation.engine():
        found = await settled(installation, 10)
    assert sorted((item.integration, item.stream) for item in found) == sorted(
        [("to-peer", "items")] * 3 + [("to-table", "items")] * 3 + [("to-table", "events")] * 4
    )
    assert sorted(body["n"] for _, body in peer.sent) == [0, 1, 2]
    assert sorted(key for key, _ in peer.sent) == sorted(
        item.idempotency_key for item in found if item.integration == "to-peer"
    )
    assert {row["id"]: row["n"] for row in installation.table("items")} == {"i0": 0, "i1": 1, "i2": 2}
    log = installation.table("log")
    assert [row["type"] for row in log] == ["item.created"] * 3 + ["note.made"]
    assert all(row["_key"] == f'["evt_{number}"]' for number, row in enumerate(log, 1))
    assert {item.attempts for item in found} == {1}
    lags = await installation.store.metrics.lags(0)
    assert lags["to-peer/items"].count == 3


async def test_what_nobody_wants_is_marked(
    installation: Installation, peer: Peer, webhooks: Webhooks
) -> None:
    await installation.integrate(hooks.integration("to-peer", {"items": "sink"}))
    event = await webhooks.send("other.thing", {"id": "x"})
    async with installation.engine():

        async def routed() -> bool:
            return event_state(installation, event) == "unwanted"

        await until(routed)
    assert not await deliveries(installation)


def event_state(installation: Installation, event: str) -> str:
    with contextlib.closing(sqlite3.connect(installation.paths.database)) as connection:
        return str(connection.execute("SELECT state FROM events WHERE id = ?", (event,)).fetchone()[0])


async def test_a_later_event_of_a_record_never_overtakes_an_earlier_one(
    installation: Installation, peer: Peer, webhooks: Webhooks
) -> None:
    """The first version of each record fails at first; versions of one record arrive in order all the same."""
    await installation.integrate(hooks.integration("ordered", {"items": "sink"}, strategy="retry"))
    for version in range(4):
        for key in range(5):
            await webhooks.send("item.updated", {"id": f"i{key}", "n": version})
    failed: set[str] = set()

    async def write(request: web.Request) -> web.Response | None:
        body = await request.json()
        if body["n"] % 2 == 0 and f"{body}" not in failed:
            failed.add(f"{body}")
            return web.Response(status=503)
        return None

    taken: list[tuple[str, int]] = []

    async def noted(request: web.Request) -> web.Response | None:
        answer = await write(request)
        if answer is None:
            body = await request.json()
            taken.append((body["id"], body["n"]))
        return answer

    peer.write = noted
    async with installation.engine():
        await settled(installation, 20)
    for key in range(5):
        assert [n for name, n in taken if name == f"i{key}"] == [0, 1, 2, 3]


async def test_an_event_that_comes_late_overwrites_nothing_that_happened_after_it(
    installation: Installation, peer: Peer, webhooks: Webhooks
) -> None:
    """The field of the stream's cursor does not change here, as Stripe's `created`: the table's guard cannot tell."""
    await installation.integrate(hooks.integration("late", {"items": "items"}, to="sqlite"))
    await webhooks.send("item.updated", {"id": "a", "n": 2, "at": 7}, time=2_000)
    await webhooks.send("item.deleted", {"id": "b", "n": 2, "at": 7}, time=2_000)
    async with installation.engine():
        await settled(installation, 2)
        await webhooks.send("item.updated", {"id": "a", "n": 1, "at": 7}, time=1_000)
        await webhooks.send("item.updated", {"id": "b", "n": 1, "at": 7}, time=1_000)
        await webhooks.send("item.updated", {"id": "c", "n": 1, "at": 7}, time=1_000)
        found = await settled(installation, 5, DeliveryState.DONE, DeliveryState.SUPERSEDED)
    assert [item.state for item in found].count(DeliveryState.SUPERSEDED) == 2
    rows = {row["id"]: row for row in installation.table("items")}
    assert rows["a"]["n"] == 2 and rows["c"]["n"] == 1
    assert "b" not in rows or rows["b"]["_deleted"]


async def test_what_a_dead_engine_had_on_its_way_ends_with_its_integration(
    installation: Installation, peer: Peer, webhooks: Webhooks
) -> None:
    await installation.integrate(hooks.integration("short", {"items": "sink"}))
    peer.write = down
    await webhooks.items(2)
    async with installation.engine():
        await until(installation.store.deliveries.waiting)
    claimed: list[Any] = []

    async def taken() -> bool:
        claimed.extend(await installation.store.deliveries.claim("short", "items", "an engine that died", 1))
        return bool(claimed)

    await until(taken)
    assert await installation.store.integrations.remove("short")
    async with installation.engine():
        found = await settled(installation, 2, DeliveryState.SKIPPED)
    told = {item.number: item.message for item in found}
    assert "whether it arrived is not known" in told.pop(claimed[0].delivery.number)
    assert "removed before" in next(iter(told.values()))
    assert not await installation.store.deliveries.holds()


async def test_record_faults_are_dead_at_once_and_a_later_version_supersedes_them(
    installation: Installation, peer: Peer, webhooks: Webhooks
) -> None:
    await installation.integrate(hooks.integration("strict", {"items": "sink"}, strategy="retry"))

    async def write(request: web.Request) -> web.Response | None:
        body = await request.json()
        return web.json_response({"code": "odd"}, status=422) if body.get("n") == 13 else None

    peer.write = write
    bad = await webhooks.send("item.updated", {"id": "a", "n": 13})
    await webhooks.send("item.updated", {"n": 1})  # no key
    await webhooks.send("item.updated", "text")  # no record
    async with installation.engine():
        await settled(installation, 3, DeliveryState.DEAD)
        letters = {item.code: item for item in await installation.letters()}
        assert set(letters) == {"odd", "key", "not_a_record"}
        assert {item.direction for item in letters.values()} == {"event"}
        odd = letters["odd"]
        (delivery,) = await deliveries(installation, event=bad)
        assert odd.origin == {"event": bad, "delivery": delivery.number}
        assert delivery.dead_letter == odd.id
        assert odd.idempotency_key == delivery.idempotency_key
        assert len(peer.sent) == 1
        await webhooks.send("item.updated", {"id": "a", "n": 14})
        await settled(installation, 4, DeliveryState.DEAD, DeliveryState.DONE)
    after = await installation.store.dead_letters.get(odd.id)
    assert after is not None
    assert after.state == DeadLetterState.SUPERSEDED


async def test_a_dead_letter_of_an_event_is_replayed_like_any_other(
    installation: Installation, peer: Peer, webhooks: Webhooks
) -> None:
    await installation.integrate(hooks.integration("strict", {"items": "sink"}))
    peer.write = lambda request: web.json_response({"code": "odd"}, status=422)
    await webhooks.items(1)
    async with installation.engine():
        (delivery,) = await settled(installation, 1, DeliveryState.DEAD)
        peer.write = works
        (letter,) = await installation.letters()
        answer = await installation.call("replay", dead_letters=[letter.id])
        assert answer.state == "done"

        async def gone() -> bool:
            return (await installation.letters())[0].state == DeadLetterState.SUCCEEDED

        await until(gone)
        assert {key for key, _ in peer.sent} == {delivery.idempotency_key}
        (delivery,) = await settled(installation, 1)
        assert delivery.message == "A replay of its dead letter delivered it." and not delivery.code


async def test_K1_a_target_that_dies_halfway_is_left_alone_and_gets_everything_when_it_is_back(
    installation: Installation, peer: Peer, webhooks: Webhooks
) -> None:
    await installation.integrate(hooks.integration("steady", {"items": "sink"}, strategy="retry"))
    taken: set[str] = set()
    dead = False

    async def write(request: web.Request) -> web.Response | None:
        nonlocal dead
        dead = dead or len(taken) == 20
        if dead:
            return web.Response(status=503)
        taken.add((await request.json())["id"])
        return None

    peer.write = write
    await webhooks.items(60)
    async with installation.engine():

        async def opened() -> bool:
            health = await installation.store.deliveries.health()
            return bool(health) and health[0].profile == "sink"

        await until(opened)
        assert len(taken) == 20
        peer.write = works
        peer.sent.clear()
        await settled(installation, 60)
        assert len(peer.sent) == 40
        assert not await installation.store.deliveries.health()
    assert not await installation.letters()


async def test_what_was_taken_with_those_that_opened_the_breaker_is_not_sent(
    installation: Installation, peer: Peer, webhooks: Webhooks
) -> None:
    manifest = installation.paths.connectors / "peer.yaml"
    manifest.write_text(manifest.read_text().replace("base: 1ms, factor: 1, cap: 2ms", "base: 1s, cap: 1s"))
    await installation.integrate(hooks.integration("calm", {"items": "sink"}))
    peer.write = down
    await webhooks.items(100)
    async with installation.engine():

        async def opened() -> bool:
            found = await deliveries(installation)
            rests = len(found) == 100 and all(item.state is DeliveryState.PENDING for item in found)
            return rests and bool(await installation.store.deliveries.health())

        await until(opened)
    # Five opened it, and others were on their way meanwhile: 8 are let through at a time.
    assert OPENS_AFTER <= len(peer.sent) <= OPENS_AFTER + 8
    tried = sum(item.attempts for item in await deliveries(installation))
    assert tried == len(peer.sent)


async def test_the_dead_letter_strategy_gives_up_after_the_policy_one_record_at_a_time(
    installation: Installation, peer: Peer, webhooks: Webhooks
) -> None:
    await installation.integrate(hooks.integration("mortal", {"items": "sink"}, strategy="dead_letter"))

    async def write(request: web.Request) -> web.Response | None:
        return web.Response(status=503) if (await request.json())["n"] == 3 else None

    peer.write = write
    await webhooks.items(6)
    async with installation.engine():
        found = await settled(installation, 6, DeliveryState.DONE, DeliveryState.DEAD)
    (dead,) = [item for item in found if item.state is DeliveryState.DEAD]
    assert (dead.record_key, dead.attempts) == ('["i3"]', 2)
    (letter,) = await installation.letters()
    assert (letter.direction, letter.code, letter.error_class) == ("event", "503", "transient")
    assert len(peer.sent) == 7


async def test_the_alert_strategy_also_tells_somebody_once_and_counts(
    installation: Installation, peer: Peer, webhooks: Webhooks
) -> None:
    await installation.integrate(hooks.integration("loud", {"items": "sink"}, strategy="alert"))
    peer.write = lambda request: web.json_response({"code": "odd"}, status=422)
    await webhooks.items(3)
    async with installation.engine():
        await settled(installation, 3, DeliveryState.DEAD)
    (alert,) = await installation.store.alerts.list()
    assert (alert.subject, alert.times) == ("loud/items", 3)
    assert "could not be delivered" in alert.text
    await installation.store.alerts.acknowledge(alert.number)
    assert not await installation.store.alerts.list()


async def test_fallback_takes_what_the_target_does_not_and_is_drained_in_order(
    installation: Installation, peer: Peer, webhooks: Webhooks
) -> None:
    await installation.integrate(
        hooks.integration("spared", {"items": "sink"}, strategy="fallback", fallback="sqlite")
    )
    peer.write = down
    for version in range(3):
        for key in range(8):
            await webhooks.send("item.updated", {"id": f"i{key}", "n": version, "at": version})
    async with installation.engine():
        found = await settled(installation, 24, DeliveryState.FALLBACK)
        assert all(item.fallback_ms for item in found)
        with contextlib.closing(sqlite3.connect(hooks.spare(installation))) as connection:
            assert dict(connection.execute("SELECT id, n FROM sink")) == {f"i{key}": 2 for key in range(8)}
        peer.sent.clear()
        peer.write = works
        await settled(installation, 24)
    for key in range(8):
        assert [body["n"] for _, body in peer.sent if body["id"] == f"i{key}"] == [0, 1, 2]
    assert not await installation.letters()


async def test_K2_K3_a_lost_answer_is_unknown_where_a_repeat_would_do_harm(
    installation: Installation, peer: Peer, webhooks: Webhooks
) -> None:
    await installation.integrate(hooks.integration("post", {"items": "mailbox"}, strategy="retry"))

    def abort(request: web.Request) -> None:
        assert request.transport is not None
        request.transport.abort()

    peer.write = abort
    await webhooks.items(1)
    async with installation.engine():
        await settled(installation, 1, DeliveryState.DEAD)
    (letter,) = await installation.letters()
    assert letter.state == DeadLetterState.UNKNOWN
    assert len(peer.sent) == 1


async def test_a_refused_credential_holds_the_route_instead_of_filling_the_inbox(
    installation: Installation, peer: Peer, webhooks: Webhooks
) -> None:
    await installation.integrate(hooks.integration("locked", {"items": "sink"}))
    peer.write = lambda request: web.json_response({}, status=401)
    await webhooks.items(20)
    async with installation.engine():

        async def held() -> Any:
            return await installation.store.deliveries.holds()

        (hold,) = await until(held)
        assert (hold.integration, hold.stream) == ("locked", "items")
        assert "Give another key" in hold.message
        waiting = await deliveries(installation)
        assert {item.state for item in waiting} <= {DeliveryState.PENDING, DeliveryState.SENDING}
        peer.write = works
        await settled(installation, 20)

        async def released() -> bool:
            return not await installation.store.deliveries.holds()

        await until(released)
    assert not await installation.letters()


@pytest.mark.parametrize("status", [429, 503])
async def test_a_platform_that_says_when_to_come_back_parks_the_route(
    installation: Installation, peer: Peer, webhooks: Webhooks, status: int
) -> None:
    await installation.integrate(hooks.integration("slow", {"items": "sink"}))
    peer.write = lambda request: web.Response(status=status, headers={"Retry-After": "3600"})
    await webhooks.items(5)
    async with installation.engine():

        async def held() -> Any:
            return await installation.store.deliveries.holds()

        (hold,) = await until(held)
    assert hold.code == "rate_limited"
    assert hold.until_ms - hold.since_ms > 3_500_000
    found = await deliveries(installation)
    assert {(item.state, item.attempts) for item in found} == {(DeliveryState.PENDING, 0)}


async def test_a_removed_integration_ends_what_waits_with_a_reason(
    installation: Installation, peer: Peer, webhooks: Webhooks
) -> None:
    await installation.integrate(hooks.integration("gone", {"items": "sink"}, strategy="retry"))
    peer.write = down
    await webhooks.items(3)
    async with installation.engine():

        async def tried() -> bool:
            return any(item.attempts for item in await deliveries(installation))

        await until(tried)
    await installation.store.integrations.remove("gone")
    async with installation.engine():
        found = await settled(installation, 3, DeliveryState.SKIPPED)
    assert {item.message for item in found} == {
        "The integration was removed before this event was delivered."
    }


async def test_a_profile_that_is_gone_holds_what_waits_and_says_so(
    installation: Installation, peer: Peer, webhooks: Webhooks
) -> None:
    await installation.integrate(hooks.integration("lost", {"items": "sink"}))
    sink = await installation.store.profiles.get("sink")
    assert sink is not None
    await installation.store.profiles.remove("sink")
    await webhooks.items(2)
    async with installation.engine():

        async def held() -> Any:
            return await installation.store.deliveries.holds()

        (hold,) = await until(held)
        assert "There is no profile 'sink'" in hold.message
        await installation.store.profiles.put(sink)
        await settled(installation, 2)


async def test_partial_events_and_ignored_deletes_are_skipped_with_the_reason(
    installation: Installation, peer: Peer, webhooks: Webhooks
) -> None:
    await installation.integrate(
        hooks.integration("careful", {"items": "items"}, to="sqlite", extra=", deletes: ignore")
    )
    await webhooks.items(1)
    await webhooks.send("item.touched", {"id": "i0"})
    await webhooks.send("item.deleted", {"id": "i0"})
    async with installation.engine():
        found = await settled(installation, 3, DeliveryState.DONE, DeliveryState.SKIPPED)
    assert [item.code for item in found] == ["", "partial", "deletes_ignored"]
    (row,) = installation.table("items")
    assert row["n"] == 0


async def test_deletes_are_applied(installation: Installation, peer: Peer, webhooks: Webhooks) -> None:
    await installation.integrate(hooks.integration("mirror", {"items": "items"}, to="sqlite"))
    await installation.integrate(hooks.integration("no-deletes", {"items": "sink"}))
    await webhooks.items(2)
    await webhooks.send("item.deleted", {"id": "i0"})
    async with installation.engine():
        found = await settled(installation, 6, DeliveryState.DONE, DeliveryState.DEAD)
    assert [row["id"] for row in installation.table("items")] == ["i1"]
    assert [item.code for item in found if item.state is DeliveryState.DEAD] == ["delete_unsupported"]


async def test_J10_webhook_and_poll_feed_one_table_and_the_newer_version_stays(
    installation: Installation, peer: Peer, webhooks: Webhooks
) -> None:
    name = await installation.integrate(
        hooks.integration("both", {"items": "items"}, to="sqlite", kind="full")
    )
    await webhooks.send("item.updated", {"id": "a", "n": 2, "at": 200})
    await webhooks.send("item.updated", {"id": "b", "n": 1, "at": 100})
    async with installation.engine():
        await settled(installation, 2)
        peer.pages["items"] = [[{"id": "a", "n": 1, "at": 100}, {"id": "b", "n": 2, "at": 200}]]
        run = await installation.run(name)
        assert run.state == RunState.SUCCEEDED
        assert {row["id"]: row["n"] for row in installation.table("items")} == {"a": 2, "b": 2}
        assert (run.streams[0].written, run.streams[0].superseded) == (1, 1)
        await webhooks.send("item.updated", {"id": "b", "n": 1, "at": 150})
        await webhooks.send("item.updated", {"id": "c", "n": 1, "at": 150})
        found = await settled(installation, 4, DeliveryState.DONE, DeliveryState.SUPERSEDED)
    assert {row["id"]: row["n"] for row in installation.table("items")} == {"a": 2, "b": 2, "c": 1}
    assert [item.state.value for item in found] == ["done", "done", "superseded", "done"]


async def test_a_page_that_was_asked_for_before_an_event_came_does_not_overwrite_it(
    installation: Installation, peer: Peer, webhooks: Webhooks
) -> None:
    """The cursor field of many platforms is when a record was made: all its versions are equal by that."""
    name = await installation.integrate(
        hooks.integration("both", {"items": "items"}, to="sqlite", kind="full")
    )
    peer.pages["items"] = [[{"id": "a", "n": 1, "at": 100}, {"id": "b", "n": 1, "at": 100}]]

    async def overtaken(request: web.Request) -> None:
        await webhooks.send("item.updated", {"id": "a", "n": 2, "at": 100})
        await settled(installation, 2)

    await webhooks.send("item.updated", {"id": "b", "n": 0, "at": 100})
    async with installation.engine():
        await settled(installation, 1)
        peer.read = overtaken
        run = await installation.run(name)
    assert run.state == RunState.SUCCEEDED
    assert {row["id"]: row["n"] for row in installation.table("items")} == {"a": 2, "b": 1}
    assert (run.streams[0].read, run.streams[0].written, run.streams[0].superseded) == (2, 1, 1)


async def test_an_integration_of_webhooks_alone_has_nothing_to_run(
    installation: Installation, peer: Peer, webhooks: Webhooks
) -> None:
    await installation.integrate(hooks.integration("fed", {"items": "sink"}))
    await installation.integrate(
        hooks.integration("full", {"items": "items", "events": "log"}, to="sqlite", kind="full")
    )
    peer.fill(1)
    async with installation.engine():
        answer = await installation.call("run", integration="fed", streams=[])
        assert answer.state == "failed"
        error = answer.error or {}
        assert error["code"] == "fed_by_events"
        assert error["message"] == (
            "There is nothing to run: items of 'fed' is fed by the webhooks of 'hooks', as they come."
        )
        run = await installation.run("full")
    assert [item.stream for item in run.streams] == ["items"]


async def test_a_paused_source_keeps_its_events_and_delivers_them_when_it_goes_on(
    installation: Installation, peer: Peer, webhooks: Webhooks
) -> None:
    await installation.integrate(hooks.integration("calm", {"items": "sink"}))
    await installation.profile("other", "hooks", {"base_url": peer.url})
    other = hooks.integration("other", {"items": "sink"}).replace("profile: hooks", "profile: other")
    await installation.integrate(other)
    await installation.store.sources.set_state("hooks", SourceState.PAUSED)
    await webhooks.items(5)
    await webhooks.send("item.created", {"id": "x"}, profile="other")
    async with installation.engine():
        # What came later, from another source, is through; what is paused is not even routed.
        await settled(installation, 1)
        await installation.store.sources.set_state("hooks", SourceState.ACTIVE)
        await settled(installation, 6)
    (gap,) = await installation.store.gaps.list(profile="hooks")
    assert (gap.kind, gap.state) == (GapKind.PAUSED, GapState.FILLED)
    assert gap.end_ms is not None
