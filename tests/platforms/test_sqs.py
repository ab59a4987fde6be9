"""Amazon SQS through its manifest, against the emulator moto, which checks every signature."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from peers.moto import MotoServer
from platforms.vendor import Account, Asked, Reply, Vendor, account, running

from platint_tui.core.errors import ConfigError, CredentialError

AMZ = {"Content-Type": "application/x-amz-json-1.0"}
KEY = {"access_key_id": "AKIAIOSFODNN7EXAMPLE", "secret_access_key": "x" * 40}


@pytest.fixture
async def sqs(moto_server: MotoServer) -> AsyncIterator[Account]:
    secrets = {"access_key_id": moto_server.key, "secret_access_key": moto_server.secret}
    async with account("sqs", {"endpoint_url": moto_server.url}, secrets) as opened:
        yield opened


async def test_queues_and_messages(sqs: Account) -> None:
    assert (await sqs.check())["queues"].ok
    made = await sqs.write("queues", "upsert", {"QueueName": "orders"}, {"QueueName": "empty"})
    assert made.written == 2 and made.responses[0]["QueueUrl"].endswith("/orders")
    queues = await sqs.read(stream="queues")
    assert {item["QueueUrl"].rpartition("/")[2] for item in queues} == {"empty", "orders"}
    assert {"queues", "messages", "queue_attributes"} <= await sqs.streams()

    url = made.responses[0]["QueueUrl"]
    sent = await sqs.write(
        "messages", "create", *({"QueueUrl": url, "MessageBody": f"order {number}"} for number in range(23))
    )
    assert sent.written == 23 and all(item["MessageId"] for item in sent.responses.values())
    attributes = {item["QueueUrl"]: item["Attributes"] for item in await sqs.read(stream="queue_attributes")}
    assert attributes[url]["ApproximateNumberOfMessages"] == "23"

    messages = await sqs.read(stream="messages")
    assert {item["Body"] for item in messages} == {f"order {number}" for number in range(23)}
    assert {item["QueueUrl"] for item in messages} == {url}
    # What was received is hidden for a while, not deleted.
    deleted = await sqs.write("messages", "delete", *messages[:20])
    assert deleted.written == 20
    shown = [{**item, "VisibilityTimeout": 0} for item in messages[20:]]
    assert (await sqs.write("messages", "update", *shown)).written == 3
    assert {item["MessageId"] for item in await sqs.read(stream="messages")} == {
        item["MessageId"] for item in messages[20:]
    }
    assert await sqs.read(stream="dead_letter_sources") == []
    assert (await sqs.write("queues", "delete", *queues)).written == 2


async def test_ten_messages_in_a_request(sqs: Account, moto_server: MotoServer) -> None:
    made = await sqs.write("queues", "upsert", {"QueueName": "bulk"})
    url = made.responses[0]["QueueUrl"]
    secrets = {"access_key_id": moto_server.key, "secret_access_key": moto_server.secret}
    async with account("sqs", {"endpoint_url": moto_server.url, "queue_url": url}, secrets) as sender:
        rows = [{"MessageBody": f"order {number}"} for number in range(25)]
        assert (await sender.write("queue", "create", *rows)).written == 25
    attributes = {item["QueueUrl"]: item["Attributes"] for item in await sqs.read(stream="queue_attributes")}
    assert attributes[url]["ApproximateNumberOfMessages"] == "25"


async def test_one_of_ten_is_refused() -> None:
    vendor = Vendor()

    def answer(asked: Asked) -> Reply:
        entries = asked.json["Entries"]
        failed = {
            "Id": entries[1]["Id"],
            "Code": "InvalidMessageContents",
            "Message": "No.",
            "SenderFault": True,
        }
        return Reply({"Successful": [{"Id": entries[0]["Id"]}], "Failed": [failed]}, headers=AMZ)

    vendor.on("POST /", answer)
    async with running(vendor):
        fields = {"endpoint_url": vendor.url, "queue_url": f"{vendor.url}/1/a"}
        async with account("sqs", fields, KEY) as sender:
            result = await sender.write("queue", "create", {"MessageBody": "a"}, {"MessageBody": "b"})
    assert result.written == 1 and result.faults[0][0] == 1
    assert result.faults[0][1].code == "InvalidMessageContents"


async def test_a_message_to_a_queue_that_is_not_there(sqs: Account) -> None:
    row = {"QueueUrl": "http://127.0.0.1/123456789012/nope", "MessageBody": "x"}
    with pytest.raises(ConfigError, match=r"queue.*exist"):
        await sqs.write("messages", "create", row)


async def test_a_wrong_secret_ends_the_run(moto_server: MotoServer) -> None:
    secrets = {"access_key_id": moto_server.key, "secret_access_key": "x" * 40}
    async with account("sqs", {"endpoint_url": moto_server.url}, secrets) as stranger:
        probe = (await stranger.check())["queues"]
        assert not probe.ok and probe.error_class == "auth"
        assert isinstance(await stranger.refused("queues"), CredentialError)


async def test_throttling_is_waited_out() -> None:
    vendor = Vendor()
    throttled = {"__type": "com.amazonaws.sqs#RequestThrottled", "message": "Request is throttled."}
    vendor.refuse("/", Reply(throttled, 403, AMZ))
    vendor.on("POST /", Reply({"QueueUrls": ["https://sqs/1/a"]}, headers=AMZ))
    async with running(vendor), account("sqs", {"endpoint_url": vendor.url}, KEY) as opened:
        assert await opened.read(stream="queues") == [{"QueueUrl": "https://sqs/1/a"}]
        assert opened.waited(2) and len(vendor.seen) == 2


async def test_dead_letters_move_back() -> None:
    """moto has no move tasks."""
    vendor = Vendor()
    tasks = [{"SourceArn": "arn:dlq", "Status": "COMPLETED", "StartedTimestamp": 1}]
    answers = {
        "AmazonSQS.ListQueues": {"QueueUrls": ["https://sqs/1/dlq"]},
        "AmazonSQS.GetQueueAttributes": {"Attributes": {"QueueArn": "arn:dlq"}},
        "AmazonSQS.ListMessageMoveTasks": {"Results": tasks},
        "AmazonSQS.StartMessageMoveTask": {"TaskHandle": "h1"},
    }
    vendor.on("POST /", lambda asked: Reply(answers[asked.headers["x-amz-target"]], headers=AMZ))
    async with running(vendor), account("sqs", {"endpoint_url": vendor.url}, KEY) as opened:
        assert await opened.read(stream="message_moves") == tasks
        moved = await opened.write("message_moves", "create", {"SourceArn": "arn:dlq"})
        assert moved.responses[0] == {"TaskHandle": "h1"}
        assert vendor.seen[-1].json == {"SourceArn": "arn:dlq"}
