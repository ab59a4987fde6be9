"""What every test may use: a private home, and real servers that start when a test asks for them.

A peer is started at most once per test process (xdist workers have their own); one whose data tests
change is started afresh for each file. Where its program is missing, the test that needs it fails with the
command that installs it; it is never skipped.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from peers.azurite import AzuriteServer
from peers.canary import leaks
from peers.elastic import ElasticServer
from peers.emulate import GithubAppEmulator, GithubEmulator, SlackEmulator, StripeEmulate
from peers.gcs import GcsServer
from peers.localstripe import StripeEmulator
from peers.moto import MotoServer
from peers.postgres import PostgresServer
from peers.secret_service import Kind, SecretService

if TYPE_CHECKING:
    from peers.grpc_server import GrpcServer
    from peers.kafka import KafkaServer
    from peers.mariadb import MariadbServer
    from peers.mongodb import MongodbServer
    from peers.mosquitto import MosquittoServer
    from peers.nchan import NchanServer
    from peers.rabbitmq import RabbitmqServer
    from peers.redis import RedisServer
    from peers.servicebus import ServicebusServer


LONGEST = (
    "tests/cli/test_interruptions.py",
    "tests/cli/test_first_syncs.py",
    "tests/drivers/amqp/",
    "tests/engine/",
    "tests/cli/",
    "tests/tui/test_hostile.py",
    "tests/tui/test_deadletters_replay.py",
    "tests/packaging/test_wheel.py",
    "tests/drivers/",
    "tests/platforms/",
    "tests/tui/",
    "tests/auth/",
    "tests/peers/",
    "tests/store/",
)
"""What takes long, longest first. The rest are short files, which end together."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Several workers take the files in this order, so that none is left alone with a long one at the end."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: _rank(item.nodeid))


def _rank(place: str) -> int:
    return next((rank for rank, name in enumerate(LONGEST) if place.startswith(name)), len(LONGEST))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty PLATINT_HOME, private to its owner; the environment holds no other setting of the program."""
    for name in list(os.environ):
        if name.startswith(("PLATINT_", "PYTHON_KEYRING", "XDG_")) and name != "PLATINT_PEERS":
            monkeypatch.delenv(name)
    folder = tmp_path / "home"
    folder.mkdir(mode=0o700)
    monkeypatch.setenv("PLATINT_HOME", str(folder))
    # Engines of tests that run at once would meet on one port; a test that receives webhooks says where.
    monkeypatch.setenv("PLATINT_LISTEN", "off")
    monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS", raising=False)
    return folder


@pytest.fixture
def find_leaks() -> Callable[..., list[Path]]:
    """`find_leaks(secret, [folder])`: files that hold the secret in any form."""
    return leaks


@pytest.fixture(scope="module")
def github_emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GithubEmulator]:
    """GitHub's REST API (`emulate`) with repositories, and issues over several pages."""
    server = GithubEmulator(tmp_path_factory.mktemp("github"))
    yield server
    server.stop()


@pytest.fixture(scope="module")
def github_app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GithubAppEmulator]:
    """GitHub's REST API (`emulate`) with an organisation and an App that is installed there."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    server = GithubAppEmulator(tmp_path_factory.mktemp("github-app"), pem)
    yield server
    server.stop()


@pytest.fixture(scope="module")
def slack_emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SlackEmulator]:
    """Slack's Web API (`emulate`) with scopes that are enforced, and messages over several pages."""
    server = SlackEmulator(tmp_path_factory.mktemp("slack"))
    yield server
    server.stop()


@pytest.fixture(scope="module")
def stripe_emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StripeEmulator]:
    """Stripe's REST API (`localstripe`) with customers and charges over several pages."""
    server = StripeEmulator(tmp_path_factory.mktemp("stripe"))
    yield server
    server.stop()


