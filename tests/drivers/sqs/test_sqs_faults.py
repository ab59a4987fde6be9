"""What moto does not do: lost answers, refusals of single entries, moves, empty answers that prove nothing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import pytest
from drivers.sqs.conftest import sqs_driver

from platint_tui.core.errors import ErrorClass, SystemicError, TransientError
from platint_tui.core.model import Batch, NativeLetter, ReadOptions, Row, TargetPlan
from platint_tui.drivers.sqs import SqsDriver
from platint_tui.drivers.sqs.api import Measured
from tests.http.hostile import Hostile, Seen, answer

LOST = "lost"
"""As an answer: the request arrived, and the connection was cut."""
OPTIONS = ReadOptions(sync="s")


class FakeSqs(Hostile):
    """Answers each action in turn; the last answer stays. `asked` are the bodies by action."""

    def __init__(self) -> None:
        super().__init__()
        self.answers: dict[str, list[Any]] = {
            "GetQueueUrl": [lambda body: {"QueueUrl": f"{self.url}/1/{body['QueueName']}"}],
            "GetQueueAttributes": [{"Attributes": {"MaximumMessageSize": "262144"}}],
            "ChangeMessageVisibilityBatch": [{"Successful": []}],
            "DeleteMessageBatch": [{"Successful": []}],
        }
        self.routes["/"] = self._answer

    def asked(self, action: str) -> list[Any]:
        return [
            json.loads(item.body)
            for item in self.seen
            if item.headers["x-amz-target"] == f"AmazonSQS.{action}"
        ]

    async def _answer(self, seen: Seen, writer: asyncio.StreamWriter) -> None:
        queue = self.answers[seen.headers["x-amz-target"].partition(".")[2]]
        given = queue.pop(0) if len(queue) > 1 else queue[0]
        if callable(given):
            given = given(json.loads(seen.body))
        if given == LOST:
            writer.close()
        elif isinstance(given, tuple):
            writer.write(answer(given[0], given[1]))
        else:
            writer.write(answer(200, given))


@pytest.fixture
async def fake() -> AsyncIterator[FakeSqs]:
    server = FakeSqs()
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def driver(fake: FakeSqs) -> AsyncIterator[SqsDriver]:
    opened = sqs_driver(fake.url, "AKIAIOSFODNN7EXAMPLE", "x" * 40, idle=0.5)
    yield opened
    await opened.close()


def rows(count: int) -> list[Row]:
    return [Row(f"[{n}]", json.dumps({"id": n}), {"id": n}, None, f"key-{n}") for n in range(count)]


def plan(name: str) -> TargetPlan:
    return TargetPlan("s", "orders", f"queue.{name}", ("id",), None, (), 1, "r")


def message(identity: str, sent: int = 1) -> dict[str, Any]:
    return {
        "MessageId": identity,
        "ReceiptHandle": f"r-{identity}",
        "Body": identity,
        "Attributes": {"SentTimestamp": str(sent), "ApproximateReceiveCount": "1"},
    }


def taken(body: Any) -> dict[str, Any]:
    return {"Successful": [{"Id": item["Id"], "MessageId": "m"} for item in body["Entries"]]}


def failing(code: str, ours: bool, *numbers: int) -> Callable[[Any], dict[str, Any]]:
    """An answer in which the entries at these places failed."""

    def make(body: Any) -> dict[str, Any]:
        ids = [item["Id"] for item in body["Entries"]]
        failed = [{"Id": ids[n], "Code": code, "Message": "No.", "SenderFault": ours} for n in numbers]
        done = [{"Id": one, "MessageId": "m"} for n, one in enumerate(ids) if n not in numbers]
        return {"Successful": done, "Failed": failed}

    return make


async def test_a_lost_answer_is_unknown_and_never_sent_again(fake: FakeSqs, driver: SqsDriver) -> None:
    fake.answers["SendMessageBatch"] = [taken, LOST, taken]
    target = await driver.open_target(plan("a"))
    result = await target.write(Batch(rows(25), None))
    assert len(result.faults) in (5, 10) and {fault.code for _, fault in result.faults} == {"unknown_outcome"}
    sent = [item["MessageBody"] for body in fake.asked("SendMessageBatch") for item in body["Entries"]]
    assert len(sent) == len(set(sent)) == 25 and result.written == 25 - len(result.faults)


async def test_on_a_fifo_queue_it_is_sent_again_with_the_same_key(fake: FakeSqs, driver: SqsDriver) -> None:
    fake.answers["SendMessageBatch"] = [taken, LOST, taken]
    target = await driver.open_target(plan("a.fifo"))
    result = await target.write(Batch(rows(25), None))
    assert (result.written, list(result.faults)) == (25, [])
    bodies = fake.asked("SendMessageBatch")
    assert bodies[1]["Entries"] == bodies[3]["Entries"]
    keys = [item["MessageDeduplicationId"] for body in bodies for item in body["Entries"]]
    assert keys[:10] == [f"key-{n}" for n in range(10)] and len(keys) == 35


async def test_entries_that_sqs_could_not_take_are_sent_again(fake: FakeSqs, driver: SqsDriver) -> None:
    fake.answers["SendMessageBatch"] = [failing("InternalError", False, 1), taken]
    target = await driver.open_target(plan("a"))
    assert (await target.write(Batch(rows(3), None))).written == 3
    assert [len(body["Entries"]) for body in fake.asked("SendMessageBatch")] == [3, 1]
    fake.answers["SendMessageBatch"] = [failing("InternalError", False, 0)]
    result = await target.write(Batch(rows(1), None))
    assert result.faults[0][1].error_class is ErrorClass.TRANSIENT
    fake.answers["SendMessageBatch"] = [failing("InvalidMessageContents", True, 2)]
    result = await target.write(Batch(rows(3), None))
    assert [(index, fault.code) for index, fault in result.faults] == [(2, "InvalidMessageContents")]


async def test_no_answer_at_all_and_nothing_taken_is_transient(fake: FakeSqs, driver: SqsDriver) -> None:
    target = await driver.open_target(plan("a"))
    await fake.stop()
    await asyncio.sleep(0.05)  # the client notices that the connection is gone
    with pytest.raises(TransientError):
        await target.write(Batch(rows(2), None))
    await fake.start()


async def test_a_delete_that_fails_for_now_is_sent_again(fake: FakeSqs, driver: SqsDriver) -> None:
    fake.answers["ReceiveMessage"] = [{"Messages": [message("a"), message("b"), message("c")]}, {}]
    fake.answers["DeleteMessageBatch"] = [failing("InternalError", False, 1), failing("Gone", True, 0)]
    pages = [page async for page in driver.read("queue.a", None, OPTIONS)]
    await driver.acknowledge("queue.a", pages[0].position)
    deleted = [
        [item["ReceiptHandle"] for item in body["Entries"]] for body in fake.asked("DeleteMessageBatch")
    ]
    assert deleted == [["r-a", "r-b", "r-c"], ["r-b"]]


async def test_one_empty_answer_proves_nothing(fake: FakeSqs, driver: SqsDriver) -> None:
    fake.answers["ReceiveMessage"] = [{"Messages": [message("a")]}, {}, {"Messages": [message("b")]}, {}]
    pages = [page async for page in driver.read("queue.a", None, OPTIONS)]
    assert [item.value["id"] for page in pages for item in page.records] == ["a", "b"]
    assert len(fake.asked("ReceiveMessage")) == 5 and pages[-1].last


async def test_a_message_that_comes_twice_is_given_out_once_and_deleted_twice(
    fake: FakeSqs, driver: SqsDriver
) -> None:
    again = {**message("a"), "ReceiptHandle": "r-a2"}
    late = {**message("a"), "ReceiptHandle": "r-a3"}
    fake.answers["ReceiveMessage"] = [
        {"Messages": [message("a")]},
        {"Messages": [again]},
        {"Messages": [late]},
        {},
    ]
    seen: list[str] = []
    count = 0
    async for page in driver.read("queue.a", None, OPTIONS):
        count += 1
        seen += [item.value["id"] for item in page.records]
        if count == 2 or count > 2:  # both receipts are of the first page
            await driver.acknowledge("queue.a", page.position)
    deleted = [item["ReceiptHandle"] for body in fake.asked("DeleteMessageBatch") for item in body["Entries"]]
    assert seen == ["a"] and deleted == ["r-a", "r-a2", "r-a3"]


async def test_a_connection_that_is_cut_in_a_receive_loses_nothing(fake: FakeSqs, driver: SqsDriver) -> None:
    fake.answers["ReceiveMessage"] = [LOST, {"Messages": [message("a")]}, {}]
    pages = []
    async for page in driver.read("queue.a.fifo", None, OPTIONS):
        pages.append(page)
        await driver.acknowledge("queue.a.fifo", page.position)
    assert [item.value["id"] for page in pages for item in page.records] == ["a"]
    first, second = fake.asked("ReceiveMessage")[:2]
    assert first["ReceiveRequestAttemptId"] == second["ReceiveRequestAttemptId"]
    fake.answers["ReceiveMessage"] = [LOST]
    with pytest.raises(TransientError):
        _ = [page async for page in driver.read("queue.a", None, OPTIONS)]


async def test_a_damaged_message_is_not_taken(fake: FakeSqs, driver: SqsDriver) -> None:
    fake.answers["ReceiveMessage"] = [{"Messages": [{**message("a"), "MD5OfBody": "0" * 32}]}]
    with pytest.raises(TransientError, match="damaged"):
        _ = [page async for page in driver.read("queue.a", None, OPTIONS)]


async def test_a_refused_request_of_ours_is_no_record_fault(fake: FakeSqs, driver: SqsDriver) -> None:
    refusal = (400, {"__type": "com.amazonaws.sqs#InvalidParameterValue", "message": "No."})
    fake.answers["ReceiveMessage"] = [refusal]
    with pytest.raises(SystemicError, match="No"):
        _ = [page async for page in driver.read("queue.a", None, OPTIONS)]


LETTER = NativeLetter("a", "dlq", "orders", "", b"payload", {"attributes": {}})


async def test_an_unknown_return_keeps_the_old_one(fake: FakeSqs, driver: SqsDriver) -> None:
    fake.answers["ReceiveMessage"] = [{"Messages": [message("a")]}, {}]
    fake.answers["SendMessage"] = [LOST]
    returned = await driver.return_dead(LETTER, "k")
    assert returned.outcome == "unknown" and "still in dlq" in returned.message
    assert fake.asked("DeleteMessage") == [] and len(fake.asked("SendMessage")) == 1
    shown = fake.asked("ChangeMessageVisibilityBatch")[-1]["Entries"]
    assert [(item["ReceiptHandle"], item["VisibilityTimeout"]) for item in shown] == [("r-a", 0)]
    several = await driver.return_dead(replace(LETTER, origin=""), "k")
    assert several.outcome == "refused" and len(fake.asked("SendMessage")) == 1


async def test_everything_can_be_moved_back_at_a_pace(fake: FakeSqs, driver: SqsDriver) -> None:
    fake.answers["GetQueueAttributes"] = [{"Attributes": {"QueueArn": "arn:dlq"}}]
    fake.answers["StartMessageMoveTask"] = [{"TaskHandle": "task"}]
    assert await driver.redrive("dlq", 50) == "task"
    assert fake.asked("StartMessageMoveTask") == [
        {"SourceArn": "arn:dlq", "MaxNumberOfMessagesPerSecond": 50}
    ]


async def test_waiting_for_messages_is_no_latency() -> None:
    seen: list[tuple[str, bool]] = []

    class Notes:
        def observe(self, operation: str, seconds: float, ok: bool) -> None:
            seen.append((operation, ok))

    measured = Measured(Notes())
    for operation, seconds, ok in [
        ("receive queue.a", 19.5, True),
        ("receive queue.a", 0.1, True),
        ("receive queue.a", 19.5, False),
        ("delete queue.a", 2.0, True),
    ]:
        measured.observe(operation, seconds, ok)
    assert seen == [("receive queue.a", True), ("receive queue.a", False), ("delete queue.a", True)]
