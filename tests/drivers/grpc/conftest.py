"""A gRPC server of orders, spoken to beside the driver with the library's own client, and drivers on it."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import grpc
import pytest
from drivers.conftest import FreeLimiter, Observed
from google.protobuf import descriptor_pool, message_factory
from peers.grpc_server import GrpcServer
from peers.grpc_server_main import PACKAGE, described

from platint_tui.core.jsontext import canonical_key, dumps
from platint_tui.core.model import Environment, Op, Profile, Row, TargetPlan
from platint_tui.core.secret import Secret
from platint_tui.drivers.base import DriverContext
from platint_tui.drivers.grpc import GrpcDriver
from platint_tui.manifest.form import validate_fields
from platint_tui.manifest.loader import load_text

FOLDER = Path(__file__).parents[3] / "connectors"
OWN = """
  orders:
    key: [id]
    source:
      modes: [cursor]
      call: {method: shop.v1.Orders/List, request: {page_size: 7}, records: orders, page: {}}
  newer:
    key: [id]
    source:
      modes: [cursor]
      idle: 100ms
      call: {method: shop.v1.Orders/Watch, resume: {request: after_id, record: id}, follow: true}
  one:
    source: {modes: [snapshot], call: {method: shop.v1.Orders/Get, request: {id: 1}}}
  failing:
    source: {modes: [snapshot], call: {method: shop.v1.Orders/Fail, request: {code: CODE, message: no}}}
  add:
    sink: {call: {method: shop.v1.Orders/Create}}
    write: {create: {}}
  refuse:
    sink: {call: {method: shop.v1.Orders/Fail, request: {code: CODE}}}
    write: {create: {}}
"""


def grpc_context(
    server: GrpcServer, token: str | None = None, *, code: int = 14, **fields: str
) -> DriverContext:
    """A context with the product's manifest and further resources, which waits less."""
    text = (FOLDER / "grpc.yaml").read_text().replace("\ntests:", OWN.replace("CODE", str(code)) + "\ntests:")
    connector = load_text(text)
    timeout = connector.transport.timeout.model_copy(update={"connect": 2.0})
    connector = connector.model_copy(
        update={"transport": connector.transport.model_copy(update={"timeout": timeout})}
    )
    given = {"target": server.target, "tls": "disable", "deadline": "5", **fields}
    checked = validate_fields(connector, given, secrets={"token": None})
    profile = Profile("orders", "grpc", Environment.DEVELOPMENT, checked, {"token": "env:X"})
    secrets = {"token": Secret(server.token if token is None else token)}
    return DriverContext(connector, profile, secrets, FreeLimiter(), Observed(), rng=random.Random(7))


def grpc_driver(server: GrpcServer, token: str | None = None, **more: Any) -> GrpcDriver:
    return GrpcDriver(grpc_context(server, token, **more))


def _pool() -> Any:
    """The descriptions of the server; they can be made known to this process once only."""
    pool = descriptor_pool.Default()
    try:
        pool.FindFileByName("shop/v1/orders.proto")
    except KeyError:
        described()
    return pool


class Client:
    """Calls the server with Google's own client."""

    def __init__(self, server: GrpcServer) -> None:
        self._server = server
        pool = _pool()
        self._types = {
            name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.{name}"))
            for name in ("Order", "ListRequest", "ListResponse", "GetRequest")
        }

    def _call(self, method: str, request: Any, gives: str) -> Any:
        with grpc.insecure_channel(self._server.target, [("grpc.enable_http_proxy", 0)]) as channel:
            call = channel.unary_unary(
                f"/{self._server.service}/{method}",
                request_serializer=lambda message: message.SerializeToString(),
                response_deserializer=self._types[gives].FromString,
            )
            metadata = (("authorization", f"Bearer {self._server.token}"),)
            return call(request, timeout=10, metadata=metadata, wait_for_ready=True)

    def create(self, **fields: Any) -> int:
        return int(self._call("Create", self._types["Order"](**fields), "Order").id)

    def orders(self) -> dict[str, Any]:
        found = self._call("List", self._types["ListRequest"](page_size=100_000), "ListResponse")
        return {str(order.id): order for order in found.orders}

    def clear(self) -> None:
        for number in self.orders():
            self._call("Delete", self._types["GetRequest"](id=int(number)), "Order")


@pytest.fixture(scope="module")
def client(grpc_server: GrpcServer) -> Iterator[Client]:
    yield Client(grpc_server)


@pytest.fixture
async def make(grpc_server: GrpcServer) -> AsyncIterator[Callable[..., GrpcDriver]]:
    """Drivers that are closed in the end."""
    made: list[GrpcDriver] = []

    def build(token: str | None = None, **more: Any) -> GrpcDriver:
        made.append(grpc_driver(grpc_server, token, **more))
        return made[-1]

    yield build
    for driver in made:
        await driver.close()


def plan(target: str) -> TargetPlan:
    return TargetPlan("sales", "orders", target, ("id",), None, (), 1, "run_1")


def rows(values: Sequence[dict[str, Any]]) -> list[Row]:
    made = []
    for value in values:
        key = canonical_key([value.get("id", 0)])
        made.append(Row(key, dumps(value), value, None, f"sent-{key}", Op.UPSERT))
    return made