@pytest.fixture(scope="module")
def stripe_emulate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StripeEmulate]:
    """Stripe's REST API as `emulate` has it: newest first, with `created[gte]` on every list."""
    server = StripeEmulate(tmp_path_factory.mktemp("stripe-emulate"))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A real PostgreSQL server with an empty cluster, ready for logical replication."""
    server = PostgresServer()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def secret_service() -> Iterator[SecretService]:
    """A real, unlocked Secret Service on a private bus; use it through `secret_service.env`."""
    service = SecretService()
    yield service
    service.stop()


@pytest.fixture
def make_secret_service() -> Iterator[Callable[[Kind], SecretService]]:
    """Secret Services of other kinds: `make_secret_service("locked")`, "none", "hung", "unlocked"."""
    made: list[SecretService] = []

    def make(kind: Kind) -> SecretService:
        made.append(SecretService(kind))
        return made[-1]

    yield make
    for service in made:
        service.stop()


@pytest.fixture(scope="module")
def moto_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MotoServer]:
    """AWS (`moto`) with a user whose signatures are checked."""
    server = MotoServer(tmp_path_factory.mktemp("moto"))
    yield server
    server.stop()


@pytest.fixture(scope="module")
def azurite_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AzuriteServer]:
    """Azure Blob Storage (`azurite`), empty; it checks signatures."""
    server = AzuriteServer(tmp_path_factory.mktemp("azurite"))
    yield server
    server.stop()


@pytest.fixture(scope="module")
def gcs_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GcsServer]:
    """Google Cloud Storage (`gcp-storage-emulator`), empty."""
    server = GcsServer(tmp_path_factory.mktemp("gcs"))
    yield server
    server.stop()


@pytest.fixture(scope="module")
def elastic_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ElasticServer]:
    """A real Elasticsearch 7.0, empty, without security."""
    server = ElasticServer(tmp_path_factory.mktemp("elastic"))
    yield server
    server.stop()


# The servers of databases and brokers can be killed and started again; a test that does so leaves them running.


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A real Redis, empty, with two users."""
    from peers.redis import RedisServer

    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def rabbitmq_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitmqServer]:
    """A real RabbitMQ with its management API. It takes long to start, so every file shares it: use own names."""
    from peers.rabbitmq import RabbitmqServer

    server = RabbitmqServer(tmp_path_factory.mktemp("rabbitmq"))
    yield server
    server.stop()


@pytest.fixture(scope="module")
def mosquitto_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MosquittoServer]:
    """A real Mosquitto (MQTT), also over WebSockets, with two users."""
    from peers.mosquitto import MosquittoServer

    server = MosquittoServer(tmp_path_factory.mktemp("mosquitto"))
    yield server
    server.stop()


@pytest.fixture(scope="module")
def kafka_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaServer]:
    """A Kafka broker (`tansu`) without topics; it forgets them in a restart."""
    from peers.kafka import KafkaServer

    server = KafkaServer(tmp_path_factory.mktemp("kafka"))
    yield server
    server.stop()


@pytest.fixture(scope="module")
def mongodb_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MongodbServer]:
    """MongoDB (`SecantusDB`), empty, with two users."""
    from peers.mongodb import MongodbServer

    server = MongodbServer(tmp_path_factory.mktemp("mongodb"))
    yield server
    server.stop()


@pytest.fixture(scope="module")
def nchan_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NchanServer]:
    """A real server of Server-Sent Events and WebSockets (nginx with Nchan)."""
    from peers.nchan import NchanServer

    server = NchanServer(tmp_path_factory.mktemp("nchan"))
    yield server
    server.stop()


@pytest.fixture(scope="module")
def servicebus_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServicebusServer]:
    """Azure Service Bus (our stand-in over AMQP 1.0) with empty queues and a topic."""
    from peers.servicebus import ServicebusServer

    server = ServicebusServer(tmp_path_factory.mktemp("servicebus"))
    yield server
    server.stop()


@pytest.fixture(scope="module")
def grpc_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GrpcServer]:
    """A gRPC server of orders with reflection, without orders."""
    from peers.grpc_server import GrpcServer

    server = GrpcServer(tmp_path_factory.mktemp("grpc"))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def mariadb_server() -> Iterator[MariadbServer]:
    """A real MariaDB with an empty database `shop` and two users."""
    from peers.mariadb import MariadbServer

    server = MariadbServer()
    yield server
    server.stop()
