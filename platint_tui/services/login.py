"""Signing in as a person: the browser or a code on another device, once for each profile that needs it."""

from __future__ import annotations

import os
import webbrowser
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from platint_tui.core.errors import ConfigError, CredentialError
from platint_tui.core.model import Json, Profile
from platint_tui.drivers.base import DriverContext
from platint_tui.drivers.http.auth.login import Device, Login, Started, open_login
from platint_tui.drivers.http.auth.loopback import Listener, listening
from platint_tui.manifest.form import form_view
from platint_tui.services import profiles
from platint_tui.services.engine import refuse_read_only
from platint_tui.services.syncs import restart_users
from platint_tui.services.workspace import Workspace
from platint_tui.vault.tokens import VaultTokens

BROWSER_SECONDS = 900.0
"""How long the answer of the browser is waited for."""
_TEXT_BROWSERS = ("lynx", "w3m", "elinks", "links", "www-browser")


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A sign-in that worked: when the token ends (None: the platform does not say), what was not granted, and a
    sentence for each sync that is read from the beginning, because this is another account than before.
    """

    profile: str
    expires_ms: int | None
    renewable: bool
    missing: tuple[str, ...]
    restarted: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SignIn:
    """A sign-in that waits for a person.

    `url` is the page to open. With `code` it is entered there, on any device; without, the browser of this
    machine answers by itself, and that of another one ends at an address that is passed to `finish`.
    """

    profile: str
    url: str
    code: str
    expires_s: float
    _workspace: Workspace
    _login: Login
    _started: Started | None
    _device: Device | None
    _listener: Listener | None

    async def wait(self, left: Callable[[float], None] = lambda _: None) -> SignedIn:
        """Wait for the person; `left` is told the seconds that remain for a code.

        Raises CredentialError when it was refused or came too late, ConfigError when it is to another account
        while a run of the one before is active; then nothing has changed.
        """
        if self._device is not None:
            return await self._keep(await self._login.poll_device(self._device, left))
        assert self._listener is not None and self._started is not None
        answer = await self._listener.answer(self._started.state, BROWSER_SECONDS)
        return await self._keep(await self._login.exchange_code(self._started, answer))

    async def finish(self, address: str) -> SignedIn:
        """Go on with the address at which the browser of another machine ended. Raises CredentialError."""
        if self._started is None:
            raise ConfigError("This sign-in waits for a code, not for an address.")
        if not address.strip().startswith(self._started.redirect_uri):
            raise CredentialError(
                "This is not the address that the browser ends at.",
                hint=f"It begins with {self._started.redirect_uri}; copy all of it from the browser.",
                code="login_address",
            )
        return await self._keep(await self._login.exchange_code(self._started, address.strip()))

    async def _keep(self, tokens: Mapping[str, Json]) -> SignedIn:
        restarted: list[str] = []
        if await _another_account(self._workspace, self.profile, tokens):
            platform = (await profiles.get(self._workspace, self.profile)).platform
            restarted = await restart_users(self._workspace, self.profile, platform)
            await self._login.save(tokens)
            # Once more: a run may have come in between, and read the account of before.
            await restart_users(self._workspace, self.profile, platform)
        else:
            await self._login.save(tokens)
        end = tokens.get("expires_at")
        return SignedIn(
            self.profile,
            int(float(end) * 1000) if end is not None else None,
            bool(tokens.get("refresh_token")),
            tuple(self._login.missing_scopes(tokens)),
            tuple(
                f"'{sync}' is read from the beginning: '{self.profile}' is another account now."
                for sync in restarted
            ),
        )


@asynccontextmanager
async def start(workspace: Workspace, name: str) -> AsyncIterator[SignIn]:
    """Begin a sign-in to the profile `name`; at the end nothing listens any more.

    Raises NotFound, ConfigError for a profile that signs in by itself, CredentialError, and what asking the
    platform for a code raises.
    """
    refuse_read_only(workspace, "sign in")
    profile = await profiles.get(workspace, name)
    login = open_login(await _context(workspace, profile))
    try:
        if login.kind == "device_code":
            device = await login.start_device()
            left = device.expires_at - workspace.clock.monotonic()
            page = device.verification_uri_complete or device.verification_uri
            yield SignIn(name, page, device.user_code, left, workspace, login, None, device, None)
        else:
            async with listening(login.redirect_port) as listener:
                started = login.authorize_url(listener.uri)
                yield SignIn(
                    name, started.url, "", BROWSER_SECONDS, workspace, login, started, None, listener
                )
    finally:
        await login.close()


def open_browser(url: str, environ: Mapping[str, str] = os.environ) -> bool:
    """Open a page in the browser of this desktop; False where there is none (a terminal over SSH).

    A browser that draws into the terminal is never started: it would take the console's screen.
    """
    if (
        os.name == "posix"
        and os.uname().sysname != "Darwin"
        and not (environ.get("DISPLAY") or environ.get("WAYLAND_DISPLAY"))
    ):
        return False
    try:
        browser = webbrowser.get()
        if getattr(browser, "basename", "").lower() in _TEXT_BROWSERS:
            return False
        return browser.open(url)
    except webbrowser.Error:
        return False


async def _another_account(workspace: Workspace, name: str, tokens: Mapping[str, Json]) -> bool:
    """Whether tokens name another API address than those that they take the place of: each account has its own.

    Where a platform has one address for all accounts, nothing in the tokens tells them apart.
    """
    try:
        before = await _tokens(workspace, name).load()
    except CredentialError:
        # They cannot be read any more, so nobody knows whose they were.
        return bool(tokens.get("base_url"))
    return before is not None and before.get("base_url") != tokens.get("base_url")


def _tokens(workspace: Workspace, name: str) -> VaultTokens:
    return VaultTokens(workspace.vault, workspace.store.profiles, name, workspace.vault.locks)


class _Unlimited:
    async def acquire(self, limit: str, count: int, period: float, burst: int, weight: int = 1) -> None:
        """A sign-in makes a handful of requests at a person's pace."""

    async def block(self, limit: str, seconds: float) -> None:
        """Nothing else waits here."""


class _Unobserved:
    def observe(self, operation: str, seconds: float, ok: bool) -> None:
        """A sign-in is not part of the metrics."""


async def _context(workspace: Workspace, profile: Profile) -> DriverContext:
    connector = workspace.registry.get(profile.platform)
    known = {item.id for item in form_view(connector).fields if item.secret}
    references = {field: text for field, text in profile.secrets.items() if field in known}
    return DriverContext(
        connector=connector,
        profile=profile,
        secrets=await workspace.vault.resolve_many(profile.name, references),
        limiter=_Unlimited(),
        telemetry=_Unobserved(),
        clock=workspace.clock,
        tokens=_tokens(workspace, profile.name),
    )
