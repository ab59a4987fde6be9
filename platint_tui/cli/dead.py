"""`platint-tui dead`: look at dead letters, discard, export. Correcting and sending again is in `replays`."""

from __future__ import annotations

import json
import os
import sys
from argparse import Namespace
from dataclasses import asdict

from platint_tui.cli.output import document, line, moment, note, plural, table
from platint_tui.cli.session import confirm, opened
from platint_tui.core.errors import ConfigError, ExitCode, UsageError
from platint_tui.core.model import NATIVE
from platint_tui.core.states import DeadLetterState
from platint_tui.services import deadletters
from platint_tui.services.deadletters import DeadLetterFilter
from platint_tui.services.engine import local_engine, refuse_read_only


async def groups(options: Namespace) -> int:
    """Issues: dead letters by fingerprint."""
    async with opened(options) as workspace:
        found = await deadletters.issues(workspace)
    if options.json:
        document([asdict(issue) for issue in found])
        return ExitCode.DONE
    table(
        ("FINGERPRINT", "OPEN", "TOTAL", "STATE", "WHERE", "CODE", "FIELD", "CAUSE"),
        [
            (
                issue.fingerprint[:12],
                issue.open,
                issue.total,
                issue.state.value,
                issue.place,
                issue.code,
                issue.field,
                issue.message,
            )
            for issue in found
        ],
    )
    return ExitCode.DONE


async def _where(options: Namespace, known: list[str]) -> DeadLetterFilter:
    states: tuple[DeadLetterState, ...] = (DeadLetterState.OPEN,)
    if options.state:
        try:
            states = () if "any" in options.state else tuple(DeadLetterState(item) for item in options.state)
        except ValueError:
            words = ", ".join([*DeadLetterState, "any"])
            raise UsageError(
                f"'{options.state[-1]}' is no state of a dead letter.", hint=f"One of {words}."
            ) from None
    return DeadLetterFilter(
        fingerprint=_whole(options.fingerprint, known),
        platform=options.platform,
        integration=options.integration,
        stream=options.stream,
        states=states,
        text=options.text,
    )


def _whole(beginning: str, known: list[str]) -> str:
    """The one fingerprint that starts like this. Raises ConfigError."""
    if not beginning:
        return ""
    matches = [item for item in known if item.startswith(beginning)]
    if len(matches) != 1:
        raise ConfigError(
            f"{len(matches) or 'No'} fingerprints start with '{beginning}'.", hint="`dead groups` shows them."
        )
    return matches[0]


async def list_letters(options: Namespace) -> int:
    """Dead letters, newest first."""
    async with opened(options) as workspace:
        known = [issue.fingerprint for issue in await deadletters.issues(workspace)]
        numbers = await deadletters.numbers(workspace, await _where(options, known))
        found = await deadletters.rows(workspace, numbers[: options.limit])
    if options.json:
        document([deadletters.summary(letter) for letter in found])
        return ExitCode.DONE
    table(
        ("NUMBER", "STATE", "WHERE", "KEY", "CODE", "FIELD", "MESSAGE", "SEEN"),
        [
            (
                letter.number,
                letter.state.value,
                letter.place,
                letter.record_key,
                letter.code,
                letter.field,
                letter.message[:60],
                moment(letter.last_seen_ms),
            )
            for letter in found
        ],
    )
    note(f"{len(found):,} of {len(numbers):,}.")
    return ExitCode.DONE


