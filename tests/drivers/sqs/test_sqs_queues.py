"""Queues of SQS consumed and sent to, against moto with its signature check."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from drivers.sqs.conftest import Sqs, sqs_driver

from platint_tui.core.errors import ConfigError, CredentialError
from platint_tui.core.jsontext import content_hash
from platint_tui.core.model import (
    Batch,
    Contract,
    Evolution,
    Page,
    ReadOptions,
    Row,
    TargetPlan,
)
from platint_tui.core.ports import Acknowledging, Following, HoldsDeadLetters, PlansTarget
from platint_tui.drivers.sqs import SqsDriver, consumer, letters
from platint_tui.drivers.suite import Kit, ReadSuite, WriteSuite

OPTIONS = ReadOptions(sync="orders")
_numbers = itertools.count()


def unique(name: str) -> str:
    return f"{name}-{next(_numbers)}"


class TestSqs(ReadSuite, WriteSuite):
    @pytest.fixture
    def kit(self, sqs: Sqs) -> Kit:
        name = unique("suite")
        url = sqs.queue(name)
        goal = unique("suite-target")
        sqs.queue(goal, MaximumMessageSize="262144")

        async def put(count: int) -> Sequence[str]:
            return await asyncio.to_thread(
                sqs.send, url, *(json.dumps({"order": number}) for number in range(count))
            )

        async def held() -> Mapping[str, Any]:
            found = await asyncio.to_thread(sqs.take, sqs.url(goal))
            return {str(json.loads(item["Body"])["id"]): item["Body"] for item in found}

        return Kit(
            driver=sqs.driver,
            refused=lambda: sqs_driver(sqs.moto.url, sqs.moto.key, "x" * 40),
            stream=f"queue.{name}",
            put=put,
            missing="queue.no-such-queue",
            consumes=True,
            target=f"queue.{goal}",
            bad=lambda number: {"id": number, "name": "x" * 300_000},
            held=held,
        )


async def scan(
    driver: SqsDriver, stream: str, options: ReadOptions = OPTIONS, acknowledge: bool = True
) -> list[Page]:
    pages = []
    async for page in driver.read(stream, None, options):
        pages.append(page)
        if acknowledge:
            await driver.acknowledge(stream, page.position)
    return pages


def records(pages: Sequence[Page]) -> list[dict[str, Any]]:
    return [item.value for page in pages for item in page.records]


def row(number: int, **more: Any) -> Row:
    value = {"id": number, **more}
    return Row(f"[{number}]", json.dumps(value), value, None, f"key-{number}")


def plan(name: str, **changes: Any) -> TargetPlan:
    base: dict[str, Any] = {"sync": "s", "stream": "orders", "key": ("id",), "cursor": None, "fields": ()}
    return TargetPlan(**{**base, "target": f"queue.{name}", "epoch": 1, "run": "r", **changes})


async def test_the_driver_has_what_queues_can_do(driver: SqsDriver) -> None:
    for protocol in (Following, Acknowledging, HoldsDeadLetters, PlansTarget):
        assert isinstance(driver, protocol)
    assert driver.follows("queue.a", replace(OPTIONS, follow=True))
    assert not driver.follows("queues", replace(OPTIONS, follow=True))


async def test_queues_are_discovered_with_their_state(driver: SqsDriver, sqs: Sqs) -> None:
    name = unique("facts")
    url, _ = sqs.dead_letter_pair(name, most=3)
    fifo = unique("facts") + ".fifo"
    sqs.queue(fifo, FifoQueue="true", VisibilityTimeout="45")
    sqs.send(url, "a", "b", "c")
    sqs.call("ReceiveMessage", QueueUrl=url, MaxNumberOfMessages=1, VisibilityTimeout=60)
    found = {item.name: item for item in await driver.discover()}
    assert {"queues", "messages", "queue"} <= set(found)
    stream = found[f"queue.{name}"]
    assert (stream.kind, stream.modes, stream.key, stream.estimate) == ("queue", ("consume",), ("id",), 2)
    facts = dict(stream.facts)
    assert (facts["waiting"], facts["hidden"], facts["type"]) == ("2", "1", "standard")
    assert facts["dead letters to"] == f"{name}-dlq after 3 receives" and facts["retention"] == "4 days"
    assert dict(found[f"queue.{name}-dlq"].facts)["dead letters of"] == name
    assert dict(found[f"queue.{fifo}"].facts) | {"type": "FIFO", "visibility timeout": "45 s"} == dict(
        found[f"queue.{fifo}"].facts
    )
    assert stream.writable and {field.name for field in stream.fields} >= {"id", "body", "headers"}


async def test_a_record_has_what_the_message_had(driver: SqsDriver, sqs: Sqs) -> None:
    name = unique("shape") + ".fifo"
    url = sqs.queue(name, FifoQueue="true")
    attributes = {
        "source": {"DataType": "String", "StringValue": "shop"},
        "amount": {"DataType": "Number", "StringValue": "12345678901234567890.5"},
        "sign": {"DataType": "Binary", "BinaryValue": "/wA="},
    }
    sent = sqs.call(
        "SendMessage",
        QueueUrl=url,
        MessageBody='{"customer": {"id": 7}}',
        MessageAttributes=attributes,
        MessageGroupId="c7",
        MessageDeduplicationId="d7",
    )
    page = (await scan(driver, f"queue.{name}"))[0]
    found = page.records[0].value
    assert found["id"] == sent["MessageId"] and found["body"] == {"customer": {"id": 7}}
    assert found["headers"]["source"] == "shop" and found["headers"]["sign"] == "/wA="
    assert str(found["headers"]["amount"]) == "12345678901234567890.5"
    assert '"amount":12345678901234567890.5' in page.records[0].raw
    assert found["header_types"] == {"amount": "Number", "sign": "Binary"}
    assert found["key"] == "c7" and found["queue"] == name
    assert found["system"]["MessageDeduplicationId"] == "d7" and found["timestamp"].endswith("+00:00")
    assert "ApproximateReceiveCount" not in found["system"] and "receive_count" not in found
    assert abs(page.happened[0] - time.time() * 1000) < 60_000
    assert sqs.depth(url) == (0, 0)


async def test_the_receive_count_is_there_where_it_is_asked_for(driver: SqsDriver, sqs: Sqs) -> None:
    name = unique("count")
    sqs.send(sqs.queue(name), "a")
    first = await scan(driver, f"queue.{name}", acknowledge=False)
    again = await scan(driver, f"queue.{name}", acknowledge=False)
    counted = await scan(driver, f"queue.{name}", replace(OPTIONS, columns=("id", "receive_count")))
    assert records(counted)[0]["receive_count"] == 3
    # A message that comes again is the same record, to the byte: a replay of it has the same key.
    assert first[0].records[0].raw == again[0].records[0].raw


async def test_a_crash_between_commit_and_acknowledgement_repeats_the_same(sqs: Sqs) -> None:
    name = unique("crash")
    url = sqs.queue(name)
    wanted = set(sqs.send(url, *(f"order {number}" for number in range(25))))
    stored: dict[str, str] = {}

    def store(pages: Sequence[Page]) -> int:
        before = len(stored)
        for page in pages:
            for item in page.records:
                held = stored.setdefault(item.value["id"], content_hash(item.raw))
                assert held == content_hash(item.raw)
        return len(stored) - before

    lost = sqs.driver(visibility=1.0)
    pages = lost.read(f"queue.{name}", None, OPTIONS)
    store([await anext(aiter(pages))])  # stored, and then this process dies
    keeper = lost._consumers[f"queue.{name}"]._keeper
    assert keeper is not None
    keeper.cancel()
    await asyncio.sleep(1.1)
    driver = sqs.driver()
    again = await scan(driver, f"queue.{name}")
    store(again)
    # A position of the reader that is gone says nothing about the receipts of this one.
    await driver.acknowledge(f"queue.{name}", {"v": 1, "kind": "consume", "reader": "gone", "page": 99})
    await driver.close()
    await pages.aclose()  # type: ignore[attr-defined]
    await lost.close()
    assert set(stored) == wanted and len(records(again)) == 25 and sqs.depth(url) == (0, 0)


async def test_only_stored_pages_are_deleted(sqs: Sqs) -> None:
    name = unique("pages")
    url = sqs.queue(name)
    sqs.send(url, *(str(number) for number in range(60)))
    driver = sqs.driver()
    pages = [page async for page in driver.read(f"queue.{name}", None, OPTIONS)]
    held = [page for page in pages if page.records]
    assert len(held) > 2 and sqs.depth(url) == (0, 60)
    await driver.acknowledge(f"queue.{name}", held[1].position)
    kept = sum(len(page.records) for page in held[2:])
    assert sqs.depth(url) == (0, kept)
    await driver.close()  # gives the others back
    assert sqs.depth(url) == (kept, 0)


async def test_pages_that_wait_stay_hidden(sqs: Sqs) -> None:
    name = unique("slow")
    url = sqs.queue(name)
    sqs.send(url, "a", "b")
    driver = sqs.driver(visibility=1.0)
    pages = [page async for page in driver.read(f"queue.{name}", None, OPTIONS)]
    await asyncio.sleep(1.6)
    assert sqs.depth(url) == (0, 2)
    await driver.acknowledge(f"queue.{name}", pages[-1].position)
    assert sqs.depth(url) == (0, 0)
    await driver.close()


async def test_followed_it_gives_signs_of_life_and_what_comes(sqs: Sqs) -> None:
    name = unique("follow")
    url = sqs.queue(name)
    driver = sqs.driver(heartbeat=0.2)
    stream = f"queue.{name}"
    pages = driver.read(stream, None, replace(OPTIONS, follow=True))
    quiet = [await anext(pages), await anext(pages)]
    assert [(page.records, page.last) for page in quiet] == [((), False)] * 2
    assert quiet[0].position == quiet[1].position
    sent = await asyncio.to_thread(sqs.send, url, "new")
    seen: list[Page] = []
    async with asyncio.timeout(5):
        while not records(seen):
            seen.append(await anext(pages))
            await driver.acknowledge(stream, seen[-1].position)
    assert [item["id"] for item in records(seen)] == sent and not seen[-1].last
    await pages.aclose()  # type: ignore[attr-defined]
    await driver.close()
    assert sqs.depth(url) == (0, 0)


async def test_a_look_gives_everything_back(sqs: Sqs) -> None:
    name = unique("look")
    url = sqs.queue(name)
    sqs.send(url, *(str(number) for number in range(15)))
    driver = sqs.driver()
    pages = driver.read(f"queue.{name}", None, replace(OPTIONS, peek=True))
    first = await anext(pages)
    assert len(first.records) == 10 and sqs.depth(url) == (5, 10)
    await pages.aclose()  # type: ignore[attr-defined]
    assert sqs.depth(url) == (15, 0)
    sqs.dead_letter_pair(once := unique("once"), most=1)
    with pytest.raises(ConfigError, match="would send its messages to") as caught:
        await scan(driver, f"queue.{once}", replace(OPTIONS, peek=True))
    assert "maxReceiveCount" in caught.value.hint
    await driver.close()


async def test_a_fifo_queue_is_read_in_the_order_of_its_groups(sqs: Sqs) -> None:
    name = unique("order") + ".fifo"
    url = sqs.queue(name, FifoQueue="true", ContentBasedDeduplication="true")
    for number in range(24):
        body = json.dumps({"group": number % 2, "n": number})
        sqs.call("SendMessage", QueueUrl=url, MessageBody=body, MessageGroupId=f"g{number % 2}")
    driver = sqs.driver()
    found = [item["body"] for item in records(await scan(driver, f"queue.{name}"))]
    await driver.close()
    assert len(found) == 24
    for group in (0, 1):
        assert [item["n"] for item in found if item["group"] == group] == list(range(group, 24, 2))


async def test_a_queue_that_is_filled_all_the_time_ends_a_scan(sqs: Sqs) -> None:
    name = unique("busy")
    url = sqs.queue(name)
    sqs.send(url, "old")
    driver = sqs.driver()
    stream, count = f"queue.{name}", 0
    async with asyncio.timeout(10):
        async for page in driver.read(stream, None, OPTIONS):
            count += len(page.records)
            await driver.acknowledge(stream, page.position)
            await asyncio.to_thread(sqs.send, url, "new")
    assert 5 <= count < 20
    await driver.close()


async def test_a_message_that_can_be_no_record_is_kept_and_then_deleted(sqs: Sqs) -> None:
    name = unique("bad")
    url = sqs.queue(name)
    sqs.send(url, '{"a": 1, "a": 2}', '{"a": 1}')
    driver = sqs.driver()
    pages = await scan(driver, f"queue.{name}")
    bad = [item for page in pages for item in page.bad]
    assert (
        len(bad) == 1 and "cannot be kept exactly" in bad[0].reason and "a" in json.loads(bad[0].raw)["body"]
    )
    assert [item["body"] for item in records(pages)] == [{"a": 1}] and sqs.depth(url) == (0, 0)
    await driver.close()


async def test_large_messages_come_whole(sqs: Sqs) -> None:
    name = unique("large")
    url = sqs.queue(name)
    bodies = [json.dumps({"n": number, "text": "ü" * 120_000}) for number in range(5)]
    for body in bodies:
        sqs.call("SendMessage", QueueUrl=url, MessageBody=body)
    driver = sqs.driver()
    found = [item["body"] for item in records(await scan(driver, f"queue.{name}"))]
    assert sorted(item["n"] for item in found) == list(range(5))
    assert {len(item["text"]) for item in found} == {120_000}
    await driver.close()


async def test_a_queue_that_vanishes_is_told(sqs: Sqs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumer, "LONGEST_POLL", 1)  # moto notices it with the next receive only
    name = unique("vanish")
    url = sqs.queue(name)
    driver = sqs.driver(heartbeat=0.1)
    pages = driver.read(f"queue.{name}", None, replace(OPTIONS, follow=True))
    await anext(pages)
    await asyncio.to_thread(sqs.call, "DeleteQueue", QueueUrl=url)
    with pytest.raises(ConfigError) as caught:
        async with asyncio.timeout(5):
            async for _ in pages:
                pass
    assert name in caught.value.sentence() and caught.value.hint
    await driver.close()


# --- writing ----------------------------------------------------------------------------------------------


async def test_rows_become_messages_with_their_key(driver: SqsDriver, sqs: Sqs) -> None:
    name = unique("write")
    url = sqs.queue(name, MaximumMessageSize="262144")
    target = await driver.open_target(plan(name))
    message = {
        "id": "m1",
        "body": "as it was",
        "headers": {"trace": "t1", "n": 5},
        "key": None,
        "queue": "other",
        "timestamp": None,
    }
    rows = [row(1, name="ü"), row(2, nothing=None)._replace(value=message), row(3, big="x" * 262_144)]
    result = await target.write(Batch(rows, None))
    assert result.written == 2 and [index for index, _ in result.faults] == [2]
    assert result.faults[0][1].code == "too_large" and "262,144" in result.faults[0][1].message
    found = {item["Body"]: item["MessageAttributes"] for item in sqs.take(url)}
    assert set(found) == {'{"id":1,"name":"ü"}', "as it was"}
    assert found['{"id":1,"name":"ü"}']["idempotency-key"]["StringValue"] == "key-1"
    assert found["as it was"]["trace"] == {"StringValue": "t1", "DataType": "String"}
    assert found["as it was"]["n"] == {"StringValue": "5", "DataType": "Number"}


async def test_a_fifo_queue_drops_repeats_and_keeps_the_order(driver: SqsDriver, sqs: Sqs) -> None:
    name = unique("fifo") + ".fifo"
    url = sqs.queue(name, FifoQueue="true")
    target = await driver.open_target(plan(name))
    rows = [row(number) for number in range(30)]
    assert (await target.write(Batch(rows, None))).written == 30
    assert (await target.write(Batch(rows, None))).written == 30  # as after a crash
    found = sqs.take(url)
    assert [json.loads(item["Body"])["id"] for item in found] == list(range(30))
    assert {item["Attributes"]["MessageGroupId"] for item in found} == {f"[{number}]" for number in range(30)}
    assert found[4]["Attributes"]["MessageDeduplicationId"] == "key-4"


async def test_a_missing_queue_is_made_only_where_the_contract_says_so(driver: SqsDriver, sqs: Sqs) -> None:
    name = unique("made") + ".fifo"
    frozen = plan(name, contract=Contract(tables=Evolution.FREEZE))
    for open_ in (driver.open_target, driver.plan_target):
        with pytest.raises(ConfigError, match="no queue") as caught:
            await open_(frozen)
        assert "evolve" in caught.value.hint
    changes = await driver.plan_target(plan(name))
    assert [(item.kind, item.target) for item in changes] == [("create_queue", f"queue.{name}")]
    target = await driver.open_target(plan(name))
    assert (await target.write(Batch([row(1)], None))).written == 1
    assert len(sqs.take(sqs.url(name))) == 1 and await driver.plan_target(plan(name)) == ()


# --- dead letters -----------------------------------------------------------------------------------------


@pytest.fixture
def dead(sqs: Sqs, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str, str]:
    """(name of the source, its URL, the URL of its dead-letter queue), with three dead letters."""
    monkeypatch.setattr(letters, "WAIT", 0)  # moto answers from one server, so nothing is missed
    name = unique("dead")
    url, dlq = sqs.dead_letter_pair(name)
    attributes = {"trace": {"DataType": "String", "StringValue": "t"}}
    sqs.send(url, '{"n": 0}', '{"n": 1}', '{"n": 2}', MessageAttributes=attributes)
    sqs.take(url, VisibilityTimeout=0, MaxNumberOfMessages=3)
    sqs.take(url)
    assert sqs.depth(dlq) == (3, 0)
    return name, url, dlq


async def letters_of(driver: SqsDriver, queue: str, limit: int = 100) -> list[Any]:
    return [item async for item in driver.browse_dead(queue, limit)]


async def test_dead_letters_are_looked_at_and_left(
    driver: SqsDriver, sqs: Sqs, dead: tuple[str, str, str]
) -> None:
    name, _, dlq = dead
    queue = next(item for item in await driver.dead_queues() if item.name == f"{name}-dlq")
    assert (queue.depth, queue.origin, queue.oldest_ms) == (3, name, None)
    found = await letters_of(driver, queue.name)
    assert [json.loads(item.payload)["n"] for item in found] == [0, 1, 2]
    assert {(item.origin, item.queue, item.code) for item in found} == {(name, queue.name, "max_receives")}
    assert found[0].properties["attributes"]["trace"]["StringValue"] == "t" and found[0].deliveries
    assert sqs.depth(dlq) == (3, 0) and len(await letters_of(driver, queue.name, 2)) == 2
    known = next(item for item in await driver.dead_queues() if item.name == queue.name)
    assert known.oldest_ms == found[0].properties["sent_ms"]


async def test_a_dead_letter_goes_back_and_is_then_removed(
    driver: SqsDriver, sqs: Sqs, dead: tuple[str, str, str]
) -> None:
    name, url, dlq = dead
    found = await letters_of(driver, f"{name}-dlq")
    edited = replace(found[1], payload=b'{"n": 1, "fixed": true}')
    assert (await driver.return_dead(edited, "k1")).outcome == "sent"
    assert (await driver.return_dead(found[2], "k2")).outcome == "sent"
    back = {item["Body"]: item["MessageAttributes"] for item in sqs.take(url)}
    assert set(back) == {'{"n": 1, "fixed": true}', '{"n": 2}'}
    assert back['{"n": 2}']["trace"]["StringValue"] == "t"
    assert (await driver.discard_dead(found[0])).outcome == "gone"
    assert sum(sqs.depth(dlq)) == 0
    again = await driver.return_dead(found[1], "k1")
    assert again.outcome == "gone" and sqs.take(url) == []


async def test_what_a_search_had_in_hand_is_given_back(sqs: Sqs, dead: tuple[str, str, str]) -> None:
    name, _, dlq = dead
    driver = sqs.driver()
    found = await letters_of(driver, f"{name}-dlq")
    await driver.discard_dead(found[2])
    await driver.close()
    assert sqs.depth(dlq) == (2, 0)


async def test_a_dead_letter_queue_that_moves_messages_on_is_left_alone(driver: SqsDriver, sqs: Sqs) -> None:
    name = unique("chain")
    sqs.dead_letter_pair(name, most=3)
    with pytest.raises(ConfigError, match="own redrive policy") as caught:
        await letters_of(driver, name)
    assert "maxReceiveCount" in caught.value.hint


# --- rights -----------------------------------------------------------------------------------------------


async def test_probes_say_what_is_allowed(sqs: Sqs) -> None:
    name = unique("probe")
    driver = sqs.driver({"queue_url": sqs.queue(name)})
    outcomes = {item.id: item for item in await driver.check()}
    await driver.close()
    assert all(outcomes[name].ok for name in ("queues", "receive", "delete")), outcomes
    assert outcomes["receive"].detail == f"Allowed on {name}"
    stranger = sqs_driver(sqs.moto.url, sqs.moto.key, "x" * 40)
    outcomes = {item.id: item for item in await stranger.check()}
    await stranger.close()
    assert outcomes["queues"].error_class == "auth" and not outcomes["receive"].tried


async def test_a_missing_right_is_named(sqs: Sqs) -> None:
    name = unique("denied")
    url = sqs.queue(name)
    sqs.moto.iam({"Action": "CreateUser", "UserName": name})
    made = sqs.moto.iam({"Action": "CreateAccessKey", "UserName": name})
    key, secret = (
        made.partition(f"<{word}>")[2].partition("<")[0] for word in ("AccessKeyId", "SecretAccessKey")
    )
    allowed = {"Effect": "Allow", "Action": ["sqs:GetQueueUrl", "sqs:ReceiveMessage"], "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
    sqs.moto.iam({"Action": "PutUserPolicy", "UserName": name, "PolicyName": "p", "PolicyDocument": policy})
    driver = sqs_driver(sqs.moto.url, key, secret, idle=0.5)
    sqs.send(url, "a")
    stream = f"queue.{name}"
    pages = [page async for page in driver.read(stream, None, OPTIONS)]
    with pytest.raises(CredentialError) as caught:
        await driver.acknowledge(stream, pages[-1].position)
    assert "sqs:DeleteMessage" in caught.value.sentence()
    target = await driver.open_target(plan(name))
    with pytest.raises(CredentialError) as refused:
        await target.write(Batch([row(1)], None))
    assert "sqs:SendMessage" in refused.value.sentence()
    await driver.close()
