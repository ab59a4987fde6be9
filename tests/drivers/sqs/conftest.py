"""SQS as moto has it, with signatures checked, and drivers on it."""

from __future__ import annotations

import functools
import json
import random
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from drivers.conftest import FreeLimiter, Observed
from peers.moto import MotoServer

from platint_tui.core.model import Environment, Profile
from platint_tui.core.secret import Secret
from platint_tui.drivers.base import DriverContext
from platint_tui.drivers.sqs import SqsDriver
from platint_tui.manifest.addresses import origins_of
from platint_tui.manifest.form import validate_fields
from platint_tui.manifest.loader import load_connector
from platint_tui.manifest.schema import Connector

FOLDER = Path(__file__).parents[3] / "connectors"


@functools.cache
def manifest() -> Connector:
    """The manifest, read once."""
    return load_connector(FOLDER / "sqs.yaml")


FAMILY = "queue.*"


def sqs_driver(
    url: str, key: str, secret: str, fields: Mapping[str, str] | None = None, **source: Any
) -> SqsDriver:
    """A driver on a server; `source` changes how queues are read."""
    connector = manifest()
    family = connector.resources[FAMILY]
    assert family.source is not None
    changed = family.model_copy(update={"source": family.source.model_copy(update=source)})
    policy = connector.errors.policy.model_copy(update={"attempts": 3, "base": 0.02})
    connector = connector.model_copy(
        update={
            "resources": {**connector.resources, FAMILY: changed},
            "errors": connector.errors.model_copy(update={"policy": policy}),
        }
    )
    secrets = {"access_key_id": key, "secret_access_key": secret}
    given = {"endpoint_url": url, **(fields or {})}
    checked = validate_fields(connector, given, secrets=dict.fromkeys(secrets))
    origins = origins_of(connector, checked, secrets, "development")
    profile = Profile("queues", "sqs", Environment.DEVELOPMENT, checked, {}, origins)
    held = {name: Secret(value) for name, value in secrets.items()}
    return SqsDriver(DriverContext(connector, profile, held, FreeLimiter(), Observed(), rng=random.Random(7)))


class Sqs:
    """The server, spoken to beside the driver."""

    def __init__(self, moto: MotoServer) -> None:
        self.moto = moto
        self.names = 0

    def call(self, action: str, **body: Any) -> dict[str, Any]:
        answer = self.moto.target("sqs", f"AmazonSQS.{action}", json.dumps(body).encode())
        return json.loads(answer) if answer else {}

    def queue(self, name: str, **attributes: str) -> str:
        """A new queue; its URL."""
        return str(self.call("CreateQueue", QueueName=name, Attributes=attributes)["QueueUrl"])

    def url(self, name: str) -> str:
        return f"{self.moto.url}/123456789012/{name}"

    def dead_letter_pair(self, name: str, most: int = 1) -> tuple[str, str]:
        """A queue with a dead-letter queue behind it; both URLs."""
        dead = self.queue(f"{name}-dlq")
        arn = f"arn:aws:sqs:us-east-1:123456789012:{name}-dlq"
        policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": most})
        return self.queue(name, RedrivePolicy=policy), dead

    def send(self, url: str, *bodies: str, **more: Any) -> list[str]:
        """Send messages; their ids."""
        ids: list[str] = []
        for start in range(0, len(bodies), 10):
            entries = [
                {"Id": str(number), "MessageBody": body, **more}
                for number, body in enumerate(bodies[start : start + 10])
            ]
            answer = self.call("SendMessageBatch", QueueUrl=url, Entries=entries)
            ids += [item["MessageId"] for item in answer["Successful"]]
        return ids

    def take(self, url: str, **more: Any) -> list[dict[str, Any]]:
        """What can be received now: everything that is visible, hidden for a minute by that."""
        found: list[dict[str, Any]] = []
        while True:
            asked = {"MaxNumberOfMessages": 10, "VisibilityTimeout": 60, **more}
            names = {"MessageSystemAttributeNames": ["All"], "MessageAttributeNames": ["All"]}
            messages = self.call("ReceiveMessage", QueueUrl=url, **names, **asked).get("Messages")
            if not messages:
                return found
            found += messages

    def depth(self, url: str) -> tuple[int, int]:
        """(visible, hidden) messages."""
        told = self.call("GetQueueAttributes", QueueUrl=url, AttributeNames=["All"])["Attributes"]
        return (
            int(told["ApproximateNumberOfMessages"]),
            int(told["ApproximateNumberOfMessagesNotVisible"]),
        )

    def driver(self, fields: Mapping[str, str] | None = None, **source: Any) -> SqsDriver:
        """A driver whose scans end after two empty answers, at once."""
        return sqs_driver(self.moto.url, self.moto.key, self.moto.secret, fields, **{"idle": 0.5, **source})


@pytest.fixture(scope="session")
def moto_for_sqs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MotoServer]:
    server = MotoServer(tmp_path_factory.mktemp("moto-sqs"))
    yield server
    server.stop()


@pytest.fixture
def sqs(moto_for_sqs: MotoServer) -> Sqs:
    return Sqs(moto_for_sqs)


@pytest.fixture
async def driver(sqs: Sqs) -> AsyncIterator[SqsDriver]:
    opened = sqs.driver()
    assert urlsplit(sqs.moto.url).port
    yield opened
    await opened.close()
