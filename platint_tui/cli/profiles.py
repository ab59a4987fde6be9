"""`platint-tui profiles`: configured accounts."""

from __future__ import annotations

import asyncio
import sys
from argparse import Namespace
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from platint_tui.cli.asking import ask, ask_secret
from platint_tui.cli.output import document, line, moment, note, table
from platint_tui.cli.session import confirm, opened, pairs
from platint_tui.core.errors import ConfigError, ErrorClass, ExitCode, UsageError
from platint_tui.core.model import ProfileCheck
from platint_tui.core.secret import Secret
from platint_tui.manifest.form import FormView, Way
from platint_tui.services import profiles
from platint_tui.services.engine import local_engine
from platint_tui.services.profiles import ProfileView

if TYPE_CHECKING:
    from platint_tui.services.login import SignedIn, SignIn


async def list_profiles(options: Namespace) -> int:
    """All profiles with their last check."""
    async with opened(options) as workspace:
        views = await profiles.list_profiles(workspace)
    if options.json:
        document([_view(view) for view in views])
        return ExitCode.DONE
    table(
        ("PROFILE", "PLATFORM", "ENVIRONMENT", "SECRETS", "LAST TEST"),
        [
            (
                view.profile.name,
                view.platform_name,
                view.profile.environment.value,
                ", ".join(sorted(set(view.secret_places.values()))) or "-",
                _word(view),
            )
            for view in views
        ],
    )
    if not views:
        note(
            "No profile yet: `platint-tui profiles add PLATFORM`, or `platint-tui demo` to look around first."
        )
    return ExitCode.DONE


def _word(view: ProfileView) -> str:
    check = view.check
    if view.asks and not view.signed_in:
        return "not signed in"
    if check is None:
        return "not tested"
    return f"{'ok' if check.ok else 'failed'} {moment(check.checked_ms)}"


def _view(view: ProfileView) -> dict[str, Any]:
    profile = view.profile
    return {
        "name": profile.name,
        "platform": profile.platform,
        "environment": profile.environment.value,
        "fields": dict(profile.fields),
        "secrets": dict(view.secret_places),
        "origins": list(profile.origins),
        "check": _check(view.check) if view.check else None,
        **({"signed_in": view.signed_in} if view.asks else {}),
    }


def _check(check: ProfileCheck) -> dict[str, Any]:
    return {
        "ok": check.ok,
        "checked_ms": check.checked_ms,
        "capabilities": [
            {
                "id": item.id,
                "ok": item.ok,
                "optional": item.optional,
                "tried": item.tried,
                "detail": item.detail,
                "latency_ms": item.latency_ms,
            }
            for item in check.capabilities
        ],
    }


async def show(options: Namespace) -> int:
    """One profile: plain fields, where each secret lives, the last test."""
    async with opened(options) as workspace:
        await profiles.get(workspace, options.name)
        view = next(
            item for item in await profiles.list_profiles(workspace) if item.profile.name == options.name
        )
    if options.json:
        document(_view(view))
        return ExitCode.DONE
    profile = view.profile
    line(f"{profile.name}  {view.platform_name}, {profile.environment.value}")
    for name, value in profile.fields.items():
        line(f"  {name:<18} {value}")
    for name, place in view.secret_places.items():
        line(f"  {name:<18} ••• in {place}")
    for origin in profile.origins:
        line(f"  {'credentials go to':<18} {origin}")
    if view.check:
        _print_check(view.check, view.labels)
    return ExitCode.DONE


def _print_check(check: ProfileCheck, labels: Mapping[str, str]) -> None:
    names = [labels.get(item.id, item.id) for item in check.capabilities]
    wide = max((len(name) for name in names), default=0)
    for item, name in zip(check.capabilities, names, strict=True):
        word = "x failed" if not item.optional else "! without"
        word = "ok" if item.ok else word if item.tried else "- untried"
        took = f"{item.latency_ms:,.0f} ms" if item.latency_ms is not None else ""
        line(f"  {word:<10} {name:<{wide}} {took:>9}  {item.detail}")


