"""The arguments of the verbs of `events` that register webhooks, and that find and fill what did not arrive."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

Command = Callable[..., argparse.ArgumentParser]


def webhook_verbs(group: Any, command: Command) -> None:
    """Add the verbs; `command` makes one."""
    make = command(
        group, "subscribe", "subscriptions:subscribe", "register webhooks of a profile at its platform"
    )
    make.add_argument("profile", metavar="PROFILE")
    make.add_argument(
        "--type",
        action="append",
        default=[],
        metavar="T",
        help="an event, as the platform calls it; repeatable",
    )
    make.add_argument(
        "--scope",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="what it is for, as repo=owner/name",
    )
    make.add_argument("--url", default="", help="the address that is called, instead of the public one")
    make.add_argument(
        "--adopt", action="store_true", help="take over a webhook that is there for this address"
    )
    make.add_argument(
        "--replace", action="store_true", help="replace the only address that the platform calls"
    )
    listed = command(
        group, "subscriptions", "subscriptions:list_all", "webhooks that are registered at platforms"
    )
    listed.add_argument("profile", nargs="?", default="", metavar="PROFILE")
    listed.add_argument("--check", action="store_true", help="ask the platforms what they have")
    for verb, help in (
        ("unsubscribe", "remove webhooks at their platform"),
        ("pause-subscription", "have the platform send nothing, which is noted as a gap"),
        ("resume-subscription", "have the platform send again"),
    ):
        changed = command(group, verb, f"subscriptions:{verb.replace('-', '_')}", help)
        changed.add_argument("ids", nargs="+", metavar="ID")
        if verb != "resume-subscription":
            changed.add_argument("--yes", action="store_true", help="do not ask")
    renew = command(
        group, "renew", "subscriptions:renew", "have webhooks that expire live longer; all, without an ID"
    )
    renew.add_argument("ids", nargs="*", metavar="ID")
    check = command(
        group, "check", "subscriptions:check", "whether the public address leads to this receiver"
    )
    check.add_argument("profile", nargs="?", default="", metavar="PROFILE")

    missed = command(group, "missed", "gaps:missed", "compare what a platform sent with what is here")
    missed.add_argument("profile", metavar="PROFILE")
    missed.add_argument("--since", default="24h", metavar="DURATION", help="of the last 1h, 24h, 3d (24h)")
    gaps = command(group, "gaps", "gaps:list_gaps", "what did not arrive or was not read, newest first")
    gaps.add_argument("--profile", default="")
    gaps.add_argument("--integration", default="")
    gaps.add_argument("--all", action="store_true", help="those that are filled or accepted too")
    show = command(group, "gap", "gaps:show", "one gap with what is missing in it")
    show.add_argument("number", type=int, metavar="NUMBER")
    fill = command(
        group, "backfill", "gaps:backfill", "fetch what is missing in a gap, or have it sent again"
    )
    fill.add_argument("number", type=int, metavar="GAP")
    accept = command(group, "accept-gap", "gaps:accept", "leave a gap as it is")
    accept.add_argument("number", type=int, metavar="GAP")
    accept.add_argument("--note", default="", help="why")
    accept.add_argument("--yes", action="store_true", help="do not ask")
