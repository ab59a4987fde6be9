"""`platint-tui connectors`: the manifests that describe platforms."""

from __future__ import annotations

import os
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from platint_tui.cli.output import document, line, note, plural, table
from platint_tui.core.errors import ConfigError, ExitCode, UsageError
from platint_tui.core.paths import find_paths
from platint_tui.manifest.registry import Registry, default_dirs

if TYPE_CHECKING:
    from platint_tui.manifest.schema import Connector


def _registry(options: Namespace) -> Registry:
    extra = getattr(options, "connectors", None)
    return Registry(default_dirs(extra, find_paths(os.environ).connectors, os.environ))


async def list_connectors(options: Namespace) -> int:
    """Every platform with its category and file; a broken manifest with its error."""
    registry = _registry(options)
    rows: list[dict[str, Any]] = []
    for platform in registry.list():
        row: dict[str, Any] = {"platform": platform, "file": str(registry.path(platform))}
        try:
            found = registry.get(platform)
        except ConfigError as error:
            row["error"] = error.sentence()
        else:
            row |= {
                "name": found.name,
                "version": found.version,
                "category": found.category,
                "driver": found.driver,
                "streams": len(found.resources),
            }
        rows.append(row)
    if options.json:
        document(rows)
        return ExitCode.DONE
    table(
        ("PLATFORM", "NAME", "CATEGORY", "DRIVER", "STREAMS", "VERSION"),
        [
            (
                row["platform"],
                row.get("name", f"! broken: platint-tui connectors check {row['platform']}"),
                row.get("category"),
                row.get("driver"),
                row.get("streams"),
                row.get("version"),
            )
            for row in rows
        ],
    )
    return ExitCode.DONE


async def show(options: Namespace) -> int:
    """One manifest: what a profile needs, how it signs in, what can be read and written, what webhooks bring."""
    from platint_tui.manifest.signin import choices, fields_used, needed_fields

    registry = _registry(options)
    found = registry.get(options.platform)
    if options.json:
        document(found.model_dump(mode="json", by_alias=True, exclude_unset=True))
        return ExitCode.DONE
    line(f"{found.name} ({found.platform} {found.version}, {found.category}, driver {found.driver})")
    line(f"  {found.docs}")
    line(f"  manifest: {registry.path(found.platform)}")
    required = {field.id for field in found.profile.fields if field.required}
    for way in choices(found.auth):
        needed = needed_fields(way) | (required & {*fields_used(way).values()})
        optional = sorted({*fields_used(way).values()} - needed)
        needs = ", ".join(sorted(needed)) + (f"; optional {', '.join(optional)}" if optional else "")
        line(f"  sign-in: {way.label or way.type.replace('_', ' ')}{f' ({needs})' if needs else ''}")
    line("Profile")
    for field in found.profile.fields:
        marks = ", ".join(
            mark for mark in ("secret" if field.secret else "", "required" if field.required else "") if mark
        )
        line(f"  {field.id:<16} {marks:<17} {field.help}")
    line("Streams")
    for name, item in found.resources.items():
        writes = [
            word
            for word in ("create", "upsert", "update", "delete")
            if item.write and getattr(item.write, word)
        ]
        can = ", ".join([*(["read"] if item.read else []), *writes])
        line(f"  {name:<24} {can:<30} key {', '.join(item.key or ()) or '-'}")
    _show_webhooks(found)
    return ExitCode.DONE


def _show_webhooks(found: Connector) -> None:
    """How webhooks of a platform are known to be its own, and the streams that they bring records of."""
    from platint_tui.manifest.feeds import events_stream
    from platint_tui.manifest.verifying import alternatives_of

    if found.webhooks is None:
        return
    line("Webhooks")
    for scheme in found.webhooks.verify:
        place = getattr(scheme, "header", None) or getattr(scheme, "query", None) or ""
        fields = ", ".join(alternatives_of(scheme)) or "nothing: whoever knows the address can send"
        line(f"  {scheme.scheme:<18} {place:<40} by {fields}")
    for handshake in found.webhooks.handshakes:
        line(f"  handshake {handshake.name}{'' if handshake.verified else ' (answered without a signature)'}")
    whole = {entry.resource for entry in found.webhooks.map if not entry.partial and entry.op == "upsert"}
    others = {entry.resource for entry in found.webhooks.map} - whole
    fetched = {name for name in others if found.resources[name].one is not None}
    line(f"  streams: {', '.join([*sorted(whole), events_stream(found)])}")
    if fetched:
        line(f"  fetched whole when an event names one: {', '.join(sorted(fetched))}")
    if parts := sorted(others - fetched):
        line(f"  some fields only, which are not written: {', '.join(parts)}")