async def add(options: Namespace) -> int:
    """Add a profile from arguments, asking for what is missing when somebody is there."""
    async with opened(options) as workspace:
        form = profiles.form(workspace, options.platform)
        name = options.name or options.platform
        values = pairs(options.field, "ID=VALUE")
        way = _way(form, options.auth)
        if way is not None:
            form = form.by(way)
            values |= way.fixed
        references = pairs(options.secret_from, "ID=env:NAME or ID=file:/PATH")
        secret_fields = {field.id for field in form.fields if field.secret}
        for given in values:
            if given in secret_fields:
                raise UsageError(
                    f"'{given}' is a secret: it is never given as an argument, where other users can see it.",
                    hint="Leave it out; it is asked for, or read from stdin.",
                )
        for field in form.fields:
            if (
                not field.secret
                and field.id not in values
                and field.required
                and not field.default
                and sys.stdin.isatty()
            ):
                values[field.id] = ask(f"{field.label}: ", field.help)
        environment = options.environment or form.environments[0]
        filled = {field.id for field in form.fields if field.secret or values.get(field.id)}
        lacking = form.lacking(filled) if way is not None else None
        if lacking is not None:
            raise ConfigError(f"{lacking.label} is missing.", hint=lacking.help, where=lacking.id)
        # Before somebody types secrets for a form that is refused.
        await profiles.check_plain(
            workspace,
            name=name,
            platform=options.platform,
            environment=environment,
            values=values,
            replace_existing=options.replace,
        )
        secrets: dict[str, Secret | str] = dict(references)
        # Nobody who adds an account to read it has to press enter for these; on stdin they may follow.
        later = (
            [field for field in form.fields if field.secret and field.incoming] if sys.stdin.isatty() else []
        )
        for field in form.fields:
            if field.secret and field.id not in secrets and field not in later:
                found = ask_secret(workspace, name, field, required=field.required)
                if found is not None:
                    secrets[field.id] = found
                elif field.required:
                    raise ConfigError(
                        f"{field.label} is missing.",
                        where=field.id,
                        hint=f"Give it on stdin, a line each (a PEM whole), or say --secret-from {field.id}=env:NAME.",
                    )
        profile = await profiles.add(
            workspace,
            name=name,
            platform=options.platform,
            environment=environment,
            values=values,
            secrets=secrets,
            place=options.place,
            replace_existing=options.replace,
            tell=note,
        )
        places = {field: reference.partition(":")[0] for field, reference in profile.secrets.items()}
        asks = profiles.asks_person_of(workspace, profile)
    if options.json:
        document({"name": profile.name, "platform": profile.platform, "secrets": places})
    verb, command = ("Sign in", "login") if asks else ("Test it", "test")
    note(
        f"Profile '{profile.name}' ({profile.environment.value}) is saved. "
        f"{verb}: platint-tui profiles {command} {profile.name}"
    )
    if any(field.id not in secrets for field in later):
        note(
            f"For its webhooks: platint-tui events subscribe {profile.name}, or with a secret that you have, "
            f"platint-tui profiles edit {profile.name} --secret {later[0].id}"
        )
    return ExitCode.DONE


def _way(form: FormView, wanted: str | None) -> Way | None:
    """The way to sign in that `--auth` names (its label, or the number of it); asked for when there are several
    and somebody is there, otherwise the first. None where there is only one.
    """
    if not form.ways:
        if wanted is not None:
            raise UsageError(f"There is one way to sign in to {form.name}; leave --auth out.")
        return None
    labels = [way.label for way in form.ways]
    if wanted is None:
        if not sys.stdin.isatty():
            return form.ways[0]
        for number, label in enumerate(labels, 1):
            note(f"  {number}  {label}")
        wanted = ask(f"Sign in by [1-{len(labels)}]: ", "") or "1"
    for number, way in enumerate(form.ways, 1):
        if wanted.strip().lower() in (str(number), way.label.lower()):
            return way
    raise UsageError(f"'{wanted[:80]}' is no way to sign in.", hint=f"One of: {'; '.join(labels)}.")


async def test(options: Namespace) -> int:
    """Test a profile; the exit code says why a needed capability is missing."""
    async with opened(options) as workspace, local_engine(workspace):
        check = await profiles.test(workspace, options.name)
        profile = await profiles.get(workspace, options.name)
        labels = profiles.probe_labels(workspace, profile.platform)
    if options.json:
        document(_check(check))
    else:
        _print_check(check, labels)
    if check.ok:
        return ExitCode.DONE
    failed = next(item for item in check.capabilities if not item.ok and not item.optional)
    note(f"Profile '{options.name}' cannot be used: {failed.detail}")
    return _CODES.get(failed.error_class, ExitCode.FAILED)


