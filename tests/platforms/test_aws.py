"""AWS through its manifest, against the emulator moto, which checks every signature and policy."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from peers.moto import MotoServer
from platforms.vendor import Account, Reply, Vendor, account, running

from platint_tui.core.errors import ConfigError, CredentialError

TABLE = {
    "TableName": "orders",
    "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
    "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
    "BillingMode": "PAY_PER_REQUEST",
}
AMZ = {"Content-Type": "application/x-amz-json-1.0"}


def fields(server: Any, **more: str) -> dict[str, str]:
    return {"endpoint_url": server.url, **more}


@pytest.fixture
async def aws(moto_server: MotoServer) -> AsyncIterator[Account]:
    secrets = {"access_key_id": moto_server.key, "secret_access_key": moto_server.secret}
    async with account("aws", fields(moto_server, files_bucket="files"), secrets) as opened:
        yield opened


async def test_whose_account_it_is_and_what_it_may_do(aws: Account) -> None:
    """The policy of the user denies Lambda and nothing else."""
    probes = await aws.check()
    assert probes["identity"].ok and "user/ada" in probes["identity"].detail
    assert {name for name, probe in probes.items() if not probe.ok} == {"lambda"}
    assert isinstance(await aws.refused("lambda_functions"), CredentialError)


async def test_objects_of_a_bucket(aws: Account) -> None:
    assert (await aws.write("s3_buckets", "create", {"Name": "data"})).written == 1
    rows = [{"Key": f"in/ä b+{number}.txt", "Body": f"text {number}"} for number in range(3)]
    assert (await aws.write("s3.data", "upsert", *rows)).written == 3
    assert {"s3.data", "s3_buckets"} <= await aws.streams()
    objects = await aws.read(stream="s3.data")
    assert {item["Key"] for item in objects} == {row["Key"] for row in rows}

    # Nothing new: nothing is read. One that is newer: that one.
    position = aws.position
    assert await aws.read(position, "s3.data") == []
    again = await aws.write("s3.data", "create", rows[0])
    assert again.written == 0 and again.faults[0][1].code == "PreconditionFailed"
    assert (await aws.write("s3.data", "delete", {"Key": rows[0]["Key"]}, {"Key": "nope"})).written == 2
    assert len(await aws.read(stream="s3.data")) == 2


async def test_many_objects_over_several_pages(aws: Account) -> None:
    await aws.write("s3_buckets", "create", {"Name": "many"})
    made = await aws.write("s3.many", "upsert", *({"Key": f"k{n:04}", "Body": ""} for n in range(1005)))
    assert made.written == 1005
    assert len({item["Key"] for item in await aws.read(stream="s3.many")}) == 1005
    assert len(aws.pages) == 2
    rest = await aws.read(json.loads(json.dumps(aws.pages[0].position)), "s3.many")
    assert len(rest) == 5


async def test_rows_of_files(aws: Account) -> None:
    await aws.write("s3_buckets", "create", {"Name": "files"})
    await aws.write(
        "s3.files",
        "upsert",
        {"Key": "2026/a b.csv", "Body": "id,name\n1,Ada\n2,Bob\n"},
        {"Key": "c.ndjson", "Body": '{"id": 3}\n{"id": 4}\n'},
        {"Key": "d.json", "Body": '[{"id": 5}]'},
    )
    rows = await aws.read(stream="s3_rows")
    assert [(row["s3_key"], row["id"]) for row in rows] == [
        ("2026/a b.csv", "1"),
        ("2026/a b.csv", "2"),
        ("c.ndjson", 3),
        ("c.ndjson", 4),
        ("d.json", 5),
    ]


async def test_items_of_a_table(aws: Account, moto_server: MotoServer) -> None:
    moto_server.target("dynamodb", "DynamoDB_20120810.CreateTable", json.dumps(TABLE).encode())
    items = [{"id": {"S": f"o{number:04}"}, "paid": {"BOOL": True}} for number in range(1200)]
    assert (await aws.write("dynamodb.orders", "upsert", *items)).written == 1200
    found = {stream.name: stream for stream in await aws.driver.discover()}["dynamodb.orders"]
    assert found.key == ("id.S",) and "id" in {field.name for field in found.fields}
    assert len({item["id"]["S"] for item in await aws.read(stream="dynamodb.orders")}) == 1200
    assert len(aws.pages) == 2
    assert (await aws.write("dynamodb.orders", "delete", {"id": {"S": "o0000"}})).written == 1
    assert len(await aws.read(stream="dynamodb.orders")) == 1199
    error = await aws.refused("dynamodb.nope")
    assert isinstance(error, ConfigError) and error.code == "ResourceNotFoundException"


async def test_events_go_out_together_and_one_is_refused(aws: Account) -> None:
    pattern = json.dumps({"source": ["shop"]})
    assert (await aws.write("event_rules", "upsert", {"Name": "all", "EventPattern": pattern})).written == 1
    assert [rule["Name"] for rule in await aws.read(stream="event_rules")] == ["all"]
    event = {"Source": "shop", "DetailType": "order", "Detail": "{}"}
    result = await aws.write("events", "create", event, {**event, "Source": ""}, event)
    assert result.written == 2 and [index for index, _ in result.faults] == [1]
    assert result.faults[0][1].code == "InvalidArgument"


async def test_topics_metrics_logs_and_tags(aws: Account) -> None:
    await aws.write("sns_topics", "upsert", {"Name": "news"})
    topics = await aws.read(stream="sns_topics")
    assert topics[0]["TopicArn"].endswith(":news")
    # Without a space: moto checks the signature of a form as it would have encoded it itself.
    sent = {"TopicArn": topics[0]["TopicArn"], "Message": "50%&more=ü"}
    assert (await aws.write("sns_messages", "create", sent)).written == 1
    value = {"Namespace": "shop", "MetricName": "orders", "Value": 2.5}
    assert (await aws.write("cloudwatch_data", "create", value)).written == 1
    assert "orders" in {item["MetricName"] for item in await aws.read(stream="cloudwatch_metrics")}
    await aws.write("log_groups", "create", {"logGroupName": "app"})
    assert [group["logGroupName"] for group in await aws.read(stream="log_groups")] == ["app"]
    assert await aws.read(stream="log_events") == [] == await aws.read(stream="sns_subscriptions")
    assert (await aws.write("log_groups", "delete", {"logGroupName": "app"})).written == 1
    assert (await aws.write("sns_topics", "delete", topics[0])).written == 1


async def test_log_events_since_the_last_run(aws: Account, moto_server: MotoServer) -> None:
    now = aws.clock.now_ms()
    await aws.write("log_groups", "create", {"logGroupName": "web"})
    stream = json.dumps({"logGroupName": "web", "logStreamName": "s"}).encode()
    moto_server.target("logs", "Logs_20140328.CreateLogStream", stream, "1.1")
    event = {"logGroupName": "web", "logStreamName": "s"}
    for age in (3_600_000, 1_800_000):
        row = {**event, "timestamp": now - age, "message": f"{age} ago"}
        assert (await aws.write("log_events", "create", row)).written == 1
    assert len(await aws.read(stream="log_events")) == 2
    position = aws.position
    await aws.write("log_events", "create", {**event, "timestamp": now - 60_000, "message": "new"})
    assert [item["message"] for item in await aws.read(position, "log_events")] == ["new"]


@pytest.mark.parametrize("wrong", ["secret_access_key", "access_key_id"])
async def test_a_wrong_key_ends_the_run(moto_server: MotoServer, wrong: str) -> None:
    secrets = {"access_key_id": moto_server.key, "secret_access_key": moto_server.secret}
    secrets[wrong] = "AKIAIOSFODNN7EXAMPLE" if wrong == "access_key_id" else "x" * 40
    async with account("aws", fields(moto_server), secrets) as stranger:
        probe = (await stranger.check())["identity"]
        assert not probe.ok and probe.error_class == "auth"
        error = await stranger.refused("s3_buckets")
        assert isinstance(error, CredentialError) and secrets[wrong] not in str(error)


async def test_throttling_is_waited_out() -> None:
    vendor = Vendor()
    throttled = {"__type": "com.amazonaws.dynamodb#ThrottlingException", "message": "Rate exceeded"}
    vendor.refuse("/", Reply(throttled, 400, AMZ), times=2)
    vendor.on("POST /", Reply({"TableNames": ["orders"]}, headers=AMZ))
    secrets = {"access_key_id": "AKIAIOSFODNN7EXAMPLE", "secret_access_key": "x" * 40}
    async with running(vendor), account("aws", {"endpoint_url": vendor.url}, secrets) as opened:
        assert await opened.read(stream="dynamodb_tables") == [{"TableName": "orders"}]
        assert opened.waited(2) and len(vendor.seen) == 3


async def test_temporary_keys_of_a_role_are_used(moto_server: MotoServer) -> None:
    """The role may use S3 only, the user everything but Lambda."""
    allowed = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
    user = {"AWS": "arn:aws:iam::123456789012:user/ada"}
    trusted = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": user}
    trust = json.dumps({"Version": "2012-10-17", "Statement": [trusted]})
    moto_server.iam({"Action": "CreateRole", "RoleName": "reader", "AssumeRolePolicyDocument": trust})
    named = {"RoleName": "reader", "PolicyName": "p"}
    moto_server.iam({"Action": "PutRolePolicy", **named, "PolicyDocument": policy})
    role = "arn:aws:iam::123456789012:role/reader"
    secrets = {"access_key_id": moto_server.key, "secret_access_key": moto_server.secret}
    async with account("aws", fields(moto_server, role_arn=role), secrets) as opened:
        probes = await opened.check()
        assert "assumed-role/reader" in probes["identity"].detail
        assert probes["s3"].ok and not probes["dynamodb"].ok and not probes["sns"].ok
