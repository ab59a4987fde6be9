"""Drafting a manifest from an OpenAPI document: read, write down, check, test, keep what is sound."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from pathlib import Path

from platint_tui.core.errors import ConfigError
from platint_tui.core.paths import make_private
from platint_tui.manifest.draft import Draft, draft, platform_of
from platint_tui.manifest.openapi import Api, read_api
from platint_tui.manifest.problems import FileError

MOST_BYTES = 32 * 1024 * 1024
_ROUNDS = 6
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}")
_RESOURCE = re.compile(r"  ([A-Za-z][A-Za-z0-9_-]*):")


@dataclass(frozen=True, slots=True)
class Written:
    """A draft that was written to `path`, its exchanges beside it."""

    path: Path
    draft: Draft


async def write_draft(
    source: str, folder: Path, *, name: str | None = None, known: tuple[str, ...] = (), force: bool = False
) -> Written:
    """Draft a manifest of the document at `source` (a file, or an address) into `folder`.

    `known` are platforms that have a manifest already: such a name is refused without `force`. Raises
    ConfigError, and what fetching an address raises.
    """
    body = await _read(source)
    api = await asyncio.to_thread(read_api, body)
    platform = name or platform_of(api)
    if not _NAME.fullmatch(platform):
        raise ConfigError(
            f"'{platform}' cannot be the name of a platform.", hint="Use small letters, digits, - and _."
        )
    path = folder / f"{platform}.yaml"
    if not force and (platform in known or path.exists()):
        raise ConfigError(
            f"There is a manifest for '{platform}' already.",
            hint="Give the draft another name with --name, or replace it with --force.",
        )
    made = await sound_draft(api, platform, source)
    await asyncio.to_thread(_write, path, made)
    return Written(path, made)


async def sound_draft(api: Api, platform: str, source: str) -> Draft:
    """A draft that passes `connectors check` and `connectors test`: streams that do not are left out.

    Raises ConfigError when nothing is left.
    """
    without: frozenset[str] = frozenset()
    for _ in range(_ROUNDS):
        made = await asyncio.to_thread(draft, api, platform, source, without)
        if not made.streams:
            break
        bad = await _unsound(made)
        if not bad:
            return made
        without |= bad
    raise ConfigError(
        "The document describes no list of records that could be a stream.",
        hint="Streams are GET operations whose answer has a schema with a list of objects.",
    )


async def _unsound(made: Draft) -> frozenset[str]:
    """The streams of a draft that the checks or their own tests refuse."""
    from platint_tui.drivers.http.replay import run_vector
    from platint_tui.manifest.loader import load_text
    from platint_tui.manifest.vectors import load_vector_text

    try:
        connector = await asyncio.to_thread(load_text, made.text, f"{made.platform}.yaml")
    except FileError as error:
        blamed = _blamed(made.text, [problem.line for problem in error.problems])
        if not blamed:
            raise
        return blamed
    bad = set()
    for test in connector.tests:
        try:
            vector = load_vector_text(made.vectors[test.exchange or ""], test.exchange or "")
        except ConfigError:
            bad.add(test.resource or "")
            continue
        if not (await run_vector(connector, test, vector)).ok:
            bad.add(test.resource or "")
    return frozenset(bad)


def _blamed(text: str, numbers: list[int]) -> frozenset[str]:
    """The resources that these lines of a manifest are in."""
    lines = text.splitlines()
    found = set()
    for number in numbers:
        for line in reversed(lines[:number]):
            if line and not line.startswith((" ", "#")) and line != "resources:":
                break
            match = _RESOURCE.fullmatch(line)
            if match is not None:
                found.add(match.group(1))
                break
    return frozenset(found)


async def _read(source: str) -> bytes:
    if source.startswith(("http://", "https://")):
        from platint_tui.drivers.http.fetch import fetch

        return await fetch(source, MOST_BYTES)
    return await asyncio.to_thread(_file, source)


def _file(source: str) -> bytes:
    path = Path(source).expanduser()
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ConfigError(f"The document is larger than {MOST_BYTES // 2**20} MiB.", where=source)
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"The document cannot be read: {error.strerror}.", where=source) from None


def _write(path: Path, made: Draft) -> None:
    """Put the exchanges first: a manifest that is there has its tests. Raises ConfigError."""
    vectors = path.parent / "_vectors" / made.platform
    try:
        if not path.parent.exists():
            make_private(path.parent)
        vectors.mkdir(parents=True, exist_ok=True)
        for name, text in made.vectors.items():
            _replace(vectors / name, text)
        _replace(path, made.text)
    except OSError as error:
        raise ConfigError(f"The draft cannot be written: {error.strerror}.", where=str(path)) from None


def _replace(path: Path, text: str) -> None:
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)
