"""The operator's integration file: read strictly, checked against the connectors, turned into the core's
Integration.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from platint_tui.core.errors import ConfigError
from platint_tui.core.model import Contract, Evolution, Integration, Json, StreamMapping
from platint_tui.manifest.feeds import EVENT_KEY, events_stream, fed_streams, feeds
from platint_tui.manifest.kinds import kind_of
from platint_tui.manifest.loader import family_of
from platint_tui.manifest.mapping import parse_expression
from platint_tui.manifest.problems import FileError, Problem, did_you_mean, listing, looks_secret, shown
from platint_tui.manifest.registry import Registry
from platint_tui.manifest.writes import chosen_write, writes_of
from platint_tui.manifest.yamltext import Document, PathKey, parse, read_document, step

if TYPE_CHECKING:
    from platint_tui.manifest.integration_schema import IntegrationFile, PlatformEntry, StreamEntry
    from platint_tui.manifest.schema import Connector, Resource

_CREDENTIAL = re.compile(
    r"(?:api|access|secret|private|auth|client|signing)[-_]?(?:key|token|secret)s?|passwords?|passwd|pwd"
    r"|passphrase|secrets?|tokens?|auth|authorization|credentials?|bearer|dsn|connection[-_]?string",
    re.IGNORECASE,
)
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_TABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,127}")
_RESERVED_FIELDS = ("_key", "_raw", "_version", "_synced_at", "_run")
RECEIVING = ("webhook_automation", "full")
"""The types of integrations that webhooks feed: alone, or beside the reading."""
_ON_DEMAND = "run on a schedule; use on_demand and start it with `platint-tui syncs run`"
_NOT_YET: dict[str, dict[str, str]] = {
    "sync_direction": {
        "target_to_source": "sync from target to source; name the platforms the other way round",
        "bidirectional": "sync both ways; use source_to_target",
    },
    "sync_frequency": {
        "hourly": _ON_DEMAND,
        "daily": _ON_DEMAND,
    },
}


def load_integration(source: Path | str, registry: Registry, name: str | None = None) -> Integration:
    """Load and check an integration file (a path), or the text of one (a str).

    Raises ConfigError with one line for each problem: `file:line:column: field: what is wrong`. A literal
    credential is refused without being repeated.
    """
    if isinstance(source, Path):
        return from_document(read_document(source, name), registry)
    return from_document(parse(source, name or "<text>"), registry)


def from_document(document: Document, registry: Registry) -> Integration:
    """Check a parsed integration file. Raises ConfigError like `load_integration`."""
    from pydantic import ValidationError

    from platint_tui.manifest.describe import from_validation
    from platint_tui.manifest.integration_schema import IntegrationFile

    raw = document.data
    if not isinstance(raw, Mapping):
        raise FileError(
            document.name, [document.problem((), "an integration file is a map of keys; this is not")]
        )
    secrets = list(_credentials(document, raw, ()))
    if secrets:
        raise FileError(document.name, secrets)
    try:
        file = IntegrationFile.model_validate(raw)
    except ValidationError as error:
        problems = from_validation(document, raw, IntegrationFile, error)
        raise FileError(document.name, problems) from None
    return _Check(document, file, registry).run()


def _credentials(document: Document, value: Json, path: PathKey) -> Iterator[Problem]:
    """Every literal credential, by the name of its key or by its form."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            # Streams and fields of a mapping may have any name: `token` is an honest column.
            free = path == ("streams",) or (len(path) == 3 and path[0] == "streams" and path[2] == "map")
            if not free and _CREDENTIAL.fullmatch(name) and item not in (None, "", [], {}):
                yield _refuse(document, (*path, name))
            else:
                yield from _credentials(document, item, (*path, name))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _credentials(document, item, (*path, number))
    elif isinstance(value, str) and looks_secret(value):
        yield _refuse(document, path)


