"""A broker that is killed while it is read and written, and one that takes no messages."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from drivers.amqp.conftest import SCAN, Broker, amqp_driver, numbered
from drivers.amqp.test_amqp_publishing import plan, rows
from drivers.amqp.test_amqp_redelivery import Stored
from peers.rabbitmq import SCRIPTS, RabbitmqServer

from platint_tui.core.errors import TransientError, UnknownOutcome
from platint_tui.core.model import Batch
from platint_tui.drivers.amqp import AmqpDriver
from platint_tui.drivers.amqp.target import NOT_SENT, AmqpTarget

READ, WRITTEN, BATCH = 500, 6_000, 300


class Work:
    """What an engine does with one source and one target, over lost connections; until `stop`."""

    def __init__(self, driver: AmqpDriver) -> None:
        self.driver = driver
        self.stop = False
        self.confirmed: set[str] = set()
        self.unknown: set[str] = set()
        self.batches = [rows(BATCH, start) for start in range(0, WRITTEN, BATCH)]

    async def read(self, queue: str, stored: Stored) -> None:
        """Commit, acknowledge, and after a lost connection go on from what is committed."""
        while len(stored.rows) < READ and not self.stop:
            try:
                pages = self.driver.read(queue, stored.position, SCAN)
                async with contextlib.aclosing(pages):  # type: ignore[type-var]
                    async for page in pages:
                        stored.commit(page)
                        await asyncio.sleep(0.02)
                        await self.driver.acknowledge(queue, page.position)
            except TransientError:
                await asyncio.sleep(0.1)

    async def write(self, queue: str) -> None:
        """Every batch, once."""
        while self.batches and not self.stop:
            with contextlib.suppress(TransientError):
                target = await self.driver.open_target(plan(queue))
                try:
                    while self.batches and not self.stop:
                        await self._batch(target)
                finally:
                    await target.close()
            await asyncio.sleep(0.1)

    async def _batch(self, target: AmqpTarget) -> None:
        batch = self.batches[0]
        result = await target.write(Batch(batch, None))
        self.batches.pop(0)
        lost = {batch[index].idempotency_key: fault.code for index, fault in result.faults}
        self.unknown |= {key for key, code in lost.items() if code == UnknownOutcome.code}
        self.confirmed |= {row.idempotency_key for row in batch} - set(lost)
        # Rows that were not sent wait for a replay, which sends them.
        if left := [row for row in batch if lost.get(row.idempotency_key) == NOT_SENT]:
            self.batches.append(left)
        if target.failure is not None:
            raise target.failure


async def test_a_killed_broker_loses_and_doubles_nothing(
    broker: Broker, rabbitmq_server: RabbitmqServer
) -> None:
    # A classic queue may forget acknowledgements in a crash: what comes again is known by its id. A quorum queue
    # does not, so messages without ids are known there too.
    named = await broker.queue("crash-named")
    unnamed = await broker.queue("crash-unnamed", queue_type="quorum")
    destination = await broker.queue("crash-written")
    await broker.send(named, numbered(READ), message_id="{id}")
    await broker.send(unnamed, numbered(READ))
    # RabbitMQ writes down a while later that it has made a quorum queue; killed before that, it has lost it.
    await control(rabbitmq_server, "[dets:sync(Table) || Table <- dets:all()].")
    driver = amqp_driver(rabbitmq_server, source={"chunk": 20, "prefetch": 100}, attempts=2)
    work = Work(driver)
    stored = {named: Stored(), unnamed: Stored()}
    tasks = [asyncio.create_task(work.read(queue, item)) for queue, item in stored.items()]
    tasks.append(asyncio.create_task(work.write(destination)))
    try:
        async with asyncio.timeout(20):
            while min(len(item.rows) for item in stored.values()) < READ // 3 or not work.confirmed:
                await asyncio.sleep(0.01)
        rabbitmq_server.kill()
        await asyncio.sleep(0.1)
        ended = [task for task in tasks if task.done()]
        rabbitmq_server.start_again()
        assert not ended, ended
        async with asyncio.timeout(30):
            await asyncio.gather(*tasks)
    finally:
        work.stop = True
        await asyncio.wait(tasks, timeout=5)
        await driver.close()
    assert [len(item.rows) for item in stored.values()] == [READ, READ]
    held = [message.header.properties.message_id or "" for message in await broker.drain(destination)]
    assert len(held) == len(set(held))
    assert work.confirmed <= set(held) <= work.confirmed | work.unknown
    assert work.confirmed | work.unknown == {f"key-{number}" for number in range(WRITTEN)}


async def test_a_broker_in_alarm_is_waited_for_and_says_why(
    broker: Broker, rabbitmq_server: RabbitmqServer
) -> None:
    queue = await broker.queue("alarm")
    driver = amqp_driver(rabbitmq_server, total=0.3, attempts=1)
    target = await driver.open_target(plan(queue))
    watermark = "vm_memory_monitor:set_vm_memory_high_watermark"
    await control(rabbitmq_server, f"{watermark}(0.0001), timer:apply_after(1500, vm_memory_monitor,"
                  " set_vm_memory_high_watermark, [0.4]).")  # fmt: skip
    with pytest.raises(TransientError, match="takes no messages now: low on memory") as caught:
        await target.write(Batch(rows(300), None))
    assert caught.value.code == "blocked" and "rabbitmq-diagnostics alarms" in caught.value.hint
    patient = amqp_driver(rabbitmq_server, total=20.0)
    other = await patient.open_target(plan(queue))
    assert (await other.write(Batch(rows(300), None))).written == 300  # the alarm ends meanwhile
    assert await broker.ready(queue) == 300
    for opened in (target, other, driver, patient):
        await opened.close()


async def control(server: RabbitmqServer, expression: str) -> None:
    """Evaluate an Erlang expression in the broker."""
    process = await asyncio.create_subprocess_exec(
        f"{SCRIPTS}/rabbitmqctl",
        "eval",
        expression,
        env=server.environment(),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    _, complaint = await process.communicate()
    assert process.returncode == 0, complaint
