"""The arguments of the verbs of `dead` that correct dead letters and send them again."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from platint_tui.cli.inbox_parser import add_filter

Command = Callable[..., argparse.ArgumentParser]


def _amount(text: str) -> float:
    """A number from 0. Raises ArgumentTypeError."""
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < 10**6:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number from 0")
    return number


def _natural(text: str) -> int:
    """A whole number from 0. Raises ArgumentTypeError."""
    if not (text.isascii() and text.isdigit() and len(text) < 7):
        raise argparse.ArgumentTypeError(f"'{text}' is not a number from 0")
    return int(text)


def replay_verbs(group: Any, command: Command) -> None:
    """Add the verbs; `command` makes one."""
    edit = command(group, "edit", "replays:edit", "change the payload; checked first, the original is kept")
    edit.add_argument("id")
    _steps(edit)
    edit.add_argument("--remove", action="append", dest="drop", metavar="FIELD", help=argparse.SUPPRESS)
    edit.add_argument("--stdin", action="store_true", help="the whole new payload from stdin")
    edit.add_argument("--force", action="store_true", help="keep it although the target would refuse it")

    simulate = command(
        group, "simulate", "replays:simulate", "what a replay would do, without sending anything"
    )
    _which(simulate)
    _how(simulate)
    _steps(simulate)
    simulate.add_argument("--rule", default="", metavar="RULE", help="with the steps of a fix rule")
    simulate.add_argument(
        "--without-answers", action="store_true", help="do not judge by the answers that equal requests got"
    )
    simulate.add_argument("--bodies", action="store_true", help="show the first five requests")

    replay = command(group, "replay", "replays:replay", "send again: shows the plan, asks, watches")
    _which(replay)
    _how(replay)
    replay.add_argument("--canary", type=_natural, default=0, metavar="N", help="send N first, then wait")
    replay.add_argument("--auto", action="store_true", help="go on by itself when all of the canary arrived")
    replay.add_argument("--rate", type=_amount, default=0.0, metavar="N", help="at most N a second")
    replay.add_argument(
        "--ramp", type=_amount, default=0.0, metavar="SECONDS", help="until that rate is reached"
    )
    replay.add_argument("--settle", action="store_true", help="with --to: the dead letters are settled by it")
    replay.add_argument("--yes", action="store_true", help="do not ask")
    replay.add_argument("--plan", "--dry-run", action="store_true", help="only show what would be sent")

    jobs = command(group, "jobs", "replays:jobs", "replays, newest first")
    jobs.add_argument("--limit", type=_natural, default=20, metavar="N")
    job = group.add_parser("job", help="one replay: report, pause, resume, continue, cancel")
    verbs = job.add_subparsers(title="verbs", metavar="VERB", required=True)
    command(verbs, "show", "replays:show_job", "what came of it, per outcome and per cause").add_argument(
        "job"
    )
    for verb, help in (
        ("pause", "send nothing more until it is resumed"),
        ("resume", "go on after a pause"),
        ("continue", "send the rest after the canary"),
        ("cancel", "end it; what was not sent stays open"),
    ):
        steer = command(verbs, verb, "replays:steer_job", help)
        steer.set_defaults(verb=verb)
        steer.add_argument("job")
    _fix_verbs(group, command)


def _fix_verbs(group: Any, command: Command) -> None:
    fix = group.add_parser("fix", help="corrections kept for dead letters that fail alike")
    verbs = fix.add_subparsers(title="verbs", metavar="VERB", required=True)
    add = command(
        verbs, "add", "replays:add_fix", "keep a correction for a fingerprint; nothing is changed yet"
    )
    add.add_argument("fingerprint", nargs="?", default="")
    add.add_argument("--from-edit", default="", metavar="NUMBER", help="what this edit did")
    add.add_argument("--note", default="", help="why, for whoever finds it")
    _steps(add)
    listed = command(verbs, "list", "replays:list_fixes", "fix rules, newest first")
    listed.add_argument("--fingerprint", default="")
    listed.add_argument("--all", action="store_true", help="those that were revoked too")
    command(verbs, "revoke", "replays:revoke_fix", "offer and apply it no more").add_argument("rule")
    apply = command(verbs, "apply", "replays:apply_fix", "edit the open dead letters of its fingerprint")
    apply.add_argument("rule")
    apply.add_argument("ids", nargs="*", metavar="ID", help="these alone")
    apply.add_argument("--yes", action="store_true", help="do not ask")


def _which(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("ids", nargs="*", metavar="ID")
    add_filter(verb)
    verb.add_argument("--fingerprint", default="", help="all open ones of this cause")
    for name in ("integration", "stream", "platform", "run"):
        verb.add_argument(f"--{name}", default="", help=argparse.SUPPRESS if name == "run" else None)
    verb.add_argument("--text", default="", help="in key, message or code")
    verb.add_argument("--unknown", action="store_true", help="those too whose last answer was lost")
    verb.add_argument(
        "--force", action="store_true", help="those too that arrived already, with the same key"
    )


def _how(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--order",
        choices=("newest", "oldest", "arrived"),
        default="newest",
        help="of each record the newest version alone (newest), all of them oldest first (oldest), or one dead "
        "letter after the other as they arrived (arrived)",
    )
    verb.add_argument(
        "--mapping",
        choices=("today", "then"),
        default="today",
        help="by the integration as it is today, or as it was when they failed",
    )
    verb.add_argument(
        "--to", default="", metavar="PROFILE[:TARGET]", help="to another target; they stay open"
    )
    verb.set_defaults(canary=0, auto=False, rate=0.0, ramp=0.0, settle=False)


def _steps(verb: argparse.ArgumentParser) -> None:
    for name, meta, help in (
        ("set", "FIELD=JSON", "set a field (dotted path)"),
        ("rename", "FIELD=NEW", "give a field another name"),
        ("cast", "FIELD=TYPE", "make it a string, integer, number or boolean"),
        ("drop", "FIELD", "remove a field"),
        ("default", "FIELD=JSON", "set a field where it is missing or null"),
    ):
        verb.add_argument(f"--{name}", action="append", default=[], metavar=meta, help=help)
