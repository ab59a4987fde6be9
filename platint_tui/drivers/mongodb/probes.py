"""The probes of a profile: is the server there, may we read, may we write, are there change streams."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bson.objectid import ObjectId

from platint_tui.core.errors import ConfigError
from platint_tui.core.text import clean
from platint_tui.drivers.mongodb.connection import Address, Database, raw_collection
from platint_tui.drivers.mongodb.failures import unauthorized
from platint_tui.drivers.mongodb.reading import VIEW, list_places
from platint_tui.drivers.mongodb.rights import rights_of

_NOBODYS = "platint_probe"
"""A collection that is asked for and never made."""
_WRITING = ("insert", "update", "remove")


async def probe(name: str, database: Database, address: Address) -> str:
    """Carry out a probe and return what it found. Raises PlatintError or what pymongo raises for a failed one."""
    if name == "read":
        return await _read(database, address)
    if name == "write":
        return await _write(database, address)
    if name == "changes":
        return await _changes(database)
    return await _connect(database)


def topology(hello: Mapping[str, Any]) -> str:
    """What kind of deployment answered."""
    if hello.get("setName"):
        return f"replica set {clean(str(hello['setName']))}"
    return "sharded cluster" if hello.get("msg") == "isdbgrid" else "standalone server"


async def _connect(database: Database) -> str:
    hello = await database.client.admin.command("hello")
    built = await database.client.admin.command("buildInfo")
    rights = await rights_of(database)
    return f"MongoDB {clean(str(built.get('version', '')))}, {topology(hello)}; {rights.sentence()}"


async def _read(database: Database, address: Address) -> str:
    places = await list_places(database)
    rights = await rights_of(database)
    if rights.allows(["find"], database.name) is False:
        readable = [item.name for item in places if rights.allows(["find"], database.name, item.name)]
        if not readable:
            raise unauthorized(address, "read")
        return f"{len(readable):,} of {len(places):,} collections can be read"
    name = next((item.name for item in places if item.kind != VIEW), _NOBODYS)
    await raw_collection(database, name).find({}, {"_id": 1}).limit(1).to_list()
    if not places:
        return f"the database '{clean(database.name)}' has no collections yet"
    return f"{len(places):,} collections"


async def _write(database: Database, address: Address) -> str:
    rights = await rights_of(database)
    allowed = rights.allows(_WRITING, database.name)
    if allowed is False:
        for item in await list_places(database):
            if rights.allows(_WRITING, database.name, item.name):
                return "some collections can be written"
        raise unauthorized(address, "write")
    # Nothing has this new _id, and a delete makes no collection: the server only says whether it is allowed.
    await database[_NOBODYS].delete_one({"_id": ObjectId()})
    return "documents can be written"


async def _changes(database: Database) -> str:
    hello = await database.client.admin.command("hello")
    if not hello.get("setName") and hello.get("msg") != "isdbgrid":
        raise ConfigError(
            "This is a standalone server, which keeps no changes.",
            hint="Make it a replica set of one member (rs.initiate()), or read with mode snapshot or cursor.",
            code="no_change_streams",
        )
    places = await list_places(database)
    name = next((item.name for item in places if item.has_ids), _NOBODYS)
    async with await raw_collection(database, name).watch():
        pass
    return f"change streams are there ({topology(hello)})"