def _manifest_of(registry: Registry, what: str) -> Path:
    return Path(what) if what.endswith((".yaml", ".yml")) else registry.path(what)


async def check(options: Namespace) -> int:
    """Check manifests and their recorded exchanges; prints every problem with file, line and column."""
    from platint_tui.manifest.loader import load_connector
    from platint_tui.manifest.vectors import check_vectors

    registry = _registry(options)
    found: list[dict[str, Any]] = []
    for what in options.what or registry.list():
        path = _manifest_of(registry, what)
        try:
            connector = load_connector(path)
            problems = check_vectors(connector, path.parent / "_vectors" / connector.platform)
        except ConfigError as error:
            problems = error.sentence().splitlines()
        found.append({"file": str(path), "problems": problems})
    bad = sum(bool(item["problems"]) for item in found)
    if options.json:
        document(found)
    else:
        for item in found:
            for problem in item["problems"] or [f"{item['file']}: ok"]:
                line(problem)
    note(f"{plural(len(found), 'manifest')}, {bad} with problems.")
    return ExitCode.CONFIG if bad else ExitCode.DONE


async def explain(options: Namespace) -> int:
    """The final value of every key of a stream and where it came from."""
    from platint_tui.manifest.explain import explain as explained

    platform, dot, stream = options.what.partition(".")
    if not dot:
        raise UsageError(
            f"'{platform}' names no stream.", hint="Write PLATFORM.STREAM, such as stripe.charges."
        )
    rows = explained(_registry(options).path(platform), platform, stream)
    if options.json:
        document([{"key": row[0], "value": row[1], "origin": row[2]} for row in rows])
    else:
        table(("KEY", "VALUE", "FROM"), [tuple(row) for row in rows])
    return ExitCode.DONE


async def test(options: Namespace) -> int:
    """Run the recorded exchanges of manifests through the driver, without network or credential."""
    from platint_tui.services.vectors import run_tests

    registry = _registry(options)
    outcomes = [item for what in options.what or registry.list() for item in await run_tests(registry, what)]
    failed = [item for item in outcomes if item.failures]
    if options.json:
        document(
            [
                {"platform": item.platform, "test": item.test, "failures": list(item.failures)}
                for item in outcomes
            ]
        )
    else:
        for item in outcomes:
            line(f"{'x failed' if item.failures else 'ok'}  {item.platform}: {item.test}")
            for failure in item.failures:
                line(f"    {failure}")
    note(f"{plural(len(outcomes), 'test')}, {len(failed)} failed.")
    return ExitCode.FAILED if failed else ExitCode.DONE


async def draft(options: Namespace) -> int:
    """Write a first manifest from an OpenAPI document, into the folder of the user's own manifests."""
    from platint_tui.services.draft import write_draft

    registry = _registry(options)
    folder = options.output or find_paths(os.environ).connectors
    made = await write_draft(
        options.openapi, folder, name=options.name, known=registry.list(), force=options.force
    )
    found = made.draft
    if options.json:
        document(
            {
                "platform": found.platform,
                "file": str(made.path),
                "streams": list(found.streams),
                "writes": found.writes,
                "decisions": found.decisions,
                "omitted": list(found.omitted),
            }
        )
        return ExitCode.DONE
    line(str(made.path))
    for text in found.omitted:
        note(f"left out: {text}")
    note(
        f"{plural(len(found.streams), 'stream')}, {plural(found.writes, 'write')}, "
        f"{plural(found.decisions, 'decision')} for you, marked with '# decide:' in the file."
    )
    note(f"It passes connectors check and test. Next: platint-tui profiles add {found.platform}")
    return ExitCode.DONE
