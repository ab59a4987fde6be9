"""A feed while pgbench writes and the server is killed: in the end the replica is the table, row by row."""

from __future__ import annotations

import asyncio
import contextlib
import random
import subprocess
from dataclasses import replace
from typing import Any

from drivers.postgresql_source.conftest import CDC, DATABASE, Shop, connected, read, replica

from platint_tui.core.errors import TransientError
from platint_tui.core.jsontext import content_hash
from platint_tui.core.model import JsonObject, Op

SCRIPT = r"""
\set id random(1, 400)
\set other random(1, 400)
\set n random(1, 1000000)
\set kind random(1, 20)
BEGIN;
INSERT INTO accounts VALUES (:id, :n, repeat('x', :kind * 200)) ON CONFLICT (id) DO UPDATE SET n = excluded.n;
UPDATE accounts SET filler = filler || 'y' WHERE id = :other AND :kind < 10;
DELETE FROM accounts WHERE id = :other AND :kind > 14;
UPDATE accounts SET id = -:id WHERE id = :id AND :kind = 12 AND NOT EXISTS (SELECT FROM accounts WHERE id = -:id);
INSERT INTO journal VALUES (:n);
END;
"""


def bench(shop: Shop, seconds: float) -> subprocess.Popen[str]:
    script = shop.server.folder / "script.sql"
    script.write_text(SCRIPT)
    script.chmod(0o644)
    command = [
        shop.server.tool("pgbench"),
        "-n",
        "-c",
        "2",
        "-T",
        str(round(seconds)),
        "-f",
        str(script),
        DATABASE,
    ]
    return subprocess.Popen(
        command,
        env=shop.server.client_environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


async def test_a_replica_is_the_table_after_a_kill_and_any_number_of_new_beginnings(shop: Shop) -> None:
    await shop.run(
        "CREATE TABLE accounts (id int PRIMARY KEY, n int, filler text); CREATE TABLE journal (n int)"
    )
    await shop.run("ALTER TABLE accounts ALTER filler SET STORAGE EXTERNAL")
    await shop.run("INSERT INTO accounts SELECT g, 0, repeat('z', g * 10) FROM generate_series(1, 400) g")
    await reader_against(shop, random.Random(11), seconds=1, kills=1)


async def reader_against(shop: Shop, chance: random.Random, *, seconds: float, kills: int) -> None:
    """Read while pgbench writes, from the confirmed position or an older one, and compare in the end.

    What a target holds is written before the position is confirmed, and only sometimes acknowledged: as after a
    crash between the two, the same pages come again.
    """
    held: dict[str, str] = {}
    confirmed: list[JsonObject | None] = [None]
    acknowledged = begun = 0
    writing = bench(shop, seconds)
    killed = kills == 0
    try:
        async with asyncio.timeout(60):
            while True:
                done = writing.poll() is not None and killed and begun > 5
                pages = read_some(shop, confirmed[-1], follow=not done, chance=chance)
                begun += 1
                with contextlib.suppress(TransientError):
                    async with contextlib.aclosing(pages):  # type: ignore[type-var]
                        async for driver, page in pages:
                            replica([page], held=held)
                            confirmed.append(page.position)
                            if chance.random() < 0.3:
                                await driver.acknowledge("accounts", page.position)
                                acknowledged = len(confirmed) - 1
                if done:
                    break
                # The engine may know less than was written, but never less than was acknowledged.
                del confirmed[chance.randint(acknowledged, len(confirmed) - 1) + 1 :]
                if not killed and (begun > 4 or writing.poll() is not None):
                    killed = True
                    shop.server.kill()
                    await asyncio.to_thread(writing.wait, 20)
                    shop.server.start_again()  # in this thread, whose end would end the server
                    writing = bench(shop, seconds)
    finally:
        writing.kill()
    shop.admin = await connected(shop.server)
    table = await read(shop.driver(), "accounts", None, replace(CDC, mode="snapshot"))
    expected = {key: content_hash(raw) for key, raw in replica(table).items()}
    assert {key: content_hash(raw) for key, raw in held.items()} == expected
    assert await shop.admin.fetchval("SELECT count(*) FROM journal") > 100


async def read_some(shop: Shop, position: JsonObject | None, *, follow: bool, chance: random.Random) -> Any:
    """(driver, page) of a reader that stops anywhere, or at the end of what is there."""
    driver = shop.driver(source={"chunk": chance.choice([20, 100, 500]), "heartbeat": 0.1})
    most = chance.randint(1, 6)
    pages = driver.read("accounts", position, replace(CDC, follow=follow))
    async with contextlib.aclosing(pages):  # type: ignore[type-var]
        async for page in pages:
            yield driver, page
            most -= 1
            if follow and most == 0:
                return


async def test_the_feed_keeps_up_with_pgbench(shop: Shop) -> None:
    """pgbench's own load: every change is there within two seconds."""
    tool = shop.server.tool("pgbench")
    environment = {**shop.server.client_environment, "PGDATABASE": DATABASE}
    subprocess.run([tool, "-i", "-q"], env=environment, check=True, capture_output=True)
    driver = shop.driver()
    lags: list[float] = []
    writing: subprocess.Popen[str] | None = None
    count: int | None = None
    pages = driver.read("pgbench_tellers", None, replace(CDC, key=("tid",), follow=True))
    async with asyncio.timeout(40), contextlib.aclosing(pages):  # type: ignore[type-var]
        async for page in pages:
            if "scan" in page.position:
                continue
            if writing is None:
                command = [tool, "-n", "-c", "2", "-T", "1", DATABASE]
                writing = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
            now = await shop.admin.fetchval("SELECT extract(epoch FROM clock_timestamp())::float8 * 1000")
            lags += [now - happened for happened in page.happened]
            assert all(record.op is Op.UPSERT for record in page.records)
            await driver.acknowledge("pgbench_tellers", page.position)
            if count is None and writing.poll() is not None and writing.stdout is not None:
                [line] = [line for line in writing.stdout if "actually processed" in line]
                count = int(line.split(":")[1].split("/")[0])
            if count is not None and len(lags) >= count:
                break
    assert len(lags) == count and len(lags) > 50
    assert sorted(lags)[int(len(lags) * 0.95)] < 2_000