def _refuse(document: Document, path: PathKey) -> Problem:
    platform, profile = "PLATFORM", "NAME"
    if len(path) >= 2 and path[0] == "platforms":
        _, entry = step(document.data["platforms"], path[1])
        if isinstance(entry, Mapping):
            platform = _plain_name(entry.get("name")) or platform
            profile = _plain_name(entry.get("profile")) or profile
    command = f"`platint-tui profiles add {platform} --name {profile}`"
    text = f"a credential does not belong in this file; remove it, and store it with {command}"
    return document.problem(path, text, key=True)


def _plain_name(value: Json) -> str:
    plain = isinstance(value, str) and _NAME.fullmatch(value) and not looks_secret(value)
    return str(value) if plain else ""


class _Check:
    """Checks one file against the connectors and builds the Integration; collects problems until the end."""

    def __init__(self, document: Document, file: IntegrationFile, registry: Registry) -> None:
        self._document = document
        self._file = file
        self._registry = registry
        self._problems: list[Problem] = []
        self._type: str = file.integration_type

    def run(self) -> Integration:
        """The Integration. Raises FileError with all problems."""
        self._refuse_what_cannot_run()
        ends = self._ends()
        if ends is None:
            self._stop()
        source_at, target_at, fallback_at = ends or (0, 0, None)
        source = self._connector(source_at)
        target = self._connector(target_at)
        fallback = self._connector(fallback_at) if fallback_at is not None else None
        if source is None or target is None or (fallback_at is not None and fallback is None):
            self._stop()
        assert source is not None and target is not None
        self._webhooks(source_at, source)
        for name, entry in self._file.streams.items():
            self._fields(name, entry)
        mappings = tuple(self._streams(source_at, source, target))
        if fallback is not None:
            self._fallback_takes(mappings, source, fallback)
        if self._problems:
            self._stop()
        file = self._file
        return Integration(
            name=file.integration,
            integration_type=self._type,
            source_profile=file.platforms[source_at].profile,
            source_platform=source.platform,
            target_profile=file.platforms[target_at].profile,
            target_platform=target.platform,
            sync_direction=file.sync_direction,
            sync_frequency=file.sync_frequency,
            error_strategy=file.error_strategy,
            monitoring=file.monitoring,
            streams=mappings,
            text=self._document.text,
            receives=self._type in RECEIVING,
            fallback_profile=file.platforms[fallback_at].profile if fallback_at is not None else "",
            fallback_platform=fallback.platform if fallback is not None else "",
        )

    def _add(self, path: PathKey, text: str) -> None:
        self._problems.append(self._document.problem(path, text))

    def _stop(self) -> None:
        raise FileError(self._document.name, self._problems)

    def _refuse_what_cannot_run(self) -> None:
        for key, values in _NOT_YET.items():
            value = getattr(self._file, key)
            if value in values:
                self._add((key,), f"{value} is valid, but this version cannot {values[value]}")

    def _ends(self) -> tuple[int, int, int | None] | None:
        """Which platforms are the source, the target and the fallback: by `role`, else the first and the last."""
        entries = self._file.platforms
        fallbacks = [at for at, entry in enumerate(entries) if entry.role == "fallback"]
        strategy = self._file.error_strategy
        if len(fallbacks) > 1:
            self._add(("platforms", fallbacks[1], "role"), "there is a fallback already; one is enough")
            return None
        if fallbacks and strategy != "fallback":
            text = f"goes with error_strategy: fallback; with {strategy} nothing is ever written there"
            self._add(("platforms", fallbacks[0], "role"), text)
        if strategy == "fallback" and not fallbacks:
            self._add(("error_strategy",), "fallback needs a third platform with role: fallback, to write to")
        rest = [at for at in range(len(entries)) if at not in fallbacks]
        if len(rest) != 2:
            text = "an integration needs two platforms: first the source, then the target"
            if len(rest) > 2:
                text = f"{len(rest)} platforms are given; this version syncs one source to one target"
            self._add(("platforms",), text)
            return None
        roles = [entries[at].role for at in rest]
        if roles[0] is not None and roles[0] == roles[1]:
            self._add(("platforms", rest[1], "role"), f"both platforms have the role {roles[0]}")
            return None
        source, target = reversed(rest) if roles[0] == "target" or roles[1] == "source" else rest
        return source, target, fallbacks[0] if fallbacks else None

    def _webhooks(self, at: int, source: Connector) -> None:
        """What kind of integration it is, and whether its source has the webhooks that it asks for."""
        said, entry = self._file.integration_type, self._file.platforms[at]
        if entry.type == "webhook" and said != "full":
            self._type = "webhook_automation"
        if self._type in RECEIVING and source.webhooks is None:
            place: PathKey = ("platforms", at, "type") if entry.type == "webhook" else ("integration_type",)
            self._add(place, f"{source.name} has no webhooks, as far as its connector knows")
            self._stop()
        if self._type not in RECEIVING and self._file.error_strategy == "fallback":
            text = "fallback is for what webhooks bring; a sync that is read uses dead_letter, retry or alert"
            self._add(("error_strategy",), text)

    def _fallback_takes(
        self, mappings: Sequence[StreamMapping], source: Connector, fallback: Connector
    ) -> None:
        """The second target must be able to take what the first one is sent."""
        for item in mappings:
            path: PathKey = ("streams", item.stream) if item.stream in self._file.streams else ("platforms",)
            self._target(item.stream, path, item.target, item.operation, source, fallback)

    def _connector(self, at: int) -> Connector | None:
        try:
            return self._registry.get(self._file.platforms[at].name)
        except FileError:
            raise  # the manifest is broken: its problems have their own places
        except ConfigError as error:
            self._add(("platforms", at, "name"), error.sentence())
            return None

    def _streams(self, source_at: int, source: Connector, target: Connector) -> Iterator[StreamMapping]:
        entry = self._file.platforms[source_at]
        for number, other in enumerate(self._file.platforms):
            if number != source_at and other.endpoints:
                self._add(("platforms", number, "endpoints"), "endpoints are read; only the source has them")
        for name, path in self._wanted(entry, source_at):
            settings = self._file.streams.get(name)
            mapping = self._mapping(name, path, settings, source, target)
            if mapping is not None:
                yield mapping

    def _wanted(self, entry: PlatformEntry, at: int) -> Iterator[tuple[str, PathKey]]:
        """The streams of the sync: the source's endpoints, or without those the keys of `streams`."""
        if entry.endpoints:
            for name in self._file.streams:
                if name not in entry.endpoints:
                    suggestion = did_you_mean(name, entry.endpoints) or "; add it there, or remove it here"
                    self._add(("streams", name), f"is not among the endpoints of {entry.name}{suggestion}")
            for number, name in enumerate(entry.endpoints):
                if name in entry.endpoints[:number]:
                    self._add(("platforms", at, "endpoints", number), f"{shown(name)} is here twice")
                else:
                    yield name, ("platforms", at, "endpoints", number)
        elif self._file.streams:
            yield from ((name, ("streams", name)) for name in self._file.streams)
        else:
            text = "names no endpoints; list what to sync, such as endpoints: [customers]"
            self._add(("platforms", at), text)

    def _mapping(
        self, name: str, path: PathKey, entry: StreamEntry | None, source: Connector, target: Connector
    ) -> StreamMapping | None:
        from platint_tui.manifest.resource import Resource

        fed = self._type in RECEIVING and feeds(source, name)
        resource = source.resources.get(family_of(source, name))
        if fed and name == events_stream(source):
            resource = Resource(key=EVENT_KEY)
        if resource is None or (name.endswith("*") and kind_of(source.driver).http):
            known = sorted(item for item in source.resources if not item.endswith("*"))
            if self._type in RECEIVING:
                known.append(events_stream(source))
            suggestion = did_you_mean(name, known) or f"; it has {listing(known)}"
            self._add(path, f"{source.name} has no stream {shown(name)}{suggestion}")
            return None
        if self._type == "webhook_automation" and not fed:
            brought = listing(sorted(fed_streams(source)))
            self._add(path, f"no webhook of {source.name} brings {shown(name)}; they bring {brought}")
            return None
        if resource.read is None and resource.source is None and not fed:
            self._add(path, f"{shown(name)} of {source.name} can be written, not read")
            return None
        self._reading(name, entry, source, resource)
        goal = (entry.target if entry else None) or name
        operation = (entry.operation if entry else None) or ""
        self._target(name, path, goal, operation, source, target)
        key = entry.key if entry and entry.key is not None else resource.key
        select, mapped = (entry.select, dict(entry.map)) if entry else ((), {})
        if entry is None:
            return StreamMapping(name, goal, tuple(key or ()), tuple(select), mapped, operation)
        contract = Contract(
            Evolution(entry.contract.tables),
            Evolution(entry.contract.columns),
            Evolution(entry.contract.types),
        )
        return StreamMapping(
            name,
            goal,
            tuple(key or ()),
            tuple(select),
            mapped,
            operation,
            mode=entry.mode or ("cursor" if entry.cursor else ""),
            cursor=entry.cursor or "",
            on_lost=entry.on_lost,
            deletes=entry.deletes,
            contract=contract,
        )

    def _reading(self, name: str, entry: StreamEntry | None, source: Connector, resource: Resource) -> None:
        """What the file says of how the source is read must be something that the source knows."""
        if entry is None:
            return
        modes = resource.source.modes if resource.source else ()
        if entry.mode and entry.mode not in modes:
            known = f"only {listing(modes)}" if modes else "which needs no mode"
            self._add(("streams", name, "mode"), f"{entry.mode} is no way to read {source.name}, {known}")
        if entry.cursor and resource.source is None:
            self._add(("streams", name, "cursor"), f"is said by the connector of {source.name} itself")
        elif entry.cursor and entry.mode not in (None, "cursor"):
            text = f"goes with mode: cursor; as {entry.mode} the stream is not read by a field"
            self._add(("streams", name, "cursor"), text)
        if entry.mode == "cursor" and not entry.cursor:
            self._add(
                ("streams", name, "mode"), "cursor needs `cursor`: the field that says how new a row is"
            )

    def _target(
        self, name: str, path: PathKey, goal: str, operation: str, source: Connector, target: Connector
    ) -> None:
        place: PathKey = ("streams", name, "target") if name in self._file.streams else path
        profiles = {entry.profile for entry in self._file.platforms}
        if len(profiles) == 1 and goal == name:
            self._add(place, "source and target are the same stream of the same profile")
        if kind_of(target.driver).tables:
            if goal.startswith("_platint") or goal.lower().startswith("sqlite_"):
                self._add(place, f"{shown(goal)} is a reserved name")
            elif not _TABLE.fullmatch(goal):
                self._add(place, f"{shown(goal)} is no name of a table; use letters, digits, _, . and -")
            if operation not in ("", "upsert"):
                self._add(("streams", name, "operation"), f"tables of {target.name} are upserted only")
                return
        found = target.resources.get(family_of(target, goal))
        writable = sorted(item for item, known in target.resources.items() if writes_of(known))
        if found is None:
            suggestion = did_you_mean(goal, writable) or f"; what can be written there is {listing(writable)}"
            self._add(
                place, f"{target.name} has no {shown(goal)}{suggestion} (give it as streams.{name}.target)"
            )
        elif not writes_of(found):
            self._add(place, f"{shown(goal)} of {target.name} can be read, not written")
        else:
            try:
                chosen_write(target, goal, operation)
            except ConfigError as error:
                where: PathKey = ("streams", name, "operation") if operation else place
                self._add(where, f"{error.message} {error.hint}".strip())

    def _fields(self, name: str, entry: StreamEntry) -> None:
        for number, field in enumerate(entry.select):
            if "." in field:
                self._add(
                    ("streams", name, "select", number),
                    f"select takes whole fields; write map: {{{field.rpartition('.')[2]}: {field}}}",
                )
        for field, expression in entry.map.items():
            path: PathKey = ("streams", name, "map", field)
            if field in _RESERVED_FIELDS:
                self._add(path, f"{shown(field)} is a reserved field name")
            try:
                parse_expression(expression)
            except ConfigError as error:
                self._add(path, f"{error.message} {error.hint}".strip())
