"""Webhooks that are registered at platforms. Their secrets are in the vault, never here."""

from __future__ import annotations

import builtins
import sqlite3
from collections.abc import Sequence
from dataclasses import asdict

from platint_tui.core.subscriptions import Subscription, SubscriptionState
from platint_tui.store.codec import dump, load, text
from platint_tui.store.noun import Noun


class Subscriptions(Noun):
    """ports.Subscriptions in SQLite."""

    async def put(self, subscription: Subscription) -> None:
        """Insert or replace by id."""
        values = asdict(subscription)
        values |= {
            "types": dump(list(subscription.types)),
            "scope": dump(dict(subscription.scope)),
            "error": text(subscription.error),
            "remote_id": text(subscription.remote_id),
        }
        columns = ", ".join(values)

        def task(connection: sqlite3.Connection) -> None:
            connection.execute(
                f"INSERT INTO subscriptions ({columns}) VALUES ({', '.join(f':{name}' for name in values)})"  # noqa: S608 - names
                " ON CONFLICT (id) DO UPDATE SET remote_id = excluded.remote_id, url = excluded.url,"
                " types = excluded.types, scope = excluded.scope, state = excluded.state,"
                " expires_ms = excluded.expires_ms, checked_ms = excluded.checked_ms, error = excluded.error",
                values,
            )

        await self._database.write(task)

    async def get(self, subscription: str) -> Subscription | None:
        """The subscription with this id."""

        def task(connection: sqlite3.Connection) -> Subscription | None:
            row = connection.execute("SELECT * FROM subscriptions WHERE id = ?", (subscription,)).fetchone()
            return None if row is None else _subscription(row)

        return await self._database.read(task)

    async def list(self, profile: str | None = None) -> Sequence[Subscription]:
        """All, or those of a profile, oldest first."""

        def task(connection: sqlite3.Connection) -> builtins.list[Subscription]:
            rows = connection.execute(
                "SELECT * FROM subscriptions WHERE ?1 IS NULL OR profile = ?1 ORDER BY created_ms, id",
                (profile,),
            )
            return [_subscription(row) for row in rows]

        return await self._database.read(task)

    async def of_command(self, command: str) -> Sequence[Subscription]:
        """Those that a command made or began to make."""
        return [item for item in await self.list() if item.command == command]

    async def remove(self, subscription: str) -> None:
        """Forget it."""

        def task(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM subscriptions WHERE id = ?", (subscription,))

        await self._database.write(task)


def _subscription(row: sqlite3.Row) -> Subscription:
    return Subscription(
        **{
            **dict(row),
            "types": tuple(load(row["types"])),
            "scope": load(row["scope"]),
            "state": SubscriptionState(row["state"]),
        }
    )
