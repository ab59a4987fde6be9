"""The behaviour suite of every driver, against Tansu; and against one whose topics survive a crash."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest
from drivers.kafka.conftest import Kafka, kafka_context
from peers.kafka import KafkaServer
from peers.moto import MotoServer

from platint_tui.drivers.kafka import KafkaDriver
from platint_tui.drivers.suite import Kit, ReadSuite, WriteSuite


class LastingKafka(KafkaServer):
    """Tansu with its topics in the emulator of S3: they are there again after a kill."""

    def __init__(self, folder: Any, moto: MotoServer) -> None:
        self._moto = moto
        moto.call("s3", "PUT", "/tansu")
        super().__init__(folder)

    def command(self) -> list[str]:
        return [*super().command()[:-1], "s3://tansu/"]

    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "AWS_ACCESS_KEY_ID": self._moto.key,
            "AWS_SECRET_ACCESS_KEY": self._moto.secret,
            "AWS_ENDPOINT": self._moto.url,
            "AWS_ALLOW_HTTP": "true",
            "AWS_REGION": "us-east-1",
        }


@pytest.fixture(scope="module")
def lasting_kafka(
    tmp_path_factory: pytest.TempPathFactory, moto_server: MotoServer
) -> Iterator[LastingKafka]:
    server = LastingKafka(tmp_path_factory.mktemp("lasting-kafka"), moto_server)
    yield server
    server.stop()


async def kit_of(server: KafkaServer, *, crash: bool) -> Kit:
    kafka = Kafka(server.bootstrap)
    source, target = await kafka.create(partitions=3), await kafka.create(partitions=2)
    count = 0

    async def put(number: int) -> Sequence[str]:
        nonlocal count
        messages = [
            {"key": b"%d" % item, "value": b'{"n": %d}' % item} for item in range(count, count + number)
        ]
        count += number
        return await kafka.put(source, *messages)

    async def held() -> Mapping[str, Any]:
        """What a table of the newest message of each key would hold."""
        newest: dict[str, Any] = {}
        for item in await kafka.held(target):
            key = item.key.decode()
            if item.value is None:
                newest.pop(key, None)
            else:
                newest[key] = json.loads(item.value)
        return newest

    async def crashes() -> None:
        server.kill()
        server.start_again()

    return Kit(
        driver=lambda: KafkaDriver(kafka_context({"bootstrap_servers": server.bootstrap}, budget=20.0)),
        stream=source,
        put=put,
        target=target,
        bad=lambda number: {"id": number, "name": "\ud800"},
        held=held,
        crash=crashes if crash else None,
    )


class TestKafka(ReadSuite, WriteSuite):
    @pytest.fixture
    async def kit(self, kafka_server: KafkaServer) -> Kit:
        return await kit_of(kafka_server, crash=False)


class TestCrash:
    """The tests of the suite in which the server is killed."""

    @pytest.fixture
    async def kit(self, lasting_kafka: LastingKafka) -> Kit:
        return await kit_of(lasting_kafka, crash=True)

    test_reading = ReadSuite.test_a_crash_of_the_server_loses_nothing
    test_writing = WriteSuite.test_after_a_crash_of_the_server_writing_goes_on
    written, plan, rows, key_text = WriteSuite.written, WriteSuite.plan, WriteSuite.rows, WriteSuite.key_text
