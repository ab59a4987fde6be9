"""The arguments of the verbs of `dead` that look at dead letters and their issues, and write them out."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from platint_tui.core.filtertext import LETTER_NAMES

Command = Callable[..., argparse.ArgumentParser]
FORMS = ("jsonl", "csv", "curl", "http")
_FILTER = (
    'as in the console: stream:charges code:invalid_email since:2h key:cus_* "free text"; names are '
    + ", ".join(LETTER_NAMES)
)


def inbox_verbs(group: Any, command: Command, count: Callable[[str], int]) -> None:
    """Add the verbs; `command` makes one, `count` reads a number from 1."""
    groups = command(group, "groups", "issues:groups", "issues: dead letters by cause (fingerprint)")
    groups.add_argument("--state", action="append", default=[], help="open, acknowledged, resolved, ignored")
    groups.add_argument("--bin", choices=("record", "systemic"), default="", help="of this bin alone")
    listed = command(group, "list", "dead:list_letters", "dead letters, newest first")
    which_letters(listed)
    listed.add_argument("--limit", type=count, default=50, metavar="N")
    export = command(
        group, "export", "dead:export_letters", "dead letters as JSON lines, a table, or requests", json=False
    )
    which_letters(export)
    add_export(export, "dead letters")
    show = command(group, "show", "dead:show", "one dead letter whole: cause, attempts, requests, payload")
    show.add_argument("id")
    show.add_argument("--hex", action="store_true", help="the payload as bytes, 16 a line")
    _issue_verbs(group, command, count)
    discard = command(group, "discard", "dead:discard", "mark as not needed; can be reopened until retention")
    discard.add_argument("ids", nargs="*", metavar="ID")
    add_filter(discard)
    discard.add_argument("--dry-run", action="store_true", help="only say how many it would be")
    discard.add_argument("--yes", action="store_true", help="do not ask")
    command(group, "reopen", "dead:reopen", "undo a discard").add_argument("ids", nargs="+", metavar="ID")


def which_letters(verb: argparse.ArgumentParser) -> None:
    """The options by which dead letters are chosen."""
    add_filter(verb)
    for name in ("fingerprint", "integration", "stream", "platform"):
        verb.add_argument(f"--{name}", default="")
    verb.add_argument(
        "--state", action="append", default=[], help="open (default), unknown, succeeded, …, any"
    )
    verb.add_argument("--text", default="", help="words in key, code, message or payload")


def add_filter(verb: argparse.ArgumentParser) -> None:
    """The option --filter."""
    verb.add_argument("--filter", default="", metavar="TEXT", help=_FILTER)


def add_export(verb: argparse.ArgumentParser, what: str) -> None:
    """The options of an export."""
    verb.add_argument(
        "--format",
        choices=FORMS,
        default="jsonl",
        help="jsonl: exact to the byte; csv: a table whose cells run nothing in a spreadsheet (what could is led "
        "by an apostrophe); curl: a shell script; http: a file for an editor. Secrets are variables in the last two",
    )
    verb.add_argument("--output", type=Path, metavar="FILE", help="a new file instead of stdout")
    verb.add_argument("--dry-run", action="store_true", help=f"only say how many {what} it would be")


def _issue_verbs(group: Any, command: Command, count: Callable[[str], int]) -> None:
    command(
        group, "issue", "issues:show", "one issue: whose fault, what next, how often, what it affects"
    ).add_argument("fingerprint")
    for verb, help in (
        ("ack", "somebody looks after it; new failures of its kind change nothing"),
        ("resolve", "it is done with; it opens again when it comes back"),
        ("ignore", "it is of no interest, for good or until something"),
        ("reopen-issue", "it is open again"),
    ):
        move = command(group, verb, "issues:move", help)
        move.set_defaults(verb=verb)
        move.add_argument("fingerprints", nargs="+", metavar="FINGERPRINT")
        move.add_argument("--note", metavar="TEXT", help="why, for whoever finds it")
        if verb == "ignore":
            move.add_argument("--for", dest="until", default="", metavar="DURATION", help="15m, 2h, 7d")
            move.add_argument("--times", type=count, metavar="N", help="until it failed N times more")
    note = command(group, "note", "issues:note_issue", "write a note to an issue")
    note.add_argument("fingerprint")
    note.add_argument("text")
