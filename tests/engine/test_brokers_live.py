"""Whole syncs from a real broker: nothing lost and nothing doubled, whoever is killed; its dead letters go back."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from engine.support import Installation, until
from peers.rabbitmq import RabbitmqServer

from platint_tui.core.model import Run
from platint_tui.core.states import DeadLetterState, RunState

INTEGRATION = """
integration: orders
platforms:
  - {name: rabbitmq, profile: broker, type: sync, endpoints: [QUEUE]}
  - {name: sqlite, profile: warehouse, type: sync}
sync_frequency: FREQUENCY
streams:
  QUEUE: {target: orders, map: {id: id, number: body.number}}
"""


def publish(server: RabbitmqServer, queue: str, numbers: range, *, ids: bool = True) -> None:
    """Durable messages by the management API: another client than ours."""
    for number in numbers:
        properties: dict[str, Any] = {"delivery_mode": 2, "content_type": "application/json"}
        if ids:
            properties["message_id"] = f"{queue}-{number}"
        body = {
            "properties": properties,
            "routing_key": queue,
            "payload": json.dumps({"number": number}),
            "payload_encoding": "string",
        }
        done = server.manage("POST", "exchanges/%2F/amq.default/publish", body)
        assert done == {"routed": True}


def declare(server: RabbitmqServer, queue: str, **arguments: Any) -> None:
    server.manage("PUT", f"queues/%2F/{queue}", {"durable": True, "arguments": arguments}, status=201)


async def set_up(installation: Installation, server: RabbitmqServer, queue: str, frequency: str) -> str:
    fields = {
        "host": server.host,
        "port": str(server.port),
        "vhost": "/",
        "user": server.user,
        "tls": "disable",
        "management": server.management_url,
    }
    await installation.profile("broker", "rabbitmq", fields, {"password": "env:RABBIT_PASSWORD"})
    await installation.profile("warehouse", "sqlite", {"path": str(installation.warehouse)})
    return await installation.integrate(INTEGRATION.replace("QUEUE", queue).replace("FREQUENCY", frequency))


@pytest.fixture
def password(
    installation: Installation, rabbitmq_server: RabbitmqServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RABBIT_PASSWORD", rabbitmq_server.password)
    installation.environ["RABBIT_PASSWORD"] = rabbitmq_server.password


def numbers(installation: Installation) -> list[int]:
    return sorted(row["number"] for row in installation.table("orders"))


@pytest.mark.usefixtures("password")
async def test_in_real_time_through_a_crash_of_the_broker(
    installation: Installation, rabbitmq_server: RabbitmqServer
) -> None:
    declare(rabbitmq_server, "live")
    publish(rabbitmq_server, "live", range(40))
    name = await set_up(installation, rabbitmq_server, "live", "real_time")
    async with installation.engine():
        answer = await installation.call("run", integration=name, streams=[])
        assert answer.state == "done", answer.error
        number = str((answer.result or {})["run"])

        async def written(count: int) -> Run | None:
            found = await installation.store.runs.get(number)
            assert found is not None and found.state == RunState.RUNNING, found
            return found if found.streams[0].written >= count else None

        await until(lambda: written(40))
        # From this thread: the kernel ends a peer with the thread that started it.
        rabbitmq_server.kill()
        rabbitmq_server.start_again()
        publish(rabbitmq_server, "live", range(40, 60))
        await until(lambda: _all_there(installation, 60))
        await installation.call("cancel", run=number)
        assert (await installation.ended(number)).state == RunState.CANCELLED
    assert numbers(installation) == list(range(60))


async def _all_there(installation: Installation, count: int) -> bool:
    return len(installation.table("orders")) == count


@pytest.mark.usefixtures("password")
@pytest.mark.parametrize(
    ("point", "ids"),
    [
        ("before_write", True),
        ("after_target_commit", True),
        ("after_target_commit", False),
        ("after_store_commit", False),
        ("after_acknowledge", True),
    ],
)
async def test_A3_killed_at_each_step_nothing_is_lost_or_doubled(
    installation: Installation, rabbitmq_server: RabbitmqServer, point: str, ids: bool
) -> None:
    queue = f"steps.{point}.{ids}"
    declare(rabbitmq_server, queue)
    publish(rabbitmq_server, queue, range(30), ids=ids)
    name = await set_up(installation, rabbitmq_server, queue, "on_demand")
    await installation.submit("run", integration=name, streams=[])
    code, said = installation.finish(PLATINT_FAILPOINT=f"{point}:1")
    assert code == -9, said[-2000:]
    code, said = installation.finish()
    assert code == 0, said[-2000:]
    assert numbers(installation) == list(range(30))
    [run] = await installation.store.runs.list()
    assert run.state == RunState.SUCCEEDED, run

    async def empty() -> bool:
        found = rabbitmq_server.manage("GET", f"queues/%2F/{queue}")
        return bool(found.get("messages") == 0)

    await until(empty)


@pytest.mark.usefixtures("password")
async def test_equal_messages_without_an_id_are_not_taken_for_one_another(
    installation: Installation, rabbitmq_server: RabbitmqServer
) -> None:
    declare(rabbitmq_server, "ticks")
    name = await set_up(installation, rabbitmq_server, "ticks", "on_demand")
    async with installation.engine():
        for total in (6, 12):
            publish(rabbitmq_server, "ticks", range(3), ids=False)
            publish(rabbitmq_server, "ticks", range(3), ids=False)
            # Whoever looks at a queue makes the broker mark its messages as redelivered.
            looked = await installation.call("preview", profile="broker", stream="ticks", limit=10)
            assert looked.state == "done", looked.error
            assert (await installation.run(name)).state == RunState.SUCCEEDED
            assert len(installation.table("orders")) == total


@pytest.mark.usefixtures("password")
async def test_dead_letters_of_the_broker_are_read_and_sent_back(
    installation: Installation, rabbitmq_server: RabbitmqServer
) -> None:
    declare(
        rabbitmq_server,
        "dlq.work",
        **{"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dlq.work.dead"},
    )
    declare(rabbitmq_server, "dlq.work.dead")
    publish(rabbitmq_server, "dlq.work", range(2))
    got = rabbitmq_server.manage(
        "POST",
        "queues/%2F/dlq.work/get",
        {"count": 2, "ackmode": "reject_requeue_false", "encoding": "auto"},
    )
    assert len(got) == 2
    await set_up(installation, rabbitmq_server, "dlq.work", "on_demand")
    async with installation.engine():
        pulled = await installation.call("pull_dead", profile="broker")
        assert pulled.state == "done", pulled.error
        letters = [item for item in await installation.letters() if item.stream == "dlq.work.dead"]
        assert len(letters) == 2
        first = await installation.store.dead_letters.get(letters[0].id)
        assert first is not None and first.origin is not None
        assert (first.origin["origin"], "rejected" in first.message) == ("dlq.work", True)
        child = await installation.store.dead_letters.edit(first.id, b'{"number": 77}', first.record_key, "h")
        job = (await installation.call("replay", dead_letters=[child.id])).result
        assert job is not None

        async def ended() -> bool:
            found = await installation.store.replays.get(str(job["job"]))
            return found is not None and found.ended_ms is not None

        await until(ended)
    sent = await installation.store.dead_letters.get(child.id)
    assert sent is not None and sent.state == DeadLetterState.SUCCEEDED, sent
    work = rabbitmq_server.manage(
        "POST", "queues/%2F/dlq.work/get", {"count": 5, "ackmode": "ack_requeue_true", "encoding": "base64"}
    )
    assert [json.loads(base64.b64decode(item["payload"])) for item in work] == [{"number": 77}]
    dead = rabbitmq_server.manage(
        "POST",
        "queues/%2F/dlq.work.dead/get",
        {"count": 5, "ackmode": "ack_requeue_true", "encoding": "auto"},
    )
    assert len(dead) == 1
