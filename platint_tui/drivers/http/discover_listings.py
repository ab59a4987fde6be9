"""Streams that an account lists itself: object types, tables, indexes, buckets."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

from platint_tui.core.errors import ErrorClass, PlatintError
from platint_tui.core.model import Json, Record
from platint_tui.core.text import clean, one_line
from platint_tui.drivers.http.matching import body_holds
from platint_tui.drivers.http.positions import Scan
from platint_tui.drivers.http.scanner import Scanner
from platint_tui.drivers.http.session import Session
from platint_tui.manifest import schema
from platint_tui.manifest.template import lookup

LONGEST_NAME = 200
_UNUSABLE = re.compile(r"[\x00-\x20\x7f/\\*?#%\"'<>|]")
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Listed:
    """A stream that a listing named, or (as `items.*`) those of a family that it could not name; `incomplete`
    when there are streams that are not known.
    """

    name: str
    description: str = ""
    estimate: int | None = None
    notes: tuple[str, ...] = ()
    refused: str = ""
    incomplete: bool = False


@dataclass
class Listings:
    """What the listings of a manifest came to, by the family that they lead into."""

    _found: dict[str, dict[str, Listed]] = field(default_factory=dict)
    _gaps: dict[str, list[str]] = field(default_factory=dict)
    _refused: dict[str, str] = field(default_factory=dict)
    _open: set[str] = field(default_factory=set)

    @classmethod
    async def ask(cls, session: Session) -> Listings:
        """Send every listing of the manifest.

        One that fails leaves a gap with its sentence: what else the account has is shown all the same.
        """
        listings = cls()
        known: dict[str, list[Record] | PlatintError] = {}
        for item in session.context.connector.discover.listings:
            # Two families may come from one list: it is asked for once.
            what = item.model_dump_json(exclude={"into", "name", "description", "estimate", "optional"})
            if what not in known:
                known[what] = await _records(session, item)
            listings._take(session, item, known[what])
        return listings

    def of(self, family: str) -> list[Listed]:
        """The streams of a family, in the order in which they were listed."""
        return list(self._found.get(family, {}).values())

    def refusal(self, family: str) -> str:
        """Why the streams of a family may not be listed, '' when they may."""
        return self._refused.get(family, "")

    def gap(self, family: str) -> Listed | None:
        """What stands for the streams of a family that are not known, None when all of them are."""
        notes = self._gaps.get(family)
        if not notes:
            return None
        return Listed(family, "", None, tuple(notes), self.refusal(family), family in self._open)

    def _take(self, session: Session, item: schema.Listing, records: list[Record] | PlatintError) -> None:
        gaps = self._gaps.setdefault(item.into, [])
        if isinstance(records, PlatintError):
            self._open.add(item.into)
            gaps.append(f"Not listed: {records.sentence()}")
            if records.error_class is ErrorClass.AUTH:
                self._refused[item.into] = records.sentence()
            return
        found = self._found.setdefault(item.into, {})
        unusable: list[str] = []
        declared = session.context.connector.resources
        for record in records:
            own = lookup(record.value, item.name)
            if not isinstance(own, str) or not _usable(own):
                unusable.append(clean(str(own))[:40])
                continue
            name = own if item.into == "*" else f"{item.into[:-1]}{own}"
            if name in declared or name in found:
                continue
            if len(found) >= item.max:
                self._open.add(item.into)
                gaps.append(f"There are more than {item.max:,}: the others are not listed.")
                break
            found[name] = Listed(
                name,
                one_line(lookup(record.value, item.description or "")),
                _count(record.value, item.estimate),
            )
        if unusable:
            names = ", ".join(f"'{name}'" for name in unusable[:_SHOWN])
            more = f" and {len(unusable) - _SHOWN:,} more" if len(unusable) > _SHOWN else ""
            gaps.append(f"Left out, because their names cannot be used: {names}{more}.")


async def _records(session: Session, item: schema.Listing) -> list[Record] | PlatintError:
    """The records of a listing, at most one more than it may have; the error that ended it, as a value."""
    read = schema.Read(
        request=item.request,
        records=item.records,
        format=item.format,
        scalar=item.scalar,
        entries=item.entries,
        page=item.page,
        optional=True,
    )
    records: list[Record] = []
    scanner = Scanner(session, item.into, read, Scan(None))
    try:
        async with aclosing(scanner.chunks()) as chunks:
            async for chunk in chunks:
                records += _matching(chunk.records, item)
                if len(records) > item.max:
                    break
    except PlatintError as error:
        return error
    return records


def _matching(records: Sequence[Record], item: schema.Listing) -> list[Record]:
    return [one for one in records if all(body_holds(test, one.value) for test in item.when)]


def _usable(name: str) -> bool:
    """Whether a listed name can be that of a stream: what the command line, files and paths can hold."""
    return (
        0 < len(name) <= LONGEST_NAME
        and not _UNUSABLE.search(name)
        and clean(name) == name
        and not name.startswith(("-", "."))
        and name not in (".", "..")
    )


def _count(record: Json, path: str | None) -> int | None:
    value = lookup(record, path) if path else None
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 16:
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
