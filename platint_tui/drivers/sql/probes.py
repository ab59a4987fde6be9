"""The probes of a profile: what this user can do in this database. None of them changes anything."""

from __future__ import annotations

import re

from platint_tui.core.errors import ConfigError
from platint_tui.core.text import clean
from platint_tui.drivers.sql.connection import Address, Session, ticked

NAMES = ("read", "write", "writable")
_READ = frozenset({"SELECT"})
_WRITE = frozenset({"SELECT", "INSERT", "UPDATE", "DELETE", "CREATE", "ALTER"})
_GRANT = re.compile(r"GRANT (.+?) ON (\S+) TO ", re.DOTALL)


async def probe(name: str, session: Session, address: Address) -> str:
    """What the probe `name` found. Raises ConfigError with the remedy when the answer is no."""
    if name == "writable":
        return await _writable(session, address)
    wanted = _READ if name == "read" else _WRITE
    held = await _rights(session, address)
    lacking = sorted(wanted - held) if "ALL PRIVILEGES" not in held else []
    user = clean(address.user)
    if lacking:
        raise ConfigError(
            f"The user '{user}' lacks {', '.join(lacking)} in {clean(address.database)}.",
            where=address.where,
            hint=f"Run GRANT {', '.join(lacking)} ON {ticked(address.database)}.* TO '{user}'@'…';",
            code="1142",
        )
    what = "read" if name == "read" else "made and written"
    return f"Tables of {clean(address.database)} can be {what}."


async def _rights(session: Session, address: Address) -> frozenset[str]:
    """The privileges for the whole database, by SHOW GRANTS."""
    found: set[str] = set()
    places = {"*.*", f"`{address.database}`.*", f"{address.database}.*"}
    for (text,) in await session.rows("SHOW GRANTS"):
        match = _GRANT.match(text)
        if match is not None and match.group(2).replace("\\_", "_") in places:
            found |= {item.strip().upper() for item in match.group(1).split(",")}
    return frozenset(found)


async def _writable(session: Session, address: Address) -> str:
    ((value,),) = await session.rows("SELECT @@global.read_only")
    if str(value).upper() in ("1", "ON", "TRUE"):
        raise ConfigError(
            "The server is read-only.",
            where=address.where,
            hint="Name the server that is written to, not a replica of it.",
            code="1290",
        )
    return "The server takes writes."
