"""Replication slots and publications of ours: one of each for every stream of every sync.

A stream has a slot of its own because its position is its own: streams of one sync are confirmed, reset and
removed one by one, and a slot forgets what any of its readers has confirmed.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg

from platint_tui.core.errors import ConfigError, TransientError
from platint_tui.core.ids import digest
from platint_tui.core.text import clean
from platint_tui.drivers.postgresql.catalog import IDENTITIES, KEYS, Relation, identity_of, leaves
from platint_tui.drivers.postgresql.connection import Address
from platint_tui.drivers.postgresql.pgoutput import lsn_number, lsn_text
from platint_tui.drivers.tables import quoted

PREFIX = "platint_"
_BUSY_SECONDS = 3.0
_BUSY_WAIT = 0.1
_SLOTS = """
SELECT slot_name::text AS name, active_pid, confirmed_flush_lsn::text AS confirmed, wal_status,
       CASE WHEN pg_is_in_recovery() THEN NULL
            ELSE greatest(pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn), 0)::bigint END AS retained
FROM pg_replication_slots
WHERE database = current_database() AND plugin = 'pgoutput' AND starts_with(slot_name::text, $1)
ORDER BY slot_name
"""
_SERVER = """
SELECT current_setting('wal_level') AS wal_level, pg_is_in_recovery() AS standby,
       current_setting('max_replication_slots')::int AS slots,
       (SELECT count(*) FROM pg_replication_slots) AS taken,
       current_setting('max_wal_senders')::int AS senders,
       (SELECT count(*) FROM pg_stat_replication) AS sending,
       current_setting('synchronous_standby_names') AS synchronous,
       (SELECT rolsuper OR rolreplication FROM pg_roles WHERE rolname = current_user)
         OR EXISTS (SELECT FROM pg_roles r
                    WHERE r.rolname = 'rds_replication' AND pg_has_role(current_user, r.oid, 'USAGE')) AS replication
"""
_PUBLICATION = """
SELECT p.puballtables OR EXISTS (SELECT FROM pg_publication_tables t WHERE t.pubname = p.pubname
                                 AND t.schemaname = $2 AND t.tablename = $3) AS has_table,
       coalesce((SELECT r.oid FROM pg_publication_rel r WHERE r.prpubid = p.oid AND r.prrelid = $4), p.oid) AS member,
       p.pubinsert AND p.pubupdate AND p.pubdelete AND p.pubtruncate AS complete,
       p.pubviaroot AS viaroot, pg_has_role(p.pubowner, 'USAGE') AS own
FROM pg_publication p WHERE p.pubname = $1
"""
_ABANDONED = """
SELECT NOT pg_is_in_recovery() AND NOT coalesce(s.active, false)
       AND (s.active IS NOT NULL OR coalesce(pg_has_role(p.pubowner, 'USAGE'), false))
FROM (SELECT) one
LEFT JOIN pg_replication_slots s
       ON s.slot_name = $1 AND s.plugin = 'pgoutput' AND s.database = current_database()
LEFT JOIN pg_publication p ON p.pubname = $1
"""
_HERE = """
SELECT (SELECT system_identifier::text FROM pg_control_system()) AS system,
       CASE WHEN pg_is_in_recovery() THEN NULL ELSE pg_current_wal_flush_lsn()::text END AS lsn
"""


@dataclass(frozen=True, slots=True)
class Slot:
    """A slot as it is: who reads it (a process of the server), up to where it is confirmed, the bytes of log that
    the server keeps for it (None on a standby), and `lost` when the server no longer has what follows."""

    name: str
    active: int | None
    confirmed: int
    retained: int | None
    lost: bool


@dataclass(frozen=True, slots=True)
class Replication:
    """What stands in the way of logical replication on this server, each with its remedy: (what, remedy)."""

    wal_level: tuple[str, str] | None
    role: tuple[str, str] | None
    slots: tuple[str, str] | None
    free: int
    waits: tuple[str, str] | None = None
    """A setting under which others would wait for a feed; it does not stand in the way."""

    def first(self) -> tuple[str, str] | None:
        """The first obstacle, None when there is none."""
        return self.wal_level or self.role or self.slots


def slot_name(sync: str, stream: str) -> str:
    """The name of the slot and of the publication of a stream: the same every time, and no other stream's."""
    readable = "_".join(re.sub(r"[^a-z0-9]+", "_", part.lower()).strip("_")[:20] for part in (sync, stream))
    return f"{PREFIX}{readable}_{digest(sync, stream, length=10)}"


