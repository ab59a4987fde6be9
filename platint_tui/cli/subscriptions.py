"""`platint-tui events subscribe …`: webhooks at platforms, and the address that they call."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict

from platint_tui.cli.output import document, line, moment, note, plural, table
from platint_tui.cli.session import confirm, opened, pairs
from platint_tui.core.errors import ExitCode
from platint_tui.core.subscriptions import Subscription
from platint_tui.services import subscriptions
from platint_tui.services.engine import local_engine
from platint_tui.services.workspace import Workspace


async def subscribe(options: Namespace) -> int:
    """Register webhooks of a profile at its platform."""
    scope = pairs(options.scope, "NAME=VALUE")
    async with opened(options) as workspace, local_engine(workspace):
        made = await subscriptions.subscribe(
            workspace,
            options.profile,
            types=options.type,
            scope=scope,
            url=options.url,
            adopt=options.adopt,
            replace=options.replace,
        )
    if options.json:
        document(asdict(made))
        return ExitCode.DONE
    if made.by_hand:
        note("This platform registers webhooks by hand:")
        for number, sentence in enumerate(made.by_hand, 1):
            line(f"{number}. {sentence}")
        line(f"Address: {made.url}")
        return ExitCode.DONE
    _table(made.subscriptions)
    for sentence in made.notes:
        note(sentence)
    return ExitCode.DONE


async def list_all(options: Namespace) -> int:
    """Webhooks that are registered, as they are known here or, with --check, as the platforms have them."""
    async with opened(options) as workspace:
        if not options.check:
            found = await subscriptions.list_subscriptions(workspace, options.profile)
            if options.json:
                document([asdict(item) for item in found])
            else:
                _table(found)
            return ExitCode.DONE
        async with local_engine(workspace):
            seen = await subscriptions.compare(workspace, options.profile)
    if options.json:
        document(asdict(seen))
    else:
        _table(seen.subscriptions)
        for item in seen.strangers:
            events = ", ".join(item["types"]) or "events"
            note(
                f"{item['profile']}: the platform has {item['id']} too, which sends {events} here and is none of ours."
            )
        for profile, sentence in seen.errors.items():
            note(f"{profile}: {sentence}")
    return ExitCode.FAILED if seen.errors else ExitCode.DONE


async def unsubscribe(options: Namespace) -> int:
    """Remove webhooks at their platform."""
    question = f"{plural(len(options.ids), 'webhook')} will be removed at the platform."
    return await _each(options, subscriptions.unsubscribe, "removed", question)


async def pause_subscription(options: Namespace) -> int:
    """Have the platform send nothing."""
    question = "What happens meanwhile is not sent, and is noted as a gap."
    return await _each(options, subscriptions.pause, "paused", question)


async def resume_subscription(options: Namespace) -> int:
    """Have the platform send again."""
    return await _each(options, subscriptions.resume, "resumed", "")


async def renew(options: Namespace) -> int:
    """Have webhooks that expire live longer."""
    errors: dict[str, str] = {}
    async with opened(options) as workspace, local_engine(workspace):
        done: list[Subscription] = []
        for name in options.ids or [""]:
            some, failed = await subscriptions.renew(workspace, name)
            done += some
            errors |= failed
    if options.json:
        document({"subscriptions": [asdict(item) for item in done], "errors": errors})
    else:
        _table(done)
        for name, sentence in errors.items():
            note(f"{name}: {sentence}")
        if not done and not errors:
            note("No webhook expires.")
    return ExitCode.FAILED if errors else ExitCode.DONE


async def check(options: Namespace) -> int:
    """Whether the public address leads to this receiver."""
    async with opened(options) as workspace, local_engine(workspace):
        found = await subscriptions.check_address(workspace, options.profile)
    if options.json:
        document(asdict(found))
    else:
        table(("PROFILE", "ADDRESS"), sorted(found.profiles.items()))
        note("The public address leads here." if found.ok else f"{found.message} {found.hint}".strip())
    return ExitCode.DONE if found.ok else ExitCode.FAILED


async def _each(
    options: Namespace,
    change: Callable[[Workspace, str], Awaitable[Subscription]],
    what: str,
    question: str,
) -> int:
    async with opened(options) as workspace:
        if question:
            confirm(question, yes=options.yes)
        async with local_engine(workspace):
            done = [await change(workspace, name) for name in options.ids]
    if options.json:
        document([asdict(item) for item in done])
    for item in done:
        note(f"{item.id} of {item.profile} is {what}.")
    return ExitCode.DONE


def _table(found: Sequence[Subscription]) -> None:
    table(
        ("ID", "PROFILE", "STATE", "FOR", "EVENTS", "EXPIRES", "CHECKED", "WRONG"),
        [
            (
                item.id,
                item.profile,
                item.state.value,
                " ".join(f"{name}={value}" for name, value in item.scope.items()),
                _events(item.types),
                moment(item.expires_ms) if item.expires_ms else "",
                moment(item.checked_ms) if item.checked_ms else "",
                item.error,
            )
            for item in found
        ],
    )


def _events(types: Sequence[str]) -> str:
    shown = ", ".join(types[:3])
    return f"{shown} and {len(types) - 3} more" if len(types) > 3 else shown
