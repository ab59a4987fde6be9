"""The behaviour that every driver owes, for each way of reading."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from drivers.postgresql_source.conftest import Shop

from platint_tui.core.model import ReadOptions
from platint_tui.drivers.suite import Kit, ReadSuite

WAYS = {
    "snapshot": ReadOptions(sync="suite", mode="snapshot", key=("id",)),
    "cursor": ReadOptions(sync="suite", mode="cursor", cursor="at", key=("id",)),
    "cdc": ReadOptions(sync="suite", mode="cdc", key=("id",)),
}


class TestPostgresqlReads(ReadSuite):
    @pytest.fixture(params=list(WAYS))
    async def kit(self, shop: Shop, request: pytest.FixtureRequest) -> Kit:
        await shop.run(
            "CREATE TABLE orders (id serial PRIMARY KEY, v text, at timestamptz DEFAULT clock_timestamp())"
        )

        async def put(count: int) -> Sequence[str]:
            found = await shop.admin.fetch(
                "INSERT INTO orders (v) SELECT 'v' || g FROM generate_series(1, $1::int) g RETURNING id",
                count,
            )
            return [str(row["id"]) for row in found]

        async def crash() -> None:
            shop.server.kill()
            shop.server.start_again()  # in this thread, whose end would end the server

        return Kit(
            driver=lambda: shop.driver(source={"chunk": 64, "heartbeat": 0.2}),
            refused=lambda: shop.driver(password="wrong"),
            stream="orders",
            options=WAYS[request.param],
            put=put,
            crash=crash,
        )