async def slots(connection: asyncpg.Connection[Any], name: str = PREFIX) -> list[Slot]:
    """The slots of ours in this database, or the one called `name`."""
    return [
        Slot(
            row["name"],
            row["active_pid"],
            lsn_number(row["confirmed"] or "0/0"),
            row["retained"],
            row["wal_status"] == "lost" or row["confirmed"] is None,
        )
        for row in await connection.fetch(_SLOTS, name)
        if name == PREFIX or row["name"] == name
    ]


async def find(connection: asyncpg.Connection[Any], name: str) -> Slot | None:
    """The slot called `name`."""
    found = await slots(connection, name)
    return found[0] if found else None


async def replication(connection: asyncpg.Connection[Any], user: str) -> Replication:
    """Whether changes can be read from this server by this user."""
    row = await connection.fetchrow(_SERVER)
    assert row is not None, "a SELECT without FROM has one row"
    who = quoted(user)
    level = role = slot = None
    if row["standby"]:
        level = ("This server is a standby, which has no change feed of its own.", "Connect to the primary.")
    elif row["wal_level"] != "logical":
        level = (
            f"The server's wal_level is {row['wal_level']}; a change feed needs logical.",
            "Run ALTER SYSTEM SET wal_level = logical; and restart the server (managed servers have a setting"
            " such as rds.logical_replication).",
        )
    if not row["replication"]:
        role = (
            f"The user '{clean(user)}' may not use replication.",
            f"Run ALTER ROLE {clean(who)} REPLICATION; (on RDS: GRANT rds_replication TO {clean(who)};).",
        )
    if row["taken"] >= row["slots"]:
        slot = (
            f"All {row['slots']} replication slots of the server are taken.",
            "Drop one that nobody needs (pg_drop_replication_slot), or raise max_replication_slots and restart.",
        )
    elif row["sending"] >= row["senders"]:
        slot = (
            f"All {row['senders']} connections for replication of the server are taken.",
            "End one that nobody needs, or raise max_wal_senders and restart.",
        )
    waits = None
    if "*" in row["synchronous"]:
        waits = (
            "The server's synchronous_standby_names has *, so every commit may wait until a change feed is stored.",
            "Name the standbys that are meant instead.",
        )
    return Replication(level, role, slot, max(0, row["slots"] - row["taken"]), waits)


def identity_fault(relation: Relation, key: Sequence[str]) -> tuple[str, str] | None:
    """Why the log does not say which row was changed or deleted, and the remedy; None when it does.

    A table with such a fault must not be published at all: PostgreSQL would refuse every UPDATE and DELETE.
    """
    name = clean(relation.sql)
    full = f"Run ALTER TABLE {name} REPLICA IDENTITY FULL;"
    if not key:
        return (
            f"{name} has no primary key, so its changes cannot be told apart.",
            "Give it a primary key, or name `key` of the stream in the integration file and let the log keep"
            f" whole rows: ALTER TABLE {name} REPLICA IDENTITY FULL;",
        )
    if not relation.identity_columns:
        what = IDENTITIES.get(relation.identity, relation.identity)
        return f"The replica identity of {name} is {what}, which says nothing of deleted rows.", full
    lacking = [part for part in key if part not in relation.identity_columns]
    if lacking:
        return (
            f"The log of {name} does not keep {clean(', '.join(lacking))} of the key when a row is deleted.",
            full,
        )
    return None


async def check_publishable(
    connection: asyncpg.Connection[Any], address: Address, relation: Relation, key: Sequence[str]
) -> None:
    """Raise ConfigError, with the remedy, unless the changes of this table can be read."""
    fault = None
    if relation.kind not in ("r", "p"):
        fault = (
            f"{clean(relation.sql)} is no table, and only tables have a change feed.",
            "Use mode: snapshot.",
        )
    elif not relation.logged:
        fault = (
            f"{clean(relation.sql)} is not in the server's log.",
            f"Run ALTER TABLE {clean(relation.sql)} SET LOGGED;, or use mode: snapshot.",
        )
    fault = fault or identity_fault(relation, key)
    if fault is None and relation.kind == "p":
        fault = await _partition_fault(connection, relation, key)
    if fault is not None:
        raise ConfigError(fault[0], where=address.where, hint=fault[1], code="replica_identity")


