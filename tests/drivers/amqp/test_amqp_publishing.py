"""Rows as messages: what is sent, what is confirmed, and what becomes of what is not."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from drivers.amqp.conftest import Broker, Proxy, amqp_driver, scan, values
from pamqp import commands
from peers.rabbitmq import RabbitmqServer

from platint_tui.core.errors import ConfigError, CredentialError, ErrorClass, TransientError, UnknownOutcome
from platint_tui.core.jsontext import canonical_key, dumps, loads
from platint_tui.core.model import Batch, Contract, Evolution, Op, Row, TargetPlan
from platint_tui.drivers.amqp import publisher as publishing
from platint_tui.drivers.amqp import target as targets


def plan(target: str, **changes: Any) -> TargetPlan:
    base: dict[str, Any] = {
        "sync": "sales",
        "stream": "orders",
        "target": target,
        "key": ("id",),
        "cursor": None,
        "fields": (),
        "epoch": 1,
        "run": "run_1",
    }
    return TargetPlan(**{**base, **changes})


def row(value: dict[str, Any], op: Op = Op.UPSERT) -> Row:
    return Row(canonical_key([value["id"]]), dumps(value), value, None, f"key-{value['id']}", op)


def rows(count: int, start: int = 0, **more: Any) -> list[Row]:
    return [row({"id": number, **more}) for number in range(start, start + count)]


async def test_a_row_is_a_persistent_message_with_its_key_as_id(
    broker: Broker, rabbitmq_server: RabbitmqServer, make_name: str
) -> None:
    queue = await broker.queue(make_name)
    driver = amqp_driver(rabbitmq_server)
    target = await driver.open_target(plan(queue))
    assert await target.confirmed() is None
    big = {"id": 1, "total": 10**30, "text": "é"}
    result = await target.write(Batch([row(big), row({"id": 2}, Op.DELETE)], None))
    assert (result.written, list(result.faults)) == (2, [])
    await target.close()
    upsert, delete = await broker.drain(queue)
    properties = upsert.header.properties
    assert loads(upsert.body) == big
    assert (properties.message_id, properties.delivery_mode) == ("key-1", 2)
    assert (properties.content_type, properties.app_id) == ("application/json", "platint-tui")
    assert properties.headers == {"platint-integration": "sales", "platint-stream": "orders"}
    assert (delete.header.properties.headers or {})["platint-op"] == "delete"
    await driver.close()


async def test_a_message_of_a_broker_is_sent_on_as_it_was(
    broker: Broker, rabbitmq_server: RabbitmqServer, make_name: str
) -> None:
    queue = await broker.queue(make_name)
    copy = await broker.queue(f"{make_name}-copy")
    table = {"tenant": "a", "CC": ["elsewhere"], "x-first-death-queue": "old", "n": 2**40}
    await broker.send(
        queue,
        [b"\xff\x00raw"],
        message_id="own",
        headers=table,
        correlation_id="c",
        message_type="t",
        content_type="image/png",
        priority=4,
        expiration="60000",
    )
    driver = amqp_driver(rabbitmq_server)
    [value] = values(await scan(driver, queue))
    target = await driver.open_target(plan(copy))
    assert (await target.write(Batch([row(value)], None))).written == 1
    [message] = await broker.drain(copy)
    given = message.header.properties
    assert message.body == b"\xff\x00raw"
    assert (given.message_id, given.correlation_id, given.message_type) == ("own", "c", "t")
    assert (given.content_type, given.priority, given.expiration) == ("image/png", 4, None)
    headers = given.headers or {}
    assert (headers["tenant"], headers["n"]) == ("a", 2**40)
    assert headers["x-platint-cc"] == ["elsewhere"] and headers["x-platint-first-death-queue"] == "old"
    assert "CC" not in headers
    await target.close()
    await driver.close()


async def test_an_exchange_is_written_with_a_routing_key(
    broker: Broker, rabbitmq_server: RabbitmqServer, make_name: str
) -> None:
    queue, slashed = await broker.queue(make_name), await broker.queue(f"a/{make_name}")
    channel = await broker.channel()
    await channel.exchange_declare("orders-topic", exchange_type="topic")
    await channel.queue_bind(queue, "orders-topic", "order.*")
    driver = amqp_driver(rabbitmq_server)
    for name in ("orders-topic/order.new", f"/a/{make_name}"):
        target = await driver.open_target(plan(name))
        assert (await target.write(Batch(rows(3), None))).written == 3
        await target.close()
    assert [message.routing_key for message in await broker.drain(queue)] == ["order.new"] * 3
    assert len(await broker.drain(slashed)) == 3
    with pytest.raises(ConfigError, match="no exchange 'nowhere'"):
        await driver.open_target(plan("nowhere/key"))
    for bad in ("/", "x" * 300, ""):
        with pytest.raises(ConfigError):
            await driver.describe_target(bad)
    assert await driver.describe_target(queue) is None
    await driver.close()


async def test_what_no_queue_takes_is_a_fault_of_its_row(
    broker: Broker, rabbitmq_server: RabbitmqServer, make_name: str
) -> None:
    queue = await broker.queue(make_name)
    driver = amqp_driver(rabbitmq_server)
    target = await driver.open_target(plan(queue))
    assert (await target.write(Batch(rows(1), None))).written == 1
    await (await broker.channel()).queue_delete(queue)
    result = await target.write(Batch([*rows(3), row({"id": 9, "text": "\ud800"})], None))
    assert result.written == 0 and [index for index, _ in result.faults] == [0, 1, 2, 3]
    fault = result.faults[0][1]
    assert (fault.code, fault.error_class) == ("NO_ROUTE", ErrorClass.CONFIG)
    assert queue in fault.message and "Make the queue" in fault.hint
    assert result.faults[3][1].error_class == ErrorClass.RECORD
    await target.close()
    await driver.close()


@pytest.mark.parametrize("kind", ["classic", "quorum"])
async def test_a_missing_queue_is_made_as_the_contract_lets(
    kind: str, broker: Broker, rabbitmq_server: RabbitmqServer, make_name: str
) -> None:
    channel = await broker.channel()
    await channel.queue_delete(make_name)
    driver = amqp_driver(rabbitmq_server, sink={"queue": kind})
    frozen = plan(make_name, contract=Contract(tables=Evolution.FREEZE))
    for attempt in (driver.plan_target, driver.open_target):
        with pytest.raises(ConfigError, match="contract of the stream lets none be made"):
            await attempt(frozen)
    [change] = await driver.plan_target(plan(make_name))
    assert (change.kind, change.target) == ("new_queue", make_name) and kind in change.statement
    with pytest.raises(ConfigError, match="no queue"):  # planning made nothing
        await scan(driver, make_name)
    target = await driver.open_target(plan(make_name))
    assert await driver.plan_target(plan(make_name)) == []
    assert (await target.write(Batch(rows(2), None))).written == 2
    await target.close()
    found = rabbitmq_server.manage("GET", f"queues/%2F/{make_name.replace('[', '%5B')}")
    assert (found["type"], found["durable"]) == (kind, True)
    await driver.open_target(frozen)  # it is there now
    await driver.close()


async def test_a_full_queue_is_waited_for_and_then_transient(
    broker: Broker, rabbitmq_server: RabbitmqServer, make_name: str
) -> None:
    queue = await broker.queue(make_name, max_length=4, overflow="reject-publish")
    driver = amqp_driver(rabbitmq_server)
    target = await driver.open_target(plan(queue))
    result = await target.write(Batch(rows(10), None))
    taken = len(await broker.drain(queue))
    assert result.written == taken and len(result.faults) == 10 - taken
    assert {fault.code for _, fault in result.faults} == {targets.NOT_SENT}
    assert isinstance(target.failure, TransientError) and "queue is full" in target.failure.hint
    await broker.send(queue, [b"x"] * 4, message_id="full")
    with pytest.raises(TransientError, match="did not take"):  # nothing of it was sent
        await target.write(Batch(rows(3), None))
    await broker.drain(queue)
    assert (await target.write(Batch(rows(3), None))).written == 3
    await target.close()
    await driver.close()


async def test_a_write_that_is_cancelled_while_it_waits_tells_what_was_sent(
    broker: Broker, rabbitmq_server: RabbitmqServer, make_name: str
) -> None:
    queue = await broker.queue(make_name, max_length=4, overflow="reject-publish")
    driver = amqp_driver(rabbitmq_server, attempts=50)
    target = await driver.open_target(plan(queue))
    writing = asyncio.create_task(target.write(Batch(rows(10), None)))
    await broker.until_ready(queue, 4)
    await asyncio.sleep(0.1)
    writing.cancel()
    result = await writing
    assert 4 <= result.written < 10
    assert [fault.code for _, fault in result.faults] == [targets.NOT_SENT] * (10 - result.written)
    untouched = asyncio.create_task(target.write(Batch(rows(3), None)))
    await asyncio.sleep(0.1)
    untouched.cancel()
    with pytest.raises(asyncio.CancelledError):
        await untouched
    await target.close()
    await driver.close()


def test_a_message_that_is_too_large_is_a_fault_of_its_row() -> None:
    work = targets._Work()
    message = publishing.Outgoing(b"", commands.Basic.Properties(), "", "q")
    work.sending = [targets._Item(3, message)]
    refusal = ConfigError("The broker refuses: message size 9 is larger than 8.", code="PRECONDITION_FAILED")
    assert work.settle([publishing.Sent("refused", refusal.message, refusal)]) is None
    assert work.faults[3].error_class == ErrorClass.RECORD and "max_message_size" in work.faults[3].hint
    assert not work.todo and not work.touched


async def test_a_lost_confirmation_is_an_unknown_outcome_and_never_sent_again(
    broker: Broker, rabbitmq_server: RabbitmqServer, make_name: str, proxy: Proxy
) -> None:
    queue = await broker.queue(make_name)
    driver = amqp_driver(rabbitmq_server, port=str(proxy.port))
    target = await driver.open_target(plan(queue))
    assert (await target.write(Batch(rows(1), None))).written == 1
    proxy.mute = True
    writing = asyncio.create_task(target.write(Batch(rows(600, 1), None)))
    await broker.until_ready(queue, 1 + targets.WINDOW)
    proxy.mute = False
    proxy.cut()
    result = await writing
    codes = [fault.code for _, fault in result.faults]
    assert codes == [UnknownOutcome.code] * targets.WINDOW and result.written == 600 - targets.WINDOW
    assert result.faults[0][1].request == {"message_id": "key-1"}
    assert target.failure is None
    ids = [message.header.properties.message_id for message in await broker.drain(queue)]
    assert sorted(ids) == sorted({f"key-{number}" for number in range(601)})
    await target.close()
    await driver.close()


async def test_without_a_broker_nothing_counts_as_written(
    broker: Broker, rabbitmq_server: RabbitmqServer, make_name: str, proxy: Proxy
) -> None:
    queue = await broker.queue(make_name)
    driver = amqp_driver(rabbitmq_server, port=str(proxy.port))
    target = await driver.open_target(plan(queue))
    await target.write(Batch(rows(1), None))
    proxy.stop()
    await asyncio.sleep(0.05)
    with pytest.raises(TransientError, match="cannot be reached"):
        await target.write(Batch(rows(5, 1), None))
    assert await broker.ready(queue) == 1
    await target.close()
    await driver.close()


async def test_a_broker_that_is_silent_ends_the_batch(
    broker: Broker, rabbitmq_server: RabbitmqServer, make_name: str, proxy: Proxy
) -> None:
    queue = await broker.queue(make_name)
    driver = amqp_driver(rabbitmq_server, port=str(proxy.port), total=0.3, attempts=1)
    target = await driver.open_target(plan(queue))
    await target.write(Batch(rows(1), None))
    proxy.mute = True
    result = await target.write(Batch(rows(300, 1), None))
    proxy.cut()
    codes = [fault.code for _, fault in result.faults]
    assert codes == [UnknownOutcome.code] * targets.WINDOW + [targets.NOT_SENT] * (300 - targets.WINDOW)
    assert "did not confirm" in result.faults[0][1].message and isinstance(target.failure, TransientError)
    await target.close()
    await driver.close()


async def test_a_cancelled_write_tells_what_became_of_its_rows(
    broker: Broker,
    rabbitmq_server: RabbitmqServer,
    make_name: str,
    proxy: Proxy,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(publishing, "_GRACE", 0.2)
    queue = await broker.queue(make_name)
    driver = amqp_driver(rabbitmq_server, port=str(proxy.port))
    target = await driver.open_target(plan(queue))
    await target.write(Batch(rows(1), None))
    proxy.mute = True
    writing = asyncio.create_task(target.write(Batch(rows(400, 1), None)))
    await broker.until_ready(queue, 1 + targets.WINDOW)
    writing.cancel()
    result = await writing
    proxy.cut()
    codes = [fault.code for _, fault in result.faults]
    assert codes == [UnknownOutcome.code] * targets.WINDOW + [targets.NOT_SENT] * (400 - targets.WINDOW)
    await target.close()
    await driver.close()


async def test_a_run_that_is_to_stop_begins_no_further_portion(
    broker: Broker, rabbitmq_server: RabbitmqServer, make_name: str
) -> None:
    queue = await broker.queue(make_name)
    driver = amqp_driver(rabbitmq_server)
    target = await driver.open_target(plan(queue))
    target.stop_soon()
    result = await target.write(Batch(rows(targets.WINDOW + 5), None))
    assert result.written == targets.WINDOW
    assert [fault.code for _, fault in result.faults] == [targets.NOT_SENT] * 5
    assert await broker.ready(queue) == targets.WINDOW
    await target.close()
    await driver.close()


async def test_a_user_without_the_right_is_told_which(
    broker: Broker, rabbitmq_server: RabbitmqServer
) -> None:
    own, other = await broker.queue("app.own"), await broker.queue("private")
    server = rabbitmq_server
    driver = amqp_driver(server, user=server.limited_user, password=server.limited_password)
    target = await driver.open_target(plan(own))
    with pytest.raises(ConfigError, match=r"access to exchange 'amq.default'") as caught:
        await target.write(Batch(rows(2), None))
    assert "right to write" in caught.value.hint and "set_permissions -p / app" in caught.value.hint
    channel = await broker.channel()
    await channel.exchange_declare("app.x", exchange_type="fanout")
    await channel.queue_bind(own, "app.x")
    allowed = await driver.open_target(plan("app.x/"))  # no trial can go ahead: its first message goes alone
    assert (await allowed.write(Batch(rows(30), None))).written == 30
    await allowed.close()
    with pytest.raises(ConfigError, match="refused for user 'app'") as caught:
        await driver.open_target(plan("app.missing"))
    assert "right to configure" in caught.value.hint and "'app.missing'" in caught.value.hint
    with pytest.raises(ConfigError, match="refused for user 'app'") as caught:
        await scan(driver, other)
    assert "right to read" in caught.value.hint
    await target.close()
    await driver.close()
    stranger = amqp_driver(server, password="not-the-password")
    with pytest.raises(CredentialError, match="refuses the sign-in of 'ada'"):
        await stranger.open_target(plan(own))


async def test_the_same_id_twice_goes_out_one_after_the_other(
    broker: Broker, rabbitmq_server: RabbitmqServer, make_name: str
) -> None:
    """The client tells the broker's returns apart by the message id."""
    queue = await broker.queue(make_name)
    driver = amqp_driver(rabbitmq_server)
    target = await driver.open_target(plan(queue))
    twins: Sequence[Row] = [item._replace(idempotency_key="same") for item in rows(6)]
    assert (await target.write(Batch(twins, None))).written == 6
    await (await broker.channel()).queue_delete(queue)
    assert len((await target.write(Batch(twins, None))).faults) == 6
    await target.close()
    await driver.close()


async def test_after_a_silence_a_trial_goes_ahead(
    broker: Broker,
    rabbitmq_server: RabbitmqServer,
    make_name: str,
    proxy: Proxy,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    queue = await broker.queue(make_name)
    driver = amqp_driver(rabbitmq_server, port=str(proxy.port))
    target = await driver.open_target(plan(queue))
    await target.write(Batch(rows(1), None))
    monkeypatch.setattr(publishing, "_PROVED_FOR", 0.0)
    proxy.cut()  # not noticed yet
    result = await target.write(Batch(rows(20, 1), None))
    assert (result.written, list(result.faults)) == (20, [])
    assert await broker.ready(queue) == 21
    await target.close()
    await driver.close()
