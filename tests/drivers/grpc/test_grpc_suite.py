"""The behaviour that every driver has to show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from drivers.grpc.conftest import Client, grpc_driver
from peers.grpc_server import GrpcServer

from platint_tui.core.model import ReadOptions
from platint_tui.drivers.suite import Kit, ReadSuite, WriteSuite


def kit_of(server: GrpcServer, client: Client, stream: str, **more: Any) -> Kit:
    async def put(count: int) -> Sequence[str]:
        return [str(client.create(customer="ada")) for _ in range(count)]

    async def held() -> Mapping[str, Any]:
        return client.orders()

    async def crash() -> None:
        server.kill()
        server.start_again()

    return Kit(
        driver=lambda: grpc_driver(server),
        refused=lambda: grpc_driver(server, "wrong-canary-5b"),
        stream=stream,
        put=put,
        held=held,
        crash=crash,
        **more,
    )


@pytest.fixture(autouse=True)
def empty(client: Client) -> None:
    client.clear()


class TestListing(ReadSuite):
    @pytest.fixture
    def kit(self, grpc_server: GrpcServer, client: Client) -> Kit:
        return kit_of(grpc_server, client, "orders")


class TestWatch(ReadSuite):
    @pytest.fixture
    def kit(self, grpc_server: GrpcServer, client: Client) -> Kit:
        return kit_of(grpc_server, client, "newer", options=ReadOptions(sync="suite", mode="cursor"))


class TestCreate(WriteSuite):
    @pytest.fixture
    def kit(self, grpc_server: GrpcServer, client: Client) -> Kit:
        kit = kit_of(
            grpc_server,
            client,
            "",
            target="add",
            row=lambda number: {"id": number, "customer": f"customer {number}"},
            bad=lambda number: {"id": number, "customer": 7},
        )
        # An order that is created a second time is refused; a crash while writing has tests of its own.
        return replace(kit, crash=None)