async def _partition_fault(
    connection: asyncpg.Connection[Any], relation: Relation, key: Sequence[str]
) -> tuple[str, str] | None:
    """As `identity_fault`, for the partitions: they have replica identities of their own."""
    parts = await leaves(connection, relation)
    keys: dict[int, list[asyncpg.Record]] = {}
    for row in await connection.fetch(KEYS, [part.oid for part in parts]):
        keys.setdefault(row["relation"], []).append(row)
    for part in parts:
        columns = identity_of(part.identity, relation.columns, keys.get(part.oid, ()))
        if not set(key) <= set(columns):
            return (
                f"The log of the partition {clean(part.sql)} does not keep the key when a row is deleted.",
                f"Run ALTER TABLE {clean(part.sql)} REPLICA IDENTITY FULL;",
            )
    return None


async def publish(
    connection: asyncpg.Connection[Any], address: Address, name: str, relation: Relation
) -> None:
    """Make the publication, or see that the one that is there has all changes of the table.

    It must be there before the slot: the server looks it up as it was at the time of each change.
    Raises ConfigError with the statement that somebody with the right to it must run.
    """
    row = await _publication(connection, name, relation)
    publication = quoted(name)
    options = "publish = 'insert, update, delete, truncate', publish_via_partition_root = true"
    statement = f"CREATE PUBLICATION {publication} FOR TABLE {relation.source} WITH ({options})"
    if row is not None:
        statement = f"ALTER PUBLICATION {publication} ADD TABLE {relation.source}"
    try:
        if row is None or not row["has_table"]:
            await connection.execute(statement)
    except asyncpg.DuplicateObjectError:
        return
    except asyncpg.InsufficientPrivilegeError:
        raise ConfigError(
            f"The user '{clean(address.user)}' may not publish {clean(relation.sql)}.",
            where=address.where,
            hint=f"Let the table's owner, who needs CREATE on the database, run: {clean(statement)};",
            code="42501",
        ) from None
    if row is not None and not (row["complete"] and (row["viaroot"] or relation.kind != "p")):
        raise ConfigError(
            f"The publication '{clean(name)}' leaves out some of the changes.",
            where=address.where,
            hint=f"Let its owner run: ALTER PUBLICATION {clean(publication)} SET ({options});",
            code="publication",
        )


async def membership(connection: asyncpg.Connection[Any], name: str, relation: Relation) -> int | None:
    """A number that stays the same as long as the table has been in the publication, None when it is not."""
    row = await _publication(connection, name, relation)
    return int(row["member"]) if row is not None and row["has_table"] else None


async def _publication(
    connection: asyncpg.Connection[Any], name: str, relation: Relation
) -> asyncpg.Record | None:
    found: asyncpg.Record | None = await connection.fetchrow(
        _PUBLICATION, name, relation.schema, relation.name, relation.oid
    )
    return found


@dataclass(frozen=True, slots=True)
class Here:
    """Which server this is, and up to where its log is on disk (None on a standby)."""

    system: str
    lsn: int | None


async def here(connection: asyncpg.Connection[Any]) -> Here:
    """Where the log of the server is now."""
    row = await connection.fetchrow(_HERE)
    assert row is not None, "a SELECT without FROM has one row"
    return Here(row["system"], None if row["lsn"] is None else lsn_number(row["lsn"]))


def must_be_ready(state: Replication, address: Address) -> None:
    """Raise ConfigError with the remedy when the server or the user cannot have another slot."""
    obstacle = state.first()
    if obstacle is not None:
        raise ConfigError(obstacle[0], where=address.where, hint=obstacle[1], code="replication")


