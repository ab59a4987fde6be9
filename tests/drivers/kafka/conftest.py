"""A Kafka broker (Tansu), spoken to beside the driver with aiokafka's own clients, and drivers on it."""

from __future__ import annotations

import contextlib
import random
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import for_code
from drivers.conftest import FreeLimiter, Observed
from peers.kafka import KafkaServer

from platint_tui.core.model import Environment, Profile
from platint_tui.core.secret import Secret
from platint_tui.drivers.base import DriverContext
from platint_tui.drivers.kafka import KafkaDriver
from platint_tui.manifest.form import validate_fields
from platint_tui.manifest.loader import load_connector

FOLDER = Path(__file__).parents[3] / "connectors"


def kafka_context(
    fields: Mapping[str, str],
    password: str = "",
    *,
    source: Mapping[str, Any] | None = None,
    seconds: float = 5.0,
    budget: float = 0.3,
) -> DriverContext:
    """A context with the product's manifest, which tries less often; `source` changes how topics are read."""
    connector = load_connector(FOLDER / "kafka.yaml")
    every = connector.resources["*"]
    assert every.source is not None
    changed = every.model_copy(update={"source": every.source.model_copy(update=dict(source or {}))})
    policy = connector.errors.policy.model_copy(
        update={"attempts": 3, "base": 0.02, "cap": 0.05, "budget": budget}
    )
    timeout = connector.transport.timeout.model_copy(update={"connect": min(seconds, 3.0), "read": seconds})
    connector = connector.model_copy(
        update={
            "resources": {"*": changed},
            "errors": connector.errors.model_copy(update={"policy": policy}),
            "transport": connector.transport.model_copy(update={"timeout": timeout}),
        }
    )
    secrets = {"password": password} if password else {}
    given = {"security_protocol": "PLAINTEXT", **fields}
    checked = validate_fields(connector, given, secrets=dict.fromkeys(secrets))
    profile = Profile("cluster", "kafka", Environment.DEVELOPMENT, checked, dict.fromkeys(secrets, "env:X"))
    held = {name: Secret(value) for name, value in secrets.items()}
    return DriverContext(connector, profile, held, FreeLimiter(), Observed(), rng=random.Random(7))


class Kafka:
    """The broker beside the driver."""

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap
        self._named = 0

    def name(self, ending: str = "") -> str:
        """The name of a topic that is not there."""
        self._named += 1
        return f"topic-{random.randrange(10**9)}-{self._named}{ending}"

    @contextlib.asynccontextmanager
    async def admin(self) -> AsyncIterator[AIOKafkaAdminClient]:
        client = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap)
        await client.start()
        try:
            yield client
        finally:
            await client.close()

    async def create(self, name: str = "", partitions: int = 1, **settings: str) -> str:
        """A new topic."""
        name = name or self.name()
        configs = {key.replace("_", "."): value for key, value in settings.items()}
        async with self.admin() as admin:
            answer = await admin.create_topics([NewTopic(name, partitions, 1, topic_configs=configs)])
        assert [for_code(item[1]).errno for item in answer.topic_errors] == [0]
        return name

    async def delete(self, name: str) -> None:
        async with self.admin() as admin:
            await admin.delete_topics([name])

    async def put(
        self, topic: str, *messages: Mapping[str, Any] | bytes | None, each: bool = False, **how: Any
    ) -> list[str]:
        """Send messages (values, or what `AIOKafkaProducer.send` takes); where each of them is. `each`: in a batch
        of its own."""
        linger = 0 if each else 5
        async with AIOKafkaProducer(bootstrap_servers=self.bootstrap, linger_ms=linger, **how) as producer:
            waiting = []
            for message in messages:
                known = dict(message) if isinstance(message, Mapping) else {"value": message}
                waiting.append(await producer.send(topic, **known))
                if each:
                    await waiting[-1]
            places = [await item for item in waiting]
        return [f"{topic}/{item.partition}/{item.offset}" for item in places]

    async def held(self, topic: str) -> list[ConsumerRecord]:
        """Every message of a topic, by partition and offset."""
        async with AIOKafkaConsumer(bootstrap_servers=self.bootstrap, enable_auto_commit=False) as consumer:
            await consumer.topics()
            numbers = (await consumer._client.fetch_all_metadata()).partitions_for_topic(topic) or set()
            places = [TopicPartition(topic, item) for item in sorted(numbers)]
            consumer.assign(places)
            for place in places:
                consumer.seek(place, 0)
            found: list[ConsumerRecord] = []
            while batch := await consumer.getmany(timeout_ms=150 if found else 300):
                found += [item for items in batch.values() for item in items]
        return sorted(found, key=lambda item: (item.partition, item.offset))

    async def committed(self, group: str, topic: str, partitions: int = 1) -> dict[int, int]:
        """What a group has committed."""
        places = [TopicPartition(topic, item) for item in range(partitions)]
        async with self.admin() as admin:
            found = await admin.list_consumer_group_offsets(group, partitions=places)
        return {place.partition: item.offset for place, item in found.items() if item.offset >= 0}


@pytest.fixture
def kafka(kafka_server: KafkaServer) -> Kafka:
    """The broker."""
    return Kafka(kafka_server.bootstrap)


Make = Callable[..., KafkaDriver]


@pytest.fixture
async def make(kafka_server: KafkaServer) -> AsyncIterator[Make]:
    """`make(bootstrap)`: a driver that is closed at the end."""
    made: list[KafkaDriver] = []

    def one(
        bootstrap: str = "", password: str = "", *, source: Any = None, seconds: float = 5.0, **fields: str
    ) -> KafkaDriver:
        given = {"bootstrap_servers": bootstrap or kafka_server.bootstrap, **fields}
        made.append(KafkaDriver(kafka_context(given, password, source=source, seconds=seconds)))
        return made[-1]

    yield one
    for driver in made:
        await driver.close()


@pytest.fixture
async def driver(make: Make) -> KafkaDriver:
    """A driver on the broker."""
    return make()
