"""What the user of a profile may do, as the server tells it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from platint_tui.core.text import clean
from platint_tui.drivers.mongodb.connection import Database


@dataclass(frozen=True, slots=True)
class Rights:
    """Who is signed in. `privileges` is empty where nobody is, or where the server does not list them."""

    users: tuple[str, ...]
    roles: tuple[str, ...]
    privileges: Sequence[Mapping[str, Any]]

    def allows(self, actions: Sequence[str], database: str, collection: str = "") -> bool | None:
        """Whether all of the actions are allowed on a collection ("": on every one); None when that is not known."""
        if not self.users:
            return True
        if not self.privileges:
            return None
        allowed = {
            action
            for item in self.privileges
            if _covers(item.get("resource") or {}, database, collection)
            for action in item.get("actions") or ()
        }
        return allowed.issuperset(actions)

    def sentence(self) -> str:
        """Who it is and with which roles."""
        if not self.users:
            return "nobody is signed in"
        return f"signed in as {', '.join(self.users)} with {', '.join(self.roles) or 'no role'}"


def _covers(resource: Mapping[str, Any], database: str, collection: str) -> bool:
    if resource.get("anyResource"):
        return True
    if "db" not in resource or resource["db"] not in ("", database):
        return False
    return resource.get("collection") in ("", collection)


async def rights_of(database: Database) -> Rights:
    """The rights of the present connection. Raises what pymongo raises."""
    answer = await database.command({"connectionStatus": 1, "showPrivileges": True})
    about = answer.get("authInfo") or {}
    return Rights(
        tuple(clean(f"{item['user']}@{item['db']}") for item in about.get("authenticatedUsers") or ()),
        tuple(clean(f"{item['role']}@{item['db']}") for item in about.get("authenticatedUserRoles") or ()),
        about.get("authenticatedUserPrivileges") or (),
    )
