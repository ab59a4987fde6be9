"""`platint-tui dead`: look at dead letters, discard, export. Issues are in `issues`, sending again in `replays`."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import asdict, replace

from platint_tui.cli import exporting
from platint_tui.cli.choosing import chosen
from platint_tui.cli.output import document, line, moment, note, plural, table
from platint_tui.cli.session import confirm, opened
from platint_tui.core.blame import what_next, whose_fault
from platint_tui.core.errors import ConfigError, ExitCode, UsageError
from platint_tui.core.exports import exact
from platint_tui.core.jsontext import dumps
from platint_tui.core.model import NATIVE, Attempt, DeadLetter, JsonObject
from platint_tui.core.states import DeadLetterState
from platint_tui.services import deadletters, export
from platint_tui.services.engine import local_engine, refuse_read_only


async def list_letters(options: Namespace) -> int:
    """Dead letters, newest first."""
    async with opened(options) as workspace:
        where = await chosen(options, workspace)
        numbers = await deadletters.numbers(workspace, where)
        found = await deadletters.rows(workspace, numbers[: options.limit])
        unknown = replace(where, states=(DeadLetterState.UNKNOWN,))
        asking = await deadletters.count(workspace, unknown) if where.states == (DeadLetterState.OPEN,) else 0
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
    if asking:
        note(
            f"Of {asking:,} more nobody knows whether they arrived, and they ask you:"
            " platint-tui dead list --state unknown"
        )
    return ExitCode.DONE


async def export_letters(options: Namespace) -> int:
    """Dead letters as text; a file must be new and is readable by its owner only."""
    async with opened(options) as workspace:
        where = await chosen(options, workspace)
        if options.dry_run:
            note(f"{plural(await deadletters.count(workspace, where), 'dead letter')} would be exported.")
            return ExitCode.DONE
        told = export.Exported()
        texts = export.letters(workspace, where, export.Form(options.format), told)
        return await exporting.write(texts, told, options.output, "dead letter")


async def show(options: Namespace) -> int:
    """One dead letter: cause, attempts, requests and answers, payload."""
    async with opened(options) as workspace:
        view = await deadletters.show(workspace, options.id)
    letter = view.letter
    if options.json:
        document(
            {
                **deadletters.summary(letter),
                **exact(letter.payload),
                "request": letter.request,
                "response": letter.response,
                "attempts": [asdict(attempt) for attempt in view.attempts],
                "event_headers": [list(pair) for pair in view.event.headers] if view.event else None,
            }
        )
        return ExitCode.DONE
    _print_cause(letter)
    _print_exchange(letter.request, letter.response)
    for attempt in view.attempts:
        _print_attempt(attempt)
    if view.event is not None:
        line(f"  event   {view.event.number} ({view.event.type}), received {moment(view.event.received_ms)}")
        for name, value in view.event.headers:
            line(f"    {name}: {value}")
    line(
        "\n".join(hex_lines(letter.payload))
        if options.hex or not _is_text(letter.payload)
        else letter.payload.decode()
    )
    return ExitCode.DONE


def _print_cause(letter: DeadLetter) -> None:
    native = letter.direction == NATIVE
    line(f"dead letter {letter.number} ({letter.id})  {letter.state.value}")
    if native:
        back = (letter.origin or {}).get("origin") or "?"
        line(f"  where   {letter.stream} of {letter.profile} ({letter.platform}), goes back to {back}")
    else:
        line(f"  where   {letter.place} -> {letter.profile} ({letter.platform})")
    line(
        f"  record  {letter.record_key}, {letter.size:,} bytes, "
        f"seen {letter.occurrences}x, last {moment(letter.last_seen_ms)}"
    )
    line(f"  cause   {letter.error_class.value}/{letter.code} {letter.field}: {letter.message}")
    line(f"  fault   {whose_fault(letter.error_class, letter.code, native=native)}, bin {letter.bin}")
    following = what_next(letter.error_class, letter.code, letter.hint, native=native, state=letter.state)
    line(f"  next    {following}")
    version = (
        ""
        if letter.integration_version is None
        else f"version {letter.integration_version} of its integration, "
    )
    line(f"  config  {version}manifest {letter.manifest_version or '?'}, {letter.run or 'no run'}")
    if letter.parent:
        line(f"  edit of {letter.parent}")


def _print_attempt(attempt: Attempt) -> None:
    who = f" by {attempt.operator}" if attempt.operator else ""
    where = f" to {attempt.target}" if attempt.target else ""
    said = " ".join(part for part in (attempt.code, attempt.message) if part)
    line(
        f"  attempt {attempt.number} {moment(attempt.started_ms)} {attempt.trigger.value}{who}{where}: "
        f"{attempt.outcome} {said}".rstrip()
    )
    _print_exchange(attempt.request, attempt.response)


def _print_exchange(request: JsonObject | None, response: JsonObject | None) -> None:
    """What was sent and what was answered, as they are kept: secrets masked, long bodies cut."""
    if request:
        line(f"    sent    {request.get('method', '')} {request.get('url', '')}".rstrip())
        _print_rest(request)
    if response:
        line(f"    answer  {response.get('status', '')}".rstrip())
        _print_rest(response)


def _print_rest(part: JsonObject) -> None:
    for name, value in (part.get("headers") or {}).items():
        line(f"      {name}: {value}")
    others = {
        name: value for name, value in part.items() if name not in ("method", "url", "status", "headers")
    }
    body, cut = others.pop("body", None), others.pop("cut", None)
    if others:
        line(f"      {dumps(others)}")
    if body:
        line(f"      {body if isinstance(body, str) else dumps(body)}")
    if cut:
        line(f"      … of {cut['size']:,} bytes")


def _is_text(payload: bytes) -> bool:
    try:
        payload.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return b"\x00" not in payload


def hex_lines(payload: bytes) -> list[str]:
    """Bytes as people look at them: where, 16 in hex, and those that are printable ASCII."""
    return [
        f"{at:08x}  {payload[at : at + 16].hex(' '):<47}  "
        + "".join(chr(byte) if 32 <= byte < 127 else "." for byte in payload[at : at + 16])
        for at in range(0, len(payload), 16)
    ]


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
        if bool(options.ids) == bool(options.filter):
            raise UsageError("Which dead letters?", hint="Give their numbers, or --filter, not both.")
        if options.filter:
            ids = await deadletters.ids(workspace, await chosen(options, workspace))
        else:
            ids = [(await deadletters.show(workspace, item)).letter.id for item in options.ids]
        if not ids:
            raise ConfigError("No open dead letter matches.", hint="`dead list --filter …` shows what does.")
        native = await deadletters.native_ids(workspace, ids)
        if options.dry_run:
            if options.json:
                document({"discarded": 0, "would": len(ids), "removed_at_their_platform": len(native)})
            note(
                f"{plural(len(ids), 'dead letter')} would be discarded, {len(native):,} of them at their platform."
            )
            return ExitCode.DONE
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
