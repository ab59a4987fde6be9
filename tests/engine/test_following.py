"""Sources that keep what they deliver until it is stored, go on without an end, and lose connections."""

from __future__ import annotations

import pytest
from engine.broker import INTEGRATION, Broker, plug_in, set_up
from engine.support import Installation, until

from platint_tui.core.model import Op, Run
from platint_tui.core.states import DeadLetterState, RunState


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> Broker:
    return plug_in(monkeypatch)


def order(number: int) -> dict[str, object]:
    return {"id": number, "total": number * 10}


async def test_nothing_is_acknowledged_before_it_is_stored(
    installation: Installation, broker: Broker
) -> None:
    name = await set_up(installation)
    broker.put(*(order(number) for number in range(1, 13)))
    held_then: list[int] = []
    broker.on_acknowledge = lambda number: held_then.append(len(installation.table("orders")))
    async with installation.engine():
        run = await installation.run(name)
    assert run.state == RunState.SUCCEEDED and broker.acknowledged == list(range(1, 13))
    assert all(held >= number for number, held in enumerate(held_then, 1))


async def test_a_sync_in_real_time_goes_on_until_it_is_cancelled(
    installation: Installation, broker: Broker
) -> None:
    name = await set_up(installation, "real_time")
    broker.put(order(1))
    async with installation.engine() as engine:
        answer = await installation.call("run", integration=name, streams=[])
        assert answer.result is not None
        number = str(answer.result["run"])
        await until(lambda: _written(installation, number, 1))
        broker.put(order(2), order(3))
        run = await until(lambda: _written(installation, number, 3))
        assert run.state == RunState.RUNNING and run.streams[0].heard_ms
        await engine.context.telemetry.flush()
        lag = (await installation.store.metrics.lags(0))["orders/orders"]
        assert lag.count == 3 and lag.p50_ms is not None and lag.p50_ms > 1_000_000
        assert all(
            not item.operation.startswith("lag") for item in await installation.store.metrics.summary(0)
        )
        await installation.call("cancel", run=number)
        ended = await installation.ended(number)
    assert ended.state == RunState.CANCELLED and broker.acknowledged == [1, 2, 3]
    assert all(options.follow for options in broker.asked)


async def _written(installation: Installation, run: str, count: int) -> Run | None:
    found = await installation.store.runs.get(run)
    return found if found is not None and found.streams[0].written >= count else None


async def test_real_time_takes_no_place_from_other_runs_and_survives_the_engine(
    installation: Installation, broker: Broker
) -> None:
    name = await set_up(installation, "real_time")
    broker.put(order(1))
    async with installation.engine() as engine:
        engine._max_runs = 1
        answer = await installation.call("run", integration=name, streams=[])
        number = str((answer.result or {})["run"])
        await until(lambda: _written(installation, number, 1))
        text = (await installation.store.integrations.get(name)).text  # type: ignore[union-attr]
        other = await installation.integrate(
            text.replace("integration: orders", "integration: once").replace("real_time", "on_demand")
        )
        assert (await installation.run(other)).state == RunState.SUCCEEDED
    broker.put(order(2))
    async with installation.engine():
        run = await until(lambda: _written(installation, number, 2))
        assert run.state == RunState.RUNNING
        await installation.call("cancel", run=number)
        await installation.ended(number)


async def test_a_lost_connection_is_told_and_opened_again(installation: Installation, broker: Broker) -> None:
    name = await set_up(installation, "real_time")
    broker.put(*(order(number) for number in range(1, 21)))
    broker.lose = 6  # more often in a row than the policy of a run that ends would bear
    async with installation.engine():
        answer = await installation.call("run", integration=name, streams=[])
        number = str((answer.result or {})["run"])

        async def told() -> Run | None:
            found = await installation.store.runs.get(number)
            return found if found and "connection was reset" in found.streams[0].error else None

        assert (await until(told)).state == RunState.RUNNING
        broker.put(*(order(number) for number in range(21, 31)))
        run = await until(lambda: _written(installation, number, 30))

        async def quiet() -> Run | None:
            found = await installation.store.runs.get(number)
            return found if found and not found.streams[0].error else None

        run = await until(quiet)
        assert run.streams[0].state == RunState.RUNNING
        await installation.call("cancel", run=number)
        await installation.ended(number)
    assert broker.acknowledged == list(range(1, 31)) and len(installation.table("orders")) == 30


