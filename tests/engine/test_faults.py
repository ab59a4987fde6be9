"""What goes wrong in a run, and what is kept of it."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import sqlite3
from typing import Any

from aiohttp import web
from engine.peer import Peer, integration
from engine.support import Installation, until

from platint_tui.core.model import Run
from platint_tui.core.states import DeadLetterState, RunState


async def refuse(request: web.Request) -> web.Response | None:
    """422 for records whose n is 7."""
    body = await request.json()
    return web.json_response({"code": "unlucky"}, status=422) if body.get("n") == 7 else None


async def only_run(installation: Installation) -> Run:
    (run,) = await installation.store.runs.list()
    return run


async def in_state(installation: Installation, state: RunState) -> Run:
    async def look() -> Run | None:
        runs = await installation.store.runs.list()
        return runs[0] if runs and runs[0].state == state else None

    found: Run = await until(look)
    return found


async def test_poison_page_99_written_one_dead_letter(installation: Installation, peer: Peer) -> None:
    peer.fill(100)
    peer.write = refuse
    name = await installation.integrate(integration("poison", {"items": "sink"}))
    async with installation.engine():
        run = await installation.run(name)
    (stream,) = run.streams
    assert run.state == RunState.PARTIAL
    assert (stream.read, stream.written, stream.dead_lettered, stream.superseded) == (100, 99, 1, 0)
    (letter,) = await installation.letters()
    whole = await installation.store.dead_letters.get(letter.id)
    assert whole is not None
    assert (whole.payload, whole.code, whole.record_key) == (b'{"id": "i7", "n": 7}', "unlucky", '["i7"]')
    assert whole.request is not None
    assert whole.response is not None


async def test_H1_repeated_cursor_fails_the_stream_with_its_sentence(
    installation: Installation, peer: Peer
) -> None:
    peer.read = lambda request: web.json_response({"data": [{"id": "same"}], "next": "1"})
    name = await installation.integrate(integration("loop", {"items": "items"}, target="sqlite"))
    async with installation.engine():
        run = await installation.run(name)
    assert run.state == RunState.FAILED
    assert "page" in run.error.lower()
    assert len(peer.requests) < 5


async def test_H8_record_without_key_becomes_a_dead_letter(installation: Installation, peer: Peer) -> None:
    peer.pages["items"] = [[{"id": "a"}, {"n": 2}, {"id": None}, {"id": {"deep": 1}}, '"text"', {"id": "b"}]]
    name = await installation.integrate(integration("keys", {"items": "items"}, target="sqlite"))
    async with installation.engine():
        run = await installation.run(name)
    (stream,) = run.streams
    assert (stream.read, stream.written, stream.dead_lettered) == (6, 2, 4)
    letters = await installation.letters()
    assert sorted(item.code for item in letters) == ["key", "key", "key", "not_a_record"]
    assert {row["_key"] for row in installation.table("items")} == {'["a"]', '["b"]'}


async def test_H5_repeated_record_last_wins_and_is_counted(installation: Installation, peer: Peer) -> None:
    peer.pages["items"] = [[{"id": "a", "n": 1}, {"id": "b", "n": 1}, {"id": "a", "n": 2}]]
    name = await installation.integrate(integration("twice", {"items": "sink"}))
    async with installation.engine():
        run = await installation.run(name)
    (stream,) = run.streams
    assert run.state == RunState.SUCCEEDED
    assert (stream.read, stream.written, stream.superseded) == (3, 2, 1)
    assert [body["n"] for _, body in peer.sent if body["id"] == "a"] == [2]


async def test_stream_without_key_is_stored_by_content(installation: Installation, peer: Peer) -> None:
    peer.pages["items"] = [[{"x": 1}, {"x": 1}, {"x": 2}]]
    name = await installation.integrate(integration("loose", {"loose": "loose"}, target="sqlite"))
    async with installation.engine():
        await installation.run(name)
        await installation.run(name)
    assert len(installation.table("loose")) == 2


async def test_G17_one_stream_fails_the_other_goes_on(installation: Installation, peer: Peer) -> None:
    peer.fill(150)
    peer.fill(250, stream="others")

    def read(request: web.Request) -> web.Response | None:
        broken = request.path == "/items" and request.query.get("after") == "1"
        return web.Response(status=400) if broken else None

    peer.read = read
    streams = {"items": "items", "others": "others"}
    name = await installation.integrate(integration("half", streams, target="sqlite"))
    async with installation.engine():
        run = await installation.run(name)
    states = {item.stream: item for item in run.streams}
    assert run.state == RunState.PARTIAL
    assert states["items"].state == RunState.FAILED
    assert states["items"].error
    assert states["others"].state == RunState.SUCCEEDED
    # What was read before the fault is stored, and the next run goes on behind it.
    assert len(installation.table("items")) == states["items"].written == 100
    peer.read = lambda request: None
    peer.requests.clear()
    async with installation.engine():
        again = await installation.run(name, "items")
    assert again.state == RunState.SUCCEEDED
    assert peer.requests == ["/items?after=1"]
    assert len(installation.table("items")) == 150


async def test_refused_credential_fails_the_stream(installation: Installation, peer: Peer) -> None:
    peer.read = lambda request: web.Response(status=401)
    name = await installation.integrate(integration("auth", {"items": "items"}, target="sqlite"))
    async with installation.engine():
        run = await installation.run(name)
    assert run.state == RunState.FAILED
    assert "Give another key." in run.error


async def test_dead_letter_breaker_stops_the_stream(installation: Installation, peer: Peer) -> None:
    peer.fill(1000)
    peer.write = lambda request: web.json_response({"code": "all_bad"}, status=422)
    name = await installation.integrate(integration("flood", {"items": "sink"}))
    async with installation.engine():
        run = await installation.run(name)
    (stream,) = run.streams
    assert run.state == RunState.FAILED
    assert stream.error_code == "too_many_dead_letters"
    assert "200 of 200 records failed" in stream.error
    assert stream.dead_lettered == stream.read == 200 == len(await installation.letters())


async def test_failing_for_many_reasons_stops_the_stream_and_the_next_run_goes_on(
    installation: Installation, peer: Peer
) -> None:
    peer.fill(1000)
    peer.write = lambda request: web.json_response({"code": f"bad_{next(codes) % 150}"}, status=422)
    codes = itertools.count()
    name = await installation.integrate(integration("drained", {"items": "sink"}))
    async with installation.engine():
        first = await installation.run(name)
        peer.write = lambda request: web.json_response({}, status=201)
        second = await installation.run(name)
    (stream,) = first.streams
    assert (stream.state, stream.error_code) == (RunState.FAILED, "too_many_dead_letters")
    assert "200 of 200 records failed for 1" in stream.error and "run it again" in stream.error
    # What failed is in the inbox, and what was not read yet comes with the next run: nothing is lost.
    assert stream.dead_lettered == stream.read == len(await installation.letters()) == 200
    assert (second.streams[0].state, second.streams[0].written) == (RunState.SUCCEEDED, 800)


async def test_cancel_while_the_platform_hangs(installation: Installation, peer: Peer) -> None:
    peer.fill(300)

    async def read(request: web.Request) -> None:
        if request.query.get("after") == "2":
            await peer.hang.wait()

    peer.read = read
    name = await installation.integrate(integration("hang", {"items": "items"}, target="sqlite"))
    async with installation.engine():
        await installation.submit("run", integration=name, streams=[])

        async def two_pages() -> bool:
            runs = await installation.store.runs.list()
            return bool(runs) and runs[0].streams[0].read == 200

        await until(two_pages)
        run = await only_run(installation)
        await installation.call("cancel", run=run.id)
        ended = await installation.ended(run.id)
    assert ended.state == ended.streams[0].state == RunState.CANCELLED
    assert len(installation.table("items")) == 200
    peer.read = lambda request: None
    peer.requests.clear()
    async with installation.engine():
        again = await installation.run(name)
    assert again.state == RunState.SUCCEEDED
    assert peer.requests == ["/items?after=2"]


async def test_cancel_while_the_target_hangs(installation: Installation, peer: Peer) -> None:
    peer.fill(100)
    peer.write = lambda request: peer.hang.wait()
    name = await installation.integrate(integration("stuck", {"items": "sink"}))
    async with installation.engine():
        await installation.submit("run", integration=name, streams=[])
        await until(lambda: asyncio.sleep(0, bool(peer.sent)))
        run = await only_run(installation)
        assert await installation.store.runs.request_cancel(run.id)
        ended = await installation.ended(run.id)
    assert ended.state == RunState.CANCELLED
    assert ended.streams[0].written == 0


async def test_G12_G13_long_rate_limit_parks_the_stream_and_it_goes_on_by_itself(
    installation: Installation, peer: Peer
) -> None:
    peer.fill(200)
    limited = True

    def read(request: web.Request) -> web.Response | None:
        if limited and request.query.get("after") == "1":
            return web.Response(status=429, headers={"Retry-After": "120"})
        return None

    peer.read = read
    name = await installation.integrate(integration("slow", {"items": "items"}, target="sqlite"))
    async with installation.engine():
        await installation.submit("run", integration=name, streams=[])
        parked = await in_state(installation, RunState.RATE_LIMITED)
        assert parked.worker is None
        assert parked.streams[0].read == 100
        assert parked.streams[0].resume_at_ms is not None
        assert parked.streams[0].error
        limited = False
        installation.clock.shift_ms = 121_000
        run = await installation.ended(parked.id)
    assert run.state == RunState.SUCCEEDED
    assert run.streams[0].read == 200
    assert run.epoch == parked.epoch + 1


async def test_a_run_that_is_parked_for_an_hour_sends_nothing_before(
    installation: Installation, peer: Peer
) -> None:
    asked = 0

    def read(request: web.Request) -> web.Response | None:
        nonlocal asked
        asked += 1
        return web.Response(status=429, headers={"Retry-After": "3600"}) if asked == 1 else None

    peer.fill(100)
    peer.read = read
    name = await installation.integrate(integration("hour", {"items": "items"}, target="sqlite"))
    async with installation.engine():
        await installation.submit("run", integration=name, streams=[])
        parked = await in_state(installation, RunState.RATE_LIMITED)
        waits = parked.streams[0].resume_at_ms
        assert waits is not None and waits - installation.clock.now_ms() > 3_500_000
        installation.clock.shift_ms = 3_610_000
        run = await installation.ended(parked.id)
    assert run.state == RunState.SUCCEEDED and run.streams[0].read == 100


async def test_every_request_of_a_stream_is_counted(installation: Installation, peer: Peer) -> None:
    peer.fill(20, size=10)
    streams = {"items": "sink", "others": "sink"}
    peer.read = lambda request: web.Response(status=403) if request.path == "/others" else None
    name = await installation.integrate(integration("count", streams))
    async with installation.engine():
        run = await installation.run(name)
    items, others = run.streams
    assert items.requests == 2 + 20, "two pages, and each row by itself"
    assert (others.state, others.requests) == (RunState.FAILED, 1), "a refused request was sent too"


async def test_a_key_that_most_records_share_is_told(installation: Installation, peer: Peer) -> None:
    peer.pages["items"] = [[{"id": "same", "n": n} for n in range(20)]]
    peer.pages["others"] = [[{"id": f"o{n // 2}", "n": n} for n in range(20)]]
    streams = {"items": "items", "others": "others"}
    name = await installation.integrate(integration("keys", streams, target="sqlite"))
    async with installation.engine():
        run = await installation.run(name)
    items, others = run.streams
    assert (items.state, items.error_code, items.superseded) == (RunState.SUCCEEDED, "note", 19)
    assert "19 of 20 records have the same key (id)" in items.error
    assert others.superseded == 10
    assert "same key" not in others.error, "a few versions of a record are no sign of that"


async def test_cancelling_a_parked_run_takes_effect_at_once(installation: Installation, peer: Peer) -> None:
    peer.read = lambda request: web.Response(status=429, headers={"Retry-After": "3600"})
    name = await installation.integrate(integration("parked", {"items": "items"}, target="sqlite"))
    async with installation.engine():
        await installation.submit("run", integration=name, streams=[])
        parked = await in_state(installation, RunState.RATE_LIMITED)
        await installation.call("cancel", run=str(parked.number))
    assert (await only_run(installation)).state == RunState.CANCELLED


async def test_O6_a_stopped_engine_leaves_the_run_resumable(installation: Installation, peer: Peer) -> None:
    peer.fill(300)

    async def read(request: web.Request) -> None:
        if request.query.get("after") == "1":
            await peer.hang.wait()

    peer.read = read
    name = await installation.integrate(integration("stop", {"items": "items"}, target="sqlite"))
    async with installation.engine():
        await installation.submit("run", integration=name, streams=[])

        async def one_page() -> bool:
            runs = await installation.store.runs.list()
            return bool(runs) and runs[0].streams[0].read == 100

        await until(one_page)
    run = await only_run(installation)
    assert run.state == run.streams[0].state == RunState.INTERRUPTED
    peer.read = lambda request: None
    async with installation.engine():
        ended = await installation.ended(run.id)
    assert ended.state == RunState.SUCCEEDED
    assert ended.streams[0].read == 300


async def test_a_later_version_settles_the_dead_letter(installation: Installation, peer: Peer) -> None:
    peer.fill(100)
    peer.write = refuse
    name = await installation.integrate(integration("mend", {"items": "sink"}))
    async with installation.engine():
        await installation.run(name)
        peer.pages["items"][0][7] = {"id": "i7", "n": 70}
        await installation.call("reset", integration=name, stream="items")
        await installation.run(name)
    (letter,) = await installation.letters()
    assert letter.state == DeadLetterState.SUPERSEDED


async def test_restored_target_is_read_from_the_beginning_and_the_run_says_so(
    installation: Installation, peer: Peer
) -> None:
    peer.fill(100)
    name = await installation.integrate(integration("restored", {"items": "items"}, target="sqlite"))
    async with installation.engine():
        await installation.run(name)
        installation.warehouse.unlink()
        again = await installation.run(name)
    assert again.state == RunState.SUCCEEDED
    assert again.streams[0].read == 100 == len(installation.table("items"))
    assert "from the beginning" in again.streams[0].error


async def test_configuration_errors_are_found_before_a_request(
    installation: Installation, peer: Peer
) -> None:
    name = await installation.integrate(integration("checks", {"items": "items"}, target="sqlite"))
    cases: list[tuple[str, dict[str, Any], str, int]] = [
        ("run", {"integration": "chekcs"}, "Did you mean 'checks'?", 4),
        ("run", {"integration": name, "streams": ["item"]}, "Did you mean 'items'?", 4),
        ("run", {}, "The command needs 'integration'.", 2),
        ("check", {"profile": "sorce"}, "Did you mean 'source'?", 4),
        ("preview", {"profile": "source", "stream": "itms"}, "did you mean 'items'?", 4),
        ("reset", {"integration": name, "stream": "itms"}, "Did you mean 'items'?", 4),
        ("cancel", {"run": "77"}, "There is no run '77'.", 4),
        ("replay", {"dead_letters": []}, "nothing to replay", 4),
        ("cancel_replay", {"job": "job_x"}, "There is no replay", 4),
        ("dance", {}, "knows no command 'dance'", 2),
    ]
    async with installation.engine():
        for kind, args, text, code in cases:
            answer = await installation.call(kind, **args)
            assert answer.state == "failed"
            assert answer.error is not None
            assert text in f"{answer.error['message']} {answer.error['hint']}", answer.error
            assert answer.error["exit_code"] == code
        await installation.store.profiles.remove("warehouse")
        answer = await installation.call("run", integration=name)
        assert "There is no profile 'warehouse'" in (answer.error or {})["message"]
    assert peer.requests == []


async def test_a_profile_without_its_secret_is_refused(installation: Installation, peer: Peer) -> None:
    await installation.profile("payments", "demo-payments", {"base_url": peer.url})
    text = integration("secretless", {"customers": "items"}, target="sqlite")
    text = text.replace("name: peer, profile: source", "name: demo-payments, profile: payments")
    name = await installation.integrate(text)
    async with installation.engine():
        answer = await installation.call("run", integration=name)
    assert (answer.error or {})["exit_code"] == 5
    assert await installation.store.runs.list() == []


async def test_check_discover_preview_store_what_they_find(installation: Installation, peer: Peer) -> None:
    peer.fill(10)
    async with installation.engine():
        checked = await installation.call("check", profile="source")
        assert (checked.result or {})["ok"] is True
        assert (await installation.store.profiles.checks())["source"].ok
        found = await installation.call("discover", profile="source")
        assert "items" in (found.result or {})["streams"]
        assert (await installation.store.catalogues.latest("source"))[0].streams
        shown = await installation.call("preview", profile="source", stream="items", limit=2)
        assert (shown.result or {})["records"] == [
            {"raw": '{"id": "i0", "n": 0}'},
            {"raw": '{"id": "i1", "n": 1}'},
        ]


async def test_a_second_run_of_the_same_integration_is_refused(
    installation: Installation, peer: Peer
) -> None:
    peer.read = lambda request: web.Response(status=429, headers={"Retry-After": "3600"})
    name = await installation.integrate(integration("once", {"items": "items"}, target="sqlite"))
    async with installation.engine():
        await installation.call("run", integration=name)
        answer = await installation.call("run", integration=name)
        reset = await installation.call("reset", integration=name, stream="items")
    assert (answer.error or {})["code"] == (reset.error or {})["code"] == "already_running"


async def test_latencies_are_stored(installation: Installation, peer: Peer) -> None:
    peer.fill(200)
    name = await installation.integrate(integration("timed", {"items": "sink"}))
    async with installation.engine():
        await installation.run(name)
    rows = {item.operation: item for item in await installation.store.metrics.summary(0)}
    assert rows["read items"].count == 2
    assert rows["write sink"].count == 200
    assert rows["write sink"].errors == 0
    assert rows["write sink"].p95_ms


async def test_a_parked_stream_goes_on_while_another_still_runs(
    installation: Installation, peer: Peer
) -> None:
    peer.fill(200)
    peer.fill(200, stream="others")
    limited = True
    out = asyncio.Event()

    async def read(request: web.Request) -> web.Response | None:
        if request.path == "/others" and request.query.get("after") == "1":
            out.set()
            await peer.hang.wait()
        if limited and request.path == "/items" and request.query.get("after") == "1":
            await out.wait()  # what is asked after the refusal would be parked with it
            return web.Response(status=429, headers={"Retry-After": "120"})
        return None

    peer.read = read
    streams = {"items": "items", "others": "others"}
    name = await installation.integrate(integration("both", streams, target="sqlite"))

    def in_state_of(state: RunState) -> Any:
        async def look() -> bool:
            runs = await installation.store.runs.list()
            return bool(runs) and runs[0].streams[0].state == state

        return look

    async with installation.engine():
        await installation.submit("run", integration=name, streams=[])
        await until(in_state_of(RunState.RATE_LIMITED))
        limited = False
        installation.clock.shift_ms = 121_000
        await until(in_state_of(RunState.SUCCEEDED))
        assert (await only_run(installation)).state == RunState.RUNNING
        peer.hang.set()
        run = await installation.ended((await only_run(installation)).id)
    assert run.state == RunState.SUCCEEDED
    assert run.epoch == 1


async def test_another_installation_that_writes_the_same_target_fails_the_run(
    installation: Installation, peer: Peer
) -> None:
    peer.fill(400)
    reached = asyncio.Event()

    async def read(request: web.Request) -> None:
        if request.query.get("after") == "2":
            reached.set()
            await peer.hang.wait()

    peer.read = read
    name = await installation.integrate(integration("shared", {"items": "items"}, target="sqlite"))
    async with installation.engine():
        answer = await installation.call("run", integration=name, streams=[])
        await asyncio.wait_for(reached.wait(), 20)
        await until(lambda: installation.store.runs.sync_state(name, "items"))
        with contextlib.closing(sqlite3.connect(installation.warehouse, timeout=5)) as connection, connection:
            connection.execute("UPDATE _platint_positions SET run = 'another', seq = seq + 1")
        peer.hang.set()
        run = await installation.ended(str((answer.result or {})["run"]))
        assert (run.state, run.streams[0].error_code) == (RunState.FAILED, "fenced")
        # The integration is free again.
        again = await installation.run(name)
    assert again.state == RunState.SUCCEEDED
    assert len(installation.table("items")) == 400


async def test_two_streams_do_not_share_a_table(installation: Installation, peer: Peer) -> None:
    name = await installation.integrate(integration("both", {"items": "t", "others": "T"}, target="sqlite"))
    async with installation.engine():
        answer = await installation.call("run", integration=name, streams=["others"])
    assert answer.state == "failed"
    assert (answer.error or {})["code"] == "shared_target"


async def test_an_engine_applies_retention_once_the_clock_is_believed(installation: Installation) -> None:
    await installation.store.settings.put("retention", {"commands_days": 1})

    async def noted() -> bool:
        return await installation.store.settings.get("retention.clock") is not None

    async with installation.engine():
        await installation.call("cancel", run="none")
        await until(noted)
    installation.clock.shift_ms += 36 * 3_600_000

    async def gone() -> bool:
        return not await installation.store.commands.recent()

    async with installation.engine():
        await until(gone)


async def test_an_unforeseen_error_before_the_first_request_ends_the_run(
    installation: Installation, peer: Peer
) -> None:
    name = await installation.integrate(integration("broken", {"items": "items"}, target="sqlite"))

    def broken(*_: Any, **__: Any) -> Any:
        raise ValueError("a mistake in a driver")

    async with installation.engine() as engine:
        object.__setattr__(engine.context, "make_driver", broken)
        run = await installation.run(name)
    assert (run.state, run.streams[0].error_code) == (RunState.FAILED, "internal")


async def test_K3_a_lost_answer_in_a_sync_is_unknown_and_not_replayed_by_the_way(
    installation: Installation, peer: Peer
) -> None:
    peer.fill(3)

    async def write(request: web.Request) -> None:
        if (await request.json())["n"] == 1:
            assert request.transport is not None
            request.transport.abort()

    peer.write = write
    name = await installation.integrate(integration("post", {"items": "mailbox"}))
    async with installation.engine():
        run = await installation.run(name)
        (letter,) = await installation.letters()
        assert letter.state == DeadLetterState.UNKNOWN
        answer = await installation.call("replay", fingerprint=letter.fingerprint)
    assert "nothing to replay" in (answer.error or {})["message"]
    assert (run.streams[0].written, run.streams[0].dead_lettered) == (2, 1)
    assert len(peer.sent) == 3


async def test_B1_B4_a_full_disk_keeps_the_run_and_it_goes_on(installation: Installation, peer: Peer) -> None:
    peer.pages["items"] = [
        [{"id": f"i{n}", "n": n, "text": "x" * 3000} for n in range(start, start + 50)]
        for start in range(0, 1000, 50)
    ]

    async def write(request: web.Request) -> web.Response | None:
        bad = (await request.json())["n"] % 5 < 2
        return web.json_response({"code": "bad"}, status=422) if bad else None

    peer.write = write
    name = await installation.integrate(integration("full", {"items": "sink"}))
    await installation.submit("run", integration=name, streams=[])
    process = installation.spawn(TEST_FILE_SIZE=str(600_000))

    async def stuck() -> bool:
        (run,) = await installation.store.runs.list() or [None]
        return (
            run is not None and 0 < run.streams[0].read < 1000 and len(peer.sent) >= run.streams[0].read + 50
        )

    await until(stuck)
    await asyncio.sleep(0.5)
    process.kill()
    assert await asyncio.to_thread(process.wait, 20) == -9
    code, said = await asyncio.to_thread(installation.finish)
    assert code == 0, said
    run = await only_run(installation)
    (stream,) = run.streams
    assert run.state == RunState.PARTIAL, run
    assert (stream.read, stream.written, stream.dead_lettered) == (1000, 600, 400)
    assert len(await installation.letters()) == 400
    # What was sent again went under the same key.
    assert len({key for key, _ in peer.sent}) == 1000