async def export_letters(options: Namespace) -> int:
    """Dead letters as JSON lines; a file must be new and is readable by its owner only."""
    async with opened(options) as workspace:
        known = [issue.fingerprint for issue in await deadletters.issues(workspace)]
        where = await _where(options, known)
        if options.output is None:
            async for text in deadletters.export(workspace, where):
                # ASCII only, as every document: a payload's control characters stay escaped.
                sys.stdout.write(json.dumps(json.loads(text)) + "\n")
            return ExitCode.DONE
        try:
            handle = os.open(options.output, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise ConfigError(
                f"Cannot write {options.output}: {error.strerror}.", hint="Name a file that is not there yet."
            ) from None
        count = 0
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            async for text in deadletters.export(workspace, where):
                file.write(text + "\n")
                count += 1
    note(f"{plural(count, 'dead letter')} written to {options.output}.")
    return ExitCode.DONE


async def show(options: Namespace) -> int:
    """One dead letter: cause, attempts, payload."""
    async with opened(options) as workspace:
        view = await deadletters.show(workspace, options.id)
    letter = view.letter
    text = letter.payload.decode("utf-8", "backslashreplace")
    if options.json:
        attempts = [asdict(attempt) for attempt in view.attempts]
        document(
            {
                **deadletters.summary(letter),
                "payload": text,
                "request": letter.request,
                "response": letter.response,
                "attempts": attempts,
            }
        )
        return ExitCode.DONE
    line(f"dead letter {letter.number} ({letter.id})  {letter.state.value}")
    if letter.origin is None or letter.direction != NATIVE:
        line(f"  where   {letter.place} -> {letter.profile} ({letter.platform})")
    else:
        back = letter.origin.get("origin") or "?"
        line(f"  where   {letter.stream} of {letter.profile} ({letter.platform}), goes back to {back}")
    if letter.origin is not None and "event" in letter.origin:
        line(f"  event   {letter.origin['event']}")
    line(
        f"  record  {letter.record_key}, {letter.size:,} bytes, "
        f"seen {letter.occurrences}x, last {moment(letter.last_seen_ms)}"
    )
    line(f"  cause   {letter.error_class.value}/{letter.code} {letter.field}: {letter.message}")
    if letter.hint:
        line(f"  next    {letter.hint}")
    if letter.parent:
        line(f"  edit of {letter.parent}")
    for attempt in view.attempts:
        line(
            f"  attempt {attempt.number} {attempt.trigger.value}: {attempt.outcome} {attempt.message}".rstrip()
        )
    line(text)
    return ExitCode.DONE


async def pull(options: Namespace) -> int:
    """Bring platforms' own dead letters into the inbox; nothing is taken away there."""
    async with opened(options) as workspace:
        names = options.profiles or await deadletters.holders(workspace)
        if not names:
            raise ConfigError(
                "No profile's platform keeps dead letters of its own.",
                hint="RabbitMQ, Kafka, SQS, Service Bus and Redis do: add one with `platint-tui profiles add`.",
            )
        async with local_engine(workspace):
            found = [await deadletters.pull(workspace, name) for name in names]
    if options.json:
        document([asdict(item) for item in found])
    for item in found:
        note(f"{item.profile}: {plural(item.new, 'new dead letter')} in {plural(len(item.queues), 'queue')}.")
        for name, sentence in item.errors.items():
            note(f"  {name}: {sentence}")
    return ExitCode.FAILED if any(item.errors for item in found) else ExitCode.DONE


async def queues(options: Namespace) -> int:
    """Depth and age of the platforms' own dead-letter queues, as last seen."""
    async with opened(options) as workspace:
        found = await deadletters.dead_queues(workspace)
        now = workspace.clock.now_ms()
    if options.json:
        document([asdict(item) for item in found])
        return ExitCode.DONE
    table(
        ("PROFILE", "QUEUE", "KIND", "FROM", "DEPTH", "OLDEST", "SEEN"),
        [
            (
                item.profile,
                item.queue.name,
                item.queue.kind,
                item.queue.origin or "-",
                "?" if item.queue.depth is None else f"{item.queue.depth:,}",
                "-" if item.queue.oldest_ms is None else f"{(now - item.queue.oldest_ms) / 1000:,.0f} s",
                moment(item.seen_ms),
            )
            for item in found
        ],
    )
    if not found:
        note("None was looked at yet: `platint-tui dead pull` looks.")
    return ExitCode.DONE


async def discard(options: Namespace) -> int:
    """Mark dead letters as discarded."""
    async with opened(options) as workspace:
        refuse_read_only(workspace, "discard dead letters")
        ids = [(await deadletters.show(workspace, item)).letter.id for item in options.ids]
        native = await deadletters.native_ids(workspace, ids)
        question = f"Discard {plural(len(ids), 'dead letter')}?"
        if native:
            question += f" {len(native)} of them are removed at their platform, which is not taken back."
        confirm(question, yes=options.yes)
        count = await deadletters.discard(workspace, ids)
        if native:
            async with local_engine(workspace):
                removed, errors = await deadletters.discard_native(workspace, native)
            count += removed
            for number, sentence in errors.items():
                note(f"dead letter {number} stays: {sentence}")
        _all_or_say(count, ids, "discarded", "open and unknown")
    if options.json:
        document({"discarded": count})
    if native:
        note(f"{count} discarded, {removed} of them removed at their platform for good.")
    else:
        note(f"{count} discarded; `dead reopen` brings them back until retention.")
    return ExitCode.DONE


def _all_or_say(count: int, ids: list[str], done: str, which: str) -> None:
    """Narrate what was left as it is. Raises ConfigError when that is all of it."""
    sentence = f"only {which} ones can be {done}; `platint-tui dead list --state any` shows how they are."
    if not count:
        raise ConfigError(f"Nothing was {done}:", hint=sentence)
    if count < len(ids):
        note(f"{count} of {len(ids)} were {done}: {sentence}")


async def reopen(options: Namespace) -> int:
    """Undo a discard."""
    async with opened(options) as workspace:
        ids = [(await deadletters.show(workspace, item)).letter.id for item in options.ids]
        count = await deadletters.reopen(workspace, ids)
        _all_or_say(count, ids, "reopened", "discarded")
    if options.json:
        document({"reopened": count})
    note(f"{count} open again.")
    return ExitCode.DONE