async def test_a_run_that_ends_gives_up_when_nothing_comes_in_between(
    installation: Installation, broker: Broker
) -> None:
    name = await set_up(installation)
    broker.put(order(1))
    broker.lose = 1
    async with installation.engine():
        assert (await installation.run(name)).state == RunState.SUCCEEDED

        class Gone(list):  # type: ignore[type-arg]
            def __iter__(self):  # type: ignore[no-untyped-def]
                from platint_tui.core.errors import TransientError

                raise TransientError("Nobody answers.")

        broker.messages = Gone()
        run = await installation.run(name)
    assert run.state == RunState.FAILED and "Nobody answers" in run.streams[0].error
    assert len(broker.asked) == 2 + 3


async def test_a_lost_position_stops_the_stream_until_somebody_decides(
    installation: Installation, broker: Broker
) -> None:
    name = await set_up(installation)
    broker.put(order(1), order(2))
    async with installation.engine():
        assert (await installation.run(name)).state == RunState.SUCCEEDED
        broker.put(order(3))
        broker.lost_position = True
        run = await installation.run(name)
        assert (run.state, run.streams[0].error_code) == (RunState.FAILED, "position_lost")
        refused = await installation.call("recover", integration=name, stream="orders", how="guess")
        assert refused.state == "failed"
        done = await installation.call("recover", integration=name, stream="orders", how="skip")
        assert done.state == "done", done.error
        run = await installation.run(name)
        assert run.state == RunState.SUCCEEDED
        broker.put(order(4))
        assert (await installation.run(name)).state == RunState.SUCCEEDED
    [gap] = await installation.store.gaps.list(integration=name)
    assert (gap.stream, gap.start, gap.end, gap.run) == ("orders", "2", "3", run.id)
    assert {row["id"] for row in installation.table("orders")} == {1, 2, 4}
    assert [options.on_lost for options in broker.asked] == ["ask", "ask", "skip", "ask"]


async def test_what_a_source_keeps_for_a_sync_is_given_back(
    installation: Installation, broker: Broker
) -> None:
    name = await set_up(installation)
    async with installation.engine():
        answer = await installation.call("release", integration=name, streams=["orders"])
    assert answer.result == {"errors": {}} and broker.released == ["orders/orders"]


async def test_dead_letters_of_the_platform_are_in_the_inbox_and_go_back(
    installation: Installation, broker: Broker
) -> None:
    await set_up(installation)
    broker.kill("m1", b'{"id": 1}')
    broker.kill("m2", b"not json \xff", origin="")
    async with installation.engine():
        pulled = await installation.call("pull_dead", profile="broker")
        assert pulled.result is not None and pulled.result["new"] == 2, pulled.error
        again = await installation.call("pull_dead", profile="broker")
        assert again.result is not None and again.result["new"] == 0
        first, second = await installation.letters()
        assert (first.direction, first.place, first.origin["origin"]) == (
            "native",
            "broker/orders.dead",
            "orders",
        )  # type: ignore[index]
        assert [item.payload for item in broker.dead] == [b'{"id": 1}', b"not json \xff"], (
            "looked at, not taken"
        )
        whole = await installation.store.dead_letters.get(second.id)
        assert whole is not None and whole.payload == b"not json \xff"

        child = await installation.store.dead_letters.edit(first.id, b'{"id": 2}', "m1", "hash")
        job = (await installation.call("replay", dead_letters=[child.id])).result
        assert job is not None
        await until(lambda: _ended(installation, str(job["job"])))
        assert [item[:2] for item in broker.returned] == [("orders", b'{"id": 2}')]
        assert [item.id for item in broker.dead] == ["m2"]

        discarded = await installation.call("discard_native", dead_letters=[second.id])
        assert discarded.result == {"discarded": 1, "errors": {}} and broker.dead == []
    states = {letter.number: letter.state for letter in await installation.letters()}
    assert states == {
        first.number: DeadLetterState.EDITED,
        second.number: DeadLetterState.DISCARDED,
        child.number: DeadLetterState.SUCCEEDED,
    }
    [queue] = await installation.store.dead_letters.dead_queues()
    assert (queue.profile, queue.queue.name, queue.queue.depth) == ("broker", "orders.dead", 2)


async def test_what_is_gone_at_the_platform_is_gone_in_the_inbox_and_may_come_back(
    installation: Installation, broker: Broker
) -> None:
    await set_up(installation)
    broker.kill("m1", b"{}")
    kept = list(broker.dead)
    async with installation.engine():
        await installation.call("pull_dead", profile="broker")
        broker.dead, broker.hidden = [], 1
        await installation.call("pull_dead", profile="broker")
        [letter] = await installation.letters()
        assert letter.state == DeadLetterState.OPEN, "somebody is looking at it just now"
        broker.hidden = 0
        await installation.call("pull_dead", profile="broker")
        [letter] = await installation.letters()
        assert letter.state == DeadLetterState.GONE
        broker.dead = kept
        await installation.call("pull_dead", profile="broker")
    [letter] = await installation.letters()
    assert letter.state == DeadLetterState.OPEN
    [issue] = await installation.store.dead_letters.issues()
    assert (issue.open, issue.total, issue.place) == (1, 1, "broker/orders.dead")