async def login(options: Namespace) -> int:
    """Sign in as a person: opens the browser, or shows a code; the tokens go to the vault."""
    from platint_tui.services import login as service

    async with opened(options) as workspace, service.start(workspace, options.name) as sign_in:
        if sign_in.code:
            note(f"Open {sign_in.url}\nand enter the code  {sign_in.code}")
        elif options.no_browser or not service.open_browser(sign_in.url, workspace.environ):
            note(f"Open this page in a browser:\n\n{sign_in.url}\n")
            note("On another machine: paste here the address at which the browser ends.")
        else:
            note("The browser shows the sign-in page. Waiting for its answer; ^C gives up.")
        done = await _answer(sign_in)
    if options.json:
        document(
            {
                "profile": done.profile,
                "expires_ms": done.expires_ms,
                "renewable": done.renewable,
                "missing_scopes": list(done.missing),
            }
        )
    end = (
        f"until {moment(done.expires_ms)}" if done.expires_ms is not None else "without an end that is known"
    )
    renewed = ", and is renewed by itself" if done.renewable else "; then somebody has to sign in again"
    note(f"Signed in to '{done.profile}'. The token is good {end}{renewed}.")
    for sentence in (*done.missing, *done.restarted):
        note(sentence)
    note(f"Test it: platint-tui profiles test {done.profile}")
    return ExitCode.DONE


async def _answer(sign_in: SignIn) -> SignedIn:
    """The answer of the browser or platform, or an address that is pasted, whichever comes first."""
    waiting = asyncio.create_task(sign_in.wait())
    if sign_in.code or not sys.stdin.isatty():
        return await waiting
    pasted: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def read() -> None:
        line = sys.stdin.readline()
        if line.strip() and not pasted.done():
            pasted.set_result(line.strip())

    asyncio.get_running_loop().add_reader(sys.stdin, read)
    try:
        first: set[asyncio.Future[Any]] = {waiting, pasted}
        await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
        if not waiting.done():
            return await sign_in.finish(pasted.result())
        return await waiting
    finally:
        asyncio.get_running_loop().remove_reader(sys.stdin)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)


_CODES: Mapping[str, int] = {
    ErrorClass.AUTH: ExitCode.CREDENTIALS,
    ErrorClass.CONFIG: ExitCode.CONFIG,
    ErrorClass.RATE_LIMITED: ExitCode.RATE_LIMITED,
}


async def edit(options: Namespace) -> int:
    """Change plain fields, or replace secrets; a secret is asked for, or read from stdin, a line each."""
    async with opened(options) as workspace:
        profile = await profiles.get(workspace, options.name)
        values = pairs(options.field, "ID=VALUE")
        if values:
            profile = await profiles.edit_fields(workspace, options.name, values, note)
        form = {field.id: field for field in profiles.form(workspace, profile.platform).fields}
        for field, reference in pairs(options.secret_from, "ID=env:NAME or ID=file:/PATH").items():
            await profiles.set_secret(workspace, options.name, field, reference)
        for name in options.secret:
            if name not in form or not form[name].secret:
                raise UsageError(f"'{name}' is no secret field of {profile.platform}.")
            found = ask_secret(workspace, options.name, form[name], required=True)
            if found is None:
                raise UsageError(f"No value was given for '{name}'; nothing was changed.")
            await profiles.set_secret(workspace, options.name, name, found)
    if options.json:
        document({"name": options.name})
    note(f"Profile '{options.name}' is changed. Test it: platint-tui profiles test {options.name}")
    return ExitCode.DONE


async def remove(options: Namespace) -> int:
    """Remove a profile and its secrets."""
    async with opened(options) as workspace:
        await profiles.get(workspace, options.name)
        confirm(f"Remove profile '{options.name}' and its secrets?", yes=options.yes, word=options.name)
        left = await profiles.remove(workspace, options.name)
    if options.json:
        document({"removed": options.name, "secrets_left": left})
    for sentence in left:
        note(sentence)
    note(f"Profile '{options.name}' is removed. Its runs and dead letters stay.")
    return ExitCode.DONE
