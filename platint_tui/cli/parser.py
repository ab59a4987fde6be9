"""The arguments of every command. A handler is named as `module:function` and imported when it is called."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from platint_tui.cli.inbox_parser import add_export, inbox_verbs
from platint_tui.cli.replay_parser import replay_verbs
from platint_tui.cli.webhook_parser import webhook_verbs

EPILOG = """\
Without a command the console opens. stdout is data, stderr is narration.
exit codes: 0 done, 1 failed, 2 wrong usage, 3 done with dead letters, 4 configuration, 5 credentials refused,
6 parked by a rate limit, 7 breaking changes (discover --diff), 130 interrupted with the position saved.
PLATINT_HOME puts every file of the program under one folder.
PLATINT_SECRET__<PROFILE>__<FIELD> gives a secret where there is no keyring."""


def build_parser() -> argparse.ArgumentParser:
    """The whole command line."""
    parser = argparse.ArgumentParser(
        prog="platint-tui",
        description="A console for the person who keeps platform integrations running.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", "-V", action="store_true", help="print the version")
    parser.add_argument("--read-only", action="store_true", help="look, change nothing")
    parser.add_argument(
        "--connectors", type=Path, metavar="DIR", help="a folder of manifests looked at first"
    )
    parser.set_defaults(handler="console:open_console")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    _demo(commands)
    _connectors(commands)
    _profiles(commands)
    _discover(commands)
    _syncs(commands)
    _runs(commands)
    _events(commands)
    _dead(commands)
    _alerts(commands)
    _system(commands)
    return parser


def _command(group: Any, name: str, handler: str, help: str, *, json: bool = True) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = group.add_parser(name, help=help, description=help)
    command.set_defaults(handler=handler)
    if json:
        command.add_argument("--json", action="store_true", help="one JSON document on stdout")
    # SUPPRESS keeps a value given before the command.
    command.add_argument(
        "--connectors",
        type=Path,
        metavar="DIR",
        default=argparse.SUPPRESS,
        help="a folder of manifests looked at first",
    )
    return command


def _group(commands: Any, name: str, help: str) -> Any:
    group = commands.add_parser(name, help=help, description=help)
    return group.add_subparsers(title="verbs", metavar="VERB", required=True)


def _count(text: str) -> int:
    """A whole number from 1. Raises ArgumentTypeError."""
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 10**9):
        raise argparse.ArgumentTypeError(f"'{text}' is not a number from 1")
    return int(text)


def _demo(commands: Any) -> None:
    demo = _command(commands, "demo", "demo:demo", "the whole job on embedded demo platforms")
    demo.add_argument("--headless", action="store_true", help="without a screen: print what happened")
    demo.add_argument("--records", type=int, default=2000, metavar="N", help="payments to serve (2000)")
    demo.add_argument("--seed", type=int, default=1, metavar="N", help="which payments (1)")
    demo.add_argument("--keep", action="store_true", help="keep the data; the next --keep run is incremental")
    demo.add_argument("--calm", action="store_true", help="no latency, no errors of the demo platforms")


def _connectors(commands: Any) -> None:
    group = _group(commands, "connectors", "the manifests that describe platforms")
    _command(group, "list", "connectors:list_connectors", "every platform that has a manifest")
    _command(group, "show", "connectors:show", "one manifest in short").add_argument("platform")
    check = _command(
        group, "check", "connectors:check", "check manifests: every problem with file, line and column"
    )
    check.add_argument("what", nargs="*", metavar="FILE-OR-PLATFORM", help="all that are known, without one")
    explain = _command(
        group, "explain", "connectors:explain", "the final values of a stream and where each came from"
    )
    explain.add_argument("what", metavar="PLATFORM.STREAM")
    _command(
        group, "test", "connectors:test", "run the recorded exchanges of manifests offline"
    ).add_argument("what", nargs="*", metavar="PLATFORM", help="all that are known, without one")
    draft = _command(
        group, "draft", "connectors:draft", "write a first manifest from an OpenAPI document (version 2 or 3)"
    )
    draft.add_argument("--openapi", required=True, metavar="FILE|URL", help="the document, JSON or YAML")
    draft.add_argument("--name", help="the platform's name (made of the title, without one)")
    draft.add_argument(
        "--output", type=Path, metavar="DIR", help="a folder (your own manifests, without one)"
    )
    draft.add_argument("--force", action="store_true", help="replace a manifest of this name")


def _profiles(commands: Any) -> None:
    group = _group(commands, "profiles", "configured accounts; secrets stay in the vault")
    _command(group, "list", "profiles:list_profiles", "all profiles with their last check")
    _command(group, "show", "profiles:show", "one profile, without its secrets").add_argument("name")
    add = _command(
        group, "add", "profiles:add", "add a profile; secrets are asked for, or read from stdin, a line each"
    )
    add.add_argument("platform")
    add.add_argument("--name", help="the profile's name (the platform's, without one)")
    add.add_argument("--environment", help="production, sandbox or development")
    add.add_argument(
        "--field", action="append", default=[], metavar="ID=VALUE", help="a field that is no secret"
    )
    add.add_argument(
        "--secret-from",
        action="append",
        default=[],
        metavar="ID=env:NAME|file:/PATH",
        help="where a secret is read from at use, instead of storing it",
    )
    add.add_argument(
        "--auth", metavar="WAY", help="the way to sign in, by its label or number, where there are several"
    )
    add.add_argument("--place", choices=("keyring", "vault"), help="where to store secrets")
    add.add_argument("--replace", action="store_true", help="replace the profile of this name")
    edit = _command(group, "edit", "profiles:edit", "change fields, or replace a secret")
    edit.add_argument("name")
    edit.add_argument(
        "--field", action="append", default=[], metavar="ID=VALUE", help="a field that is no secret"
    )
    edit.add_argument("--secret", action="append", default=[], metavar="ID", help="ask for this secret anew")
    edit.add_argument("--secret-from", action="append", default=[], metavar="ID=env:NAME|file:/PATH")
    _command(group, "test", "profiles:test", "run every probe of the platform's manifest").add_argument(
        "name"
    )
    login = _command(
        group, "login", "profiles:login", "sign in with the browser, or with a code on another device"
    )
    login.add_argument("name")
    login.add_argument("--no-browser", action="store_true", help="only show the page's address")
    remove = _command(group, "remove", "profiles:remove", "remove a profile and its secrets")
    remove.add_argument("name")
    remove.add_argument("--yes", action="store_true", help="do not ask")


def _discover(commands: Any) -> None:
    discover = _command(commands, "discover", "discover:discover", "what an account offers, and what changed")
    discover.add_argument("profile")
    discover.add_argument(
        "--diff",
        action="store_true",
        help="only what changed against the last discovery; exit code 7 when a change is breaking",
    )
    preview = _command(
        commands, "preview", "discover:preview", "a few real records of a stream, and the exact requests"
    )
    preview.add_argument("profile")
    preview.add_argument("stream")
    preview.add_argument("--limit", type=_count, default=5, metavar="N", help="how many records (5)")


def _syncs(commands: Any) -> None:
    group = _group(commands, "syncs", "integrations: source to target, stream by stream")
    _command(group, "list", "syncs:list_syncs", "integrations with where each stream stands")
    _command(group, "show", "syncs:show", "one integration").add_argument(
        "integration", metavar="FILE-OR-NAME"
    )
    run = _command(group, "run", "syncs:run", "run an integration, or some of its streams, and watch it")
    run.add_argument("integration", metavar="FILE-OR-NAME")
    run.add_argument("streams", nargs="*", default=[], metavar="STREAM")
    run.add_argument("--detach", action="store_true", help="do not wait for the end")
    run.add_argument(
        "--yes", action="store_true", help="do not ask before deleting from a production profile"
    )
    _command(group, "cancel", "syncs:cancel", "stop a run at the next page border").add_argument("run")
    reset = _command(
        group, "reset", "syncs:reset", "forget a stream's position: the next run reads from the beginning"
    )
    reset.add_argument("integration")
    reset.add_argument("stream")
    reset.add_argument("--yes", action="store_true", help="do not ask")
    plan = _command(group, "plan", "syncs:plan", "tables and columns that a run would make or change")
    plan.add_argument("integration", metavar="FILE-OR-NAME")
    plan.add_argument("streams", nargs="*", default=[], metavar="STREAM")
    recover = _command(
        group, "recover", "syncs:recover", "how a stream goes on whose position its platform has lost"
    )
    recover.add_argument("integration")
    recover.add_argument("stream")
    how = recover.add_mutually_exclusive_group(required=True)
    how.add_argument("--resnapshot", action="store_true", help="read everything again")
    how.add_argument("--skip", action="store_true", help="go on from now, and record the gap")
    recover.add_argument("--yes", action="store_true", help="do not ask")
    found = _command(group, "gaps", "syncs:gaps", "spans that were not read and cannot be any more")
    found.add_argument("integration", nargs="?")
    remove = _command(group, "remove", "syncs:remove", "remove an integration; what it wrote stays")
    remove.add_argument("integration", metavar="NAME")
    remove.add_argument("--yes", action="store_true", help="do not ask")
    account = _command(group, "account", "syncs:account", "compare source and target: where is every record?")
    account.add_argument("integration", metavar="FILE-OR-NAME")


def _runs(commands: Any) -> None:
    group = _group(commands, "runs", "the history")
    runs = _command(group, "list", "runs:list_runs", "runs, newest first")
    runs.add_argument("--integration")
    runs.add_argument("--limit", type=_count, default=20, metavar="N")
    _command(group, "show", "runs:show", "one run with its streams").add_argument("run")
    _command(group, "watch", "runs:watch", "follow a run to its end").add_argument("run")


def _events(commands: Any) -> None:
    group = _group(commands, "events", "what arrived: webhooks, and where they were delivered")
    _received(group)
    webhook_verbs(group, _command)


def _received(group: Any) -> None:
    listed = _command(group, "list", "events:list_events", "events, newest first")
    _which_events(listed)
    listed.add_argument("--limit", type=_count, default=50, metavar="N")
    _command(group, "show", "events:show", "one event whole, with its deliveries").add_argument("event")
    resend = _command(
        group,
        "resend",
        "events:resend",
        "deliver events to integrations that have not had them; shows the plan, asks",
    )
    resend.add_argument("events", nargs="*", metavar="EVENT")
    _which_events(resend)
    resend.add_argument("--integration", default="", help="to this integration only")
    resend.add_argument("--again", action="store_true", help="also what was delivered already, a second time")
    resend.add_argument("--dry-run", action="store_true", help="only show what would be delivered")
    resend.add_argument("--yes", action="store_true", help="do not ask")
    for verb, help in (
        ("pause", "take the webhooks of profiles, and keep them undelivered"),
        ("resume", "deliver what was kept, and what comes"),
        ("disable", "refuse the webhooks of profiles (503), which is noted as a gap"),
        ("enable", "take the webhooks of profiles again"),
    ):
        command = _command(group, verb, f"events:{verb}", help)
        command.add_argument("profiles", nargs="+", metavar="PROFILE")
        if verb == "disable":
            command.add_argument("--yes", action="store_true", help="do not ask")
    export = _command(
        group, "export", "events:export_events", "events as JSON lines, a table or requests", json=False
    )
    export.add_argument("events", nargs="*", metavar="EVENT")
    _which_events(export)
    add_export(export, "events")
    _command(group, "sources", "events:sources", "profiles with webhooks: state, counts, what holds them up")
    found = _command(group, "deliveries", "events:deliveries", "where events went, newest first")
    found.add_argument("--event", default="", help="of this event")
    found.add_argument("--integration", default="")
    found.add_argument("--stream", default="")
    found.add_argument("--state", action="append", default=[], help="pending, sending, done, dead, …")
    found.add_argument("--limit", type=_count, default=50, metavar="N")


def _which_events(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--filter",
        default="",
        metavar="TEXT",
        help='as in the console: type:customer.* state:unwanted since:2h "free text"',
    )
    command.add_argument("--profile", default="")
    command.add_argument("--type", default="", help="the type, with * for any text")
    command.add_argument("--state", action="append", default=[], help="new, routed, unwanted, handshake")
    command.add_argument("--since", default="", metavar="DURATION", help="of the last 15m, 1h, 7d")
    command.add_argument("--text", default="", help="in id, type or the object's key")


def _dead(commands: Any) -> None:
    group = _group(commands, "dead", "dead letters: records that failed for good, kept whole")
    inbox_verbs(group, _command, _count)
    pull = _command(
        group, "pull", "dead:pull", "bring the dead letters that brokers keep themselves into the inbox"
    )
    pull.add_argument("profiles", nargs="*", metavar="PROFILE", help="all that keep some, without one")
    _command(group, "queues", "dead:queues", "the platforms' own dead-letter queues: depth and age")
    replay_verbs(group, _command)


def _alerts(commands: Any) -> None:
    group = _group(commands, "alerts", "what asks for somebody's attention")
    listed = _command(
        group, "list", "alerts:list_alerts", "alerts that nobody has acknowledged, newest first"
    )
    listed.add_argument("--all", action="store_true", help="those that were acknowledged too")
    listed.add_argument("--limit", type=_count, default=50, metavar="N")
    ack = _command(group, "ack", "alerts:acknowledge", "mark alerts as seen")
    ack.add_argument("numbers", nargs="+", type=_count, metavar="NUMBER")


def _system(commands: Any) -> None:
    metrics = _command(commands, "metrics", "metrics:metrics", "latency, error rate, throughput")
    metrics.add_argument("--since", default="1h", metavar="DURATION", help="the window: 15m, 1h, 7d (1h)")
    serve = _command(commands, "serve", "serve:serve", "the engine without a screen", json=False)
    serve.add_argument("--until-idle", action="store_true", help="end when there is nothing to do")
    serve.add_argument(
        "--listen",
        metavar="HOST:PORT",
        help="where webhooks are received (127.0.0.1:8787); 'off' for nowhere; PLATINT_LISTEN",
    )
    serve.add_argument("--public-url", metavar="URL", help="by which platforms call it (PLATINT_PUBLIC_URL)")
    serve.add_argument("--expose", action="store_true", help="listen on an address that other machines reach")
    serve.add_argument("--tls-cert", metavar="FILE", help="serve https with this certificate chain (PEM)")
    serve.add_argument("--tls-key", metavar="FILE", help="the key of --tls-cert (PEM)")
    serve.add_argument(
        "--passphrase-stdin", action="store_true", help="read the vault file's passphrase from stdin"
    )
    serve.add_argument(
        "--takeover", action="store_true", help="take over from an engine that is suspended or out of reach"
    )
    vault = _group(commands, "vault", "the encrypted file for secrets, where there is no keyring")
    _command(vault, "init", "vault:init", "create the encrypted file; asks for a passphrase", json=False)
    _command(vault, "status", "vault:status", "where secrets can be kept here")
    _command(commands, "doctor", "doctor:doctor", "where everything is, what works, what to install")
