"""Profiles and their last check. Secrets are references; their values never come here."""

from __future__ import annotations

import builtins
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from platint_tui.core.errors import NotFound
from platint_tui.core.model import Capability, Environment, Profile, ProfileCheck
from platint_tui.store.codec import dump, load
from platint_tui.store.noun import Noun


class Profiles(Noun):
    """ports.Profiles in SQLite."""

    async def put(self, profile: Profile) -> None:
        """Insert or replace by name; `created_ms` and `updated_ms` of 0 become now."""
        now = self._clock.now_ms()
        values = (
            profile.name,
            profile.platform,
            profile.environment.value,
            dump(profile.fields),
            dump(profile.secrets),
            dump(profile.origins),
            profile.created_ms or now,
            profile.updated_ms or now,
        )

        def task(connection: sqlite3.Connection) -> None:
            connection.execute(
                "INSERT INTO profiles (name, platform, environment, fields, secrets, origins, created_ms,"
                " updated_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (name) DO UPDATE SET"
                " platform = excluded.platform, environment = excluded.environment,"
                " fields = excluded.fields, secrets = excluded.secrets, origins = excluded.origins,"
                " updated_ms = excluded.updated_ms",
                values,
            )

        await self._database.write(task)

    async def get(self, name: str) -> Profile | None:
        """The profile of this name."""

        def task(connection: sqlite3.Connection) -> sqlite3.Row | None:
            row: sqlite3.Row | None = connection.execute(
                "SELECT * FROM profiles WHERE name = ?", (name,)
            ).fetchone()
            return row

        row = await self._database.read(task)
        return None if row is None else _profile(row)

    async def fill(
        self, name: str, fields: Mapping[str, str], secrets: Mapping[str, str], earlier: Mapping[str, str]
    ) -> Sequence[str]:
        """One transaction: set these fields and references, whatever else was changed meanwhile. `earlier` names
        where the value before goes, by field. Returns the references that nothing names any more. Raises NotFound.
        """
        now = self._clock.now_ms()

        def task(connection: sqlite3.Connection) -> builtins.list[str]:
            row = connection.execute("SELECT * FROM profiles WHERE name = ?", (name,)).fetchone()
            if row is None:
                raise NotFound(f"There is no profile '{name}' any more.")
            profile = _profile(row)
            values: builtins.list[dict[str, str]] = []
            for held, given in ((profile.fields, fields), (profile.secrets, secrets)):
                changed = {**held, **given}
                for field, before in earlier.items():
                    if field in given and field in held and held[field] != given[field]:
                        changed[before] = held[field]
                values.append(changed)
            connection.execute(
                "UPDATE profiles SET fields = ?, secrets = ?, updated_ms = ? WHERE name = ?",
                (dump(values[0]), dump(values[1]), now, name),
            )
            return sorted(set(profile.secrets.values()) - set(values[1].values()))

        return await self._database.write(task)

    async def list(self) -> Sequence[Profile]:
        """All profiles by name."""

        def task(connection: sqlite3.Connection) -> builtins.list[Profile]:
            return [_profile(row) for row in connection.execute("SELECT * FROM profiles ORDER BY name")]

        return await self._database.read(task)

    async def remove(self, name: str) -> bool:
        """Remove a profile with its checks and catalogues; runs and dead letters stay."""

        def task(connection: sqlite3.Connection) -> bool:
            return connection.execute("DELETE FROM profiles WHERE name = ?", (name,)).rowcount > 0

        return await self._database.write(task)

    async def save_check(self, profile: str, ok: bool, capabilities: Sequence[Capability]) -> None:
        """Keep the outcome of a test. Raises NotFound when the profile is gone."""
        values = (profile, self._clock.now_ms(), int(ok), dump([asdict(item) for item in capabilities]))

        def task(connection: sqlite3.Connection) -> None:
            if connection.execute("SELECT 1 FROM profiles WHERE name = ?", (profile,)).fetchone() is None:
                raise NotFound(f"There is no profile '{profile}' any more.")
            connection.execute(
                "INSERT INTO profile_checks (profile, checked_ms, ok, capabilities) VALUES (?, ?, ?, ?)"
                " ON CONFLICT (profile) DO UPDATE SET checked_ms = excluded.checked_ms, ok = excluded.ok,"
                " capabilities = excluded.capabilities",
                values,
            )

        await self._database.write(task)

    async def checks(self) -> Mapping[str, ProfileCheck]:
        """The last check of each profile."""

        def task(connection: sqlite3.Connection) -> dict[str, ProfileCheck]:
            rows = connection.execute("SELECT * FROM profile_checks")
            return {row["profile"]: _check(row) for row in rows}

        return await self._database.read(task)


def _profile(row: sqlite3.Row) -> Profile:
    return Profile(
        name=row["name"],
        platform=row["platform"],
        environment=Environment(row["environment"]),
        fields=load(row["fields"]),
        secrets=load(row["secrets"]),
        origins=tuple(load(row["origins"])),
        created_ms=row["created_ms"],
        updated_ms=row["updated_ms"],
    )


def _check(row: sqlite3.Row) -> ProfileCheck:
    return ProfileCheck(
        profile=row["profile"],
        checked_ms=row["checked_ms"],
        ok=bool(row["ok"]),
        capabilities=tuple(Capability(**item) for item in load(row["capabilities"])),
    )