async def test_letters_that_are_equal_are_counted_not_confused(
    installation: Installation, broker: Broker
) -> None:
    await set_up(installation)
    for _ in range(3):
        broker.kill("same", b"{}", alike=True)
    async with installation.engine():
        pulled = await installation.call("pull_dead", profile="broker")
        assert pulled.result is not None and pulled.result["new"] == 3
        first = (await installation.letters())[0]
        job = (await installation.call("replay", dead_letters=[first.id])).result
        assert job is not None
        await until(lambda: _ended(installation, str(job["job"])))
        assert len(broker.dead) == 2
        again = await installation.call("pull_dead", profile="broker")
        assert again.result is not None and again.result["new"] == 0
        broker.take("same")
        broker.kill("same", b"{}", alike=True)
        broker.kill("same", b"{}", alike=True)
        more = await installation.call("pull_dead", profile="broker")
        assert more.result is not None and more.result["new"] == 1
        broker.dead = []
        await installation.call("pull_dead", profile="broker")
    states = sorted(letter.state for letter in await installation.letters())
    assert states == ["gone", "gone", "gone", "succeeded"]


async def test_a_letter_that_was_removed_at_its_platform_is_not_opened_again(
    installation: Installation, broker: Broker
) -> None:
    await set_up(installation)
    broker.kill("m1", b"{}")
    async with installation.engine():
        await installation.call("pull_dead", profile="broker")
        [letter] = await installation.letters()
        await installation.call("discard_native", dead_letters=[letter.id])
    assert await installation.store.dead_letters.reopen([letter.id]) == 0


def mapped(text: str) -> str:
    return f"{text.rstrip()}\nstreams:\n  orders: {{key: [id], map: {{id: id, name: lower(name)}}}}\n"


async def test_K8_a_dead_letter_that_a_later_version_followed_does_not_wait(
    installation: Installation, broker: Broker
) -> None:
    await set_up(installation)
    name = await installation.integrate(mapped(INTEGRATION.replace("FREQUENCY", "on_demand")))
    broker.put({"id": 7, "name": 5}, {"id": 7, "name": "GOOD"}, {"id": 8, "name": 5})
    async with installation.engine():
        run = await installation.run(name)
    assert (run.streams[0].read, run.streams[0].written, run.streams[0].dead_lettered) == (3, 1, 2), run
    states = {letter.record_key: letter.state for letter in await installation.letters()}
    assert states == {"[7]": DeadLetterState.SUPERSEDED, "[8]": DeadLetterState.OPEN}
    assert [(row["id"], row["name"]) for row in installation.table("orders")] == [(7, "good")]


async def test_K8_when_the_source_is_emptied_nothing_of_before_waits(
    installation: Installation, broker: Broker
) -> None:
    await set_up(installation)
    name = await installation.integrate(mapped(INTEGRATION.replace("FREQUENCY", "on_demand")))
    broker.put({"id": 1, "name": 5}, {"id": 2, "name": "there"})
    async with installation.engine():
        await installation.run(name)
        broker.put({"id": 3, "name": 5})
        broker.put({}, op=Op.TRUNCATE)
        broker.put({"id": 4, "name": 5})
        await installation.run(name)
    states = {letter.record_key: letter.state for letter in await installation.letters()}
    superseded, waits = DeadLetterState.SUPERSEDED, DeadLetterState.OPEN
    assert states == {"[1]": superseded, "[3]": superseded, "[4]": waits}
    assert installation.table("orders") == []


@pytest.mark.parametrize(
    ("outcome", "state"),
    [
        ("gone", DeadLetterState.SUPERSEDED),
        ("refused", DeadLetterState.OPEN),
        ("unknown", DeadLetterState.UNKNOWN),
        ("away", DeadLetterState.OPEN),
    ],
)
async def test_what_became_of_one_that_was_sent_back(
    installation: Installation, broker: Broker, outcome: str, state: DeadLetterState
) -> None:
    await set_up(installation)
    broker.kill("m1", b"{}")
    broker.outcome = outcome
    async with installation.engine():
        await installation.call("pull_dead", profile="broker")
        [letter] = await installation.letters()
        job = (await installation.call("replay", dead_letters=[letter.id])).result
        assert job is not None
        await until(lambda: _ended(installation, str(job["job"])))
    [letter] = await installation.letters()
    assert letter.state == state and len(broker.dead) == 1


async def _ended(installation: Installation, job: str) -> bool:
    found = await installation.store.replays.get(job)
    return found is not None and found.ended_ms is not None
