# ruff: noqa: S608 - only names of columns and `?` are put into SQL; every value is bound
"""Fix rules: corrections kept for a fingerprint, and the edits that they made."""

from __future__ import annotations

import builtins
import sqlite3
from collections.abc import Sequence

from platint_tui.core.errors import NotFound
from platint_tui.core.ids import digest, new_id
from platint_tui.core.patch import Patch, documents, patch_of
from platint_tui.core.rules import FixRule, RuleEdit
from platint_tui.core.states import DeadLetterState
from platint_tui.store.codec import chunks, dump, load, marks, text
from platint_tui.store.letters import BODY, SUMMARY, insert_child
from platint_tui.store.lifecycle import IssueCounts, close_items, move
from platint_tui.store.noun import Noun

_RULE = "id, number, fingerprint, patch, note, made_from, operator, created_ms, revoked_ms"


class Rules(Noun):
    """ports.Rules in SQLite."""

    async def add(
        self,
        fingerprint: str,
        patch: Patch,
        *,
        note: str = "",
        made_from: str | None = None,
        operator: str = "",
    ) -> FixRule:
        """Keep a rule for the dead letters of a fingerprint."""
        identity = new_id("fix")
        values = (
            fingerprint,
            dump(documents(patch)),
            text(note),
            made_from,
            text(operator),
            self._clock.now_ms(),
        )

        def task(connection: sqlite3.Connection) -> FixRule:
            connection.execute(
                "INSERT INTO fix_rules (id, number, fingerprint, patch, note, made_from, operator, created_ms)"
                " SELECT ?, COALESCE(MAX(number), 0) + 1, ?, ?, ?, ?, ?, ? FROM fix_rules",
                (identity, *values),
            )
            return _find(connection, identity)

        return await self._database.write(task)

    async def get(self, id_or_number: str) -> FixRule:
        """One rule. Raises NotFound."""
        return await self._database.read(lambda connection: _find(connection, id_or_number))

    async def list(self, fingerprint: str = "", *, revoked: bool = False) -> Sequence[FixRule]:
        """Rules in force, newest first; of one fingerprint, and those that were revoked too, where asked for."""
        conditions, values = ["1 = 1"], []
        if fingerprint:
            conditions.append("fingerprint = ?")
            values.append(fingerprint)
        if not revoked:
            conditions.append("revoked_ms IS NULL")

        def task(connection: sqlite3.Connection) -> builtins.list[FixRule]:
            rows = connection.execute(
                f"SELECT {_RULE} FROM fix_rules WHERE {' AND '.join(conditions)} ORDER BY number DESC", values
            )
            return [_rule(row) for row in rows]

        return await self._database.read(task)

    async def revoke(self, id_or_number: str) -> FixRule:
        """Offer and apply a rule no more; the edits that it made stay. Raises NotFound."""
        now = self._clock.now_ms()

        def task(connection: sqlite3.Connection) -> FixRule:
            found = _find(connection, id_or_number)
            connection.execute(
                "UPDATE fix_rules SET revoked_ms = ? WHERE id = ? AND revoked_ms IS NULL", (now, found.id)
            )
            return _find(connection, found.id)

        return await self._database.write(task)

    async def edit_all(self, rule: str, edits: Sequence[RuleEdit]) -> int:
        """Make each edit as a child of its dead letter, which stays as `edited`; returns how many were made.

        A child has a new idempotency key and names the rule. Dead letters that are no longer open are left out.
        """
        now, made = self._clock.now_ms(), 0
        for some in chunks(builtins.list(edits)):

            def task(connection: sqlite3.Connection, some: builtins.list[RuleEdit] = some) -> int:
                return _edit(connection, rule, some, now)

            made += await self._database.write(task)
        return made

    async def open_edits(self, rule: str) -> Sequence[str]:
        """The ids of the edits of a rule that are open, oldest first."""

        def task(connection: sqlite3.Connection) -> builtins.list[str]:
            rows = connection.execute(
                "SELECT id FROM dead_letters WHERE rule = ? AND state || '' = 'open' ORDER BY number", (rule,)
            )
            return [row["id"] for row in rows]

        return await self._database.read(task, scan=True)


def _edit(connection: sqlite3.Connection, rule: str, edits: Sequence[RuleEdit], now: int) -> int:
    ids = [item.dead_letter for item in edits]
    rows = {
        row["id"]: row
        for row in connection.execute(
            f"SELECT {SUMMARY}, {BODY} FROM dead_letters AS d JOIN dead_letter_bodies AS b"
            f" ON b.number = d.number WHERE d.id IN ({marks(ids)})",
            ids,
        )
    }
    counts, edited = IssueCounts(), builtins.list[str]()
    for item in edits:
        row = rows.get(item.dead_letter)
        if row is None or row["state"] != DeadLetterState.OPEN:
            continue
        child = new_id("dl")
        key = digest("edit", row["id"], item.content_hash, child)
        move(connection, row, DeadLetterState.EDITED, now, counts)
        insert_child(connection, row, child, key, item.payload, text(item.record_key), item.content_hash, now)
        connection.execute("UPDATE dead_letters SET rule = ? WHERE id = ?", (rule, child))
        counts.add(row["fingerprint"], opened=1)
        edited.append(row["id"])
    close_items(connection, edited, "released", now)
    counts.write(connection)
    return len(edited)


def _find(connection: sqlite3.Connection, id_or_number: str) -> FixRule:
    column = "number" if id_or_number.isdecimal() and len(id_or_number) < 18 else "id"
    row = connection.execute(f"SELECT {_RULE} FROM fix_rules WHERE {column} = ?", (id_or_number,)).fetchone()
    if row is None:
        raise NotFound(
            f"There is no fix rule '{id_or_number}'.", hint="`platint-tui dead fix list` shows them."
        )
    return _rule(row)


def _rule(row: sqlite3.Row) -> FixRule:
    return FixRule(**{**dict(row), "patch": patch_of(load(row["patch"]))})