async def create(connection: asyncpg.Connection[Any], address: Address, name: str) -> int:
    """Make the slot; changes from the returned place in the log on are kept for it.

    Waits for the transactions that are under way to end; raises TransientError when one does not in time.
    """
    try:
        lsn = await connection.fetchval(
            "SELECT lsn::text FROM pg_create_logical_replication_slot($1, 'pgoutput')", name
        )
    except (TimeoutError, asyncpg.LockNotAvailableError):
        raise TransientError(
            "The replication slot could not be made: a transaction has been open all the time.",
            where=address.where,
            hint="Look for old transactions in pg_stat_activity (xact_start) and pg_prepared_xacts, and end them.",
            code="slot_waits",
        ) from None
    return lsn_number(str(lsn))


async def drop(connection: asyncpg.Connection[Any], address: Address, name: str) -> None:
    """Drop the slot, if it is there.

    Raises TransientError when somebody goes on reading it, ConfigError without the right to drop it.
    """
    loop = asyncio.get_running_loop()
    until = loop.time() + _BUSY_SECONDS
    while await find(connection, name) is not None:
        try:
            await connection.execute(f"SELECT pg_drop_replication_slot('{name}')")
        except asyncpg.UndefinedObjectError:
            return
        except asyncpg.InsufficientPrivilegeError:
            raise ConfigError(
                f"The user '{clean(address.user)}' may not drop the replication slot '{clean(name)}', which the"
                " server keeps its log for.",
                where=address.where,
                hint=f"Let somebody who may run: SELECT pg_drop_replication_slot('{clean(name)}');",
                code="42501",
            ) from None
        except asyncpg.ObjectInUseError as error:
            if loop.time() >= until:
                raise in_use(address, name, str(error)) from None
            await asyncio.sleep(_BUSY_WAIT)


async def abandoned(connection: asyncpg.Connection[Any], name: str) -> bool:
    """Whether a slot that nobody reads, or a publication that is ours to drop, is there under this name."""
    return bool(await connection.fetchval(_ABANDONED, name))


async def withdraw(connection: asyncpg.Connection[Any], name: str) -> None:
    """Drop the publication, if it is there and ours to drop; one that somebody made for us stays."""
    row = await connection.fetchrow(_PUBLICATION, name, "", "", 0)
    if row is not None and row["own"]:
        await connection.execute(f"DROP PUBLICATION IF EXISTS {quoted(name)}")


async def advance(connection: asyncpg.Connection[Any], address: Address, name: str, lsn: int) -> None:
    """Let the server forget what is before `lsn`. A slot that is further, or gone, stays as it is.

    Raises TransientError when somebody goes on reading it.
    """
    loop = asyncio.get_running_loop()
    until = loop.time() + _BUSY_SECONDS
    while True:
        slot = await find(connection, name)
        if slot is None or slot.lost or slot.confirmed >= lsn:
            return
        try:
            await connection.execute(f"SELECT pg_replication_slot_advance('{name}', '{lsn_text(lsn)}')")
            return
        except asyncpg.ObjectInUseError as error:
            if loop.time() >= until:
                raise in_use(address, name, str(error)) from None
            await asyncio.sleep(_BUSY_WAIT)


def in_use(address: Address, name: str, said: str) -> TransientError:
    """That another connection reads the slot."""
    return TransientError(
        f"The replication slot '{clean(name)}' is in use: {clean(said).rstrip('.')}.",
        where=address.where,
        hint="Another engine reads it, or the server has not noticed yet that an earlier connection ended.",
        code="55006",
    )


def check_retained(address: Address, slot: Slot, most: int) -> None:
    """Raise ConfigError when the server keeps more log for the slot than `max_retained` allows."""
    if slot.retained is None or slot.retained <= most:
        return
    raise ConfigError(
        f"The server keeps {size_text(slot.retained)} of its log for the replication slot '{slot.name}', more than"
        f" the {size_text(most)} allowed; its disk may fill up.",
        where=address.where,
        hint="Raise max_retained in the connector's source to let the stream catch up, or give the changes up with"
        f" SELECT pg_drop_replication_slot('{slot.name}'); and reset the stream. An old transaction keeps log too:"
        " see pg_stat_activity.",
        code="max_retained",
    )


def size_text(size: int) -> str:
    """Bytes for a person: `512 bytes`, `1.5 GiB`."""
    number, unit = float(size), "bytes"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if number < 1024:
            break
        number, unit = number / 1024, larger
    return f"{size} bytes" if unit == "bytes" else f"{number:.1f} {unit}"
