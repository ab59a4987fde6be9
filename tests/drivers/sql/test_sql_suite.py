"""The behaviour that every driver has to show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from drivers.sql.conftest import Ask, sql_driver
from peers.mariadb import MariadbServer

from platint_tui.core.model import Field, ReadOptions
from platint_tui.drivers.suite import Kit, ReadSuite, WriteSuite


def kit_of(server: MariadbServer, ask: Ask, **more: Any) -> Kit:
    async def crash() -> None:
        server.kill()
        server.start_again()

    return Kit(
        driver=lambda: sql_driver(server, chunk=30),
        refused=lambda: sql_driver(server, password="wrong-canary-6e"),
        crash=crash,
        **more,
    )


def reading_kit(server: MariadbServer, ask: Ask, **more: Any) -> Kit:
    ask(
        "CREATE TABLE orders (id bigint AUTO_INCREMENT PRIMARY KEY, name varchar(40), at timestamp(6) NOT NULL)"
    )

    async def put(count: int) -> Sequence[str]:
        ((before,),) = ask("SELECT coalesce(max(id), 0) FROM orders")
        numbers = [before + number for number in range(1, count + 1)]
        rows = [(number, f"n{number}") for number in numbers]
        ask("INSERT INTO orders VALUES (%s, %s, now(6))", rows, many=True)
        return list(map(str, numbers))

    return kit_of(server, ask, stream="orders", put=put, **more)


class TestSnapshot(ReadSuite):
    @pytest.fixture
    def kit(self, mariadb_server: MariadbServer, ask: Ask) -> Kit:
        return reading_kit(mariadb_server, ask)


class TestCursor(ReadSuite):
    @pytest.fixture
    def kit(self, mariadb_server: MariadbServer, ask: Ask) -> Kit:
        return reading_kit(mariadb_server, ask, options=ReadOptions(sync="suite", mode="cursor", cursor="at"))


class TestTable(WriteSuite):
    @pytest.fixture
    def kit(self, mariadb_server: MariadbServer, ask: Ask) -> Kit:
        async def held() -> Mapping[str, Any]:
            return {str(identity): name for identity, name in ask("SELECT id, name FROM `rows`")}

        return kit_of(
            mariadb_server,
            ask,
            target="rows",
            held=held,
            fields=(Field("id", "integer"), Field("name", "string", max_length=40)),
            bad=lambda number: {"id": number, "name": "x" * 50},
        )
