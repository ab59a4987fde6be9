"""The profiles that receive webhooks, as they are now: their manifests, states and secrets."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence

from platint_tui.core.errors import CredentialError, PlatintError
from platint_tui.core.events import Source, SourceState
from platint_tui.core.model import Profile
from platint_tui.core.redaction import REDACTOR
from platint_tui.core.secret import Secret
from platint_tui.drivers.http.webhooks import Certificates, accepted, fields_of
from platint_tui.drivers.http.webhooks.verifying import Values
from platint_tui.engine.context import Context
from platint_tui.engine.receiver.wire import rendered
from platint_tui.manifest.schema import Connector
from platint_tui.manifest.webhooks import Webhooks

log = logging.getLogger("platint.receiver")

FRESH_SECONDS = 30.0
"""How long secrets are used before they are asked for again."""
AGAIN_SECONDS = 2.0
"""How soon they are asked for again because a request was refused, which a new secret may explain."""


class Endpoint:
    """One profile as a source of webhooks.

    `values` are what its checks may use: secrets, and the plain fields that identify the sender. `answers` are the
    methods that may come, of events and of handshakes. `problem` says why the secrets could not be asked for the
    last time.
    """

    def __init__(
        self, profile: Profile, connector: Connector, webhooks: Webhooks, certificates: Certificates
    ) -> None:
        self.profile = profile
        self.certificates = certificates
        self.connector = connector
        self.webhooks = webhooks
        self.state = SourceState.ACTIVE
        self.accepted = rendered(accepted(connector))
        self.methods = frozenset(webhooks.methods)
        self.answers = self.methods | {item.method for item in webhooks.handshakes}
        names = fields_of(connector)
        hidden = {item.id for item in connector.profile.fields if item.secret}
        self._secret_fields = frozenset(names) & hidden
        self._plain = {name: profile.fields[name] for name in names if profile.fields.get(name)}
        self.values: Values = self._plain
        self.problem: CredentialError | None = None
        self._read_at = float("-inf")
        self._reading: asyncio.Task[bool] | None = None

    def is_of(self, profile: Profile, connector: Connector) -> bool:
        """Whether it was made of this profile and manifest."""
        return self.connector is connector and self.profile == profile

    @property
    def known(self) -> bool:
        """Whether the secrets were asked for."""
        return self._read_at > float("-inf")

    def is_stale(self, now: float) -> bool:
        """Whether it is time to ask for the secrets again; `now` is monotonic."""
        return now - self._read_at >= FRESH_SECONDS and self._reading is None

    def may_ask_again(self, now: float) -> bool:
        """Whether a refusal is a reason to ask for the secrets again."""
        return self._reading is not None or now - self._read_at >= AGAIN_SECONDS

    async def read(self, context: Context) -> bool:
        """Ask for the secrets; True when they are others than before. Whoever asks meanwhile waits for the same."""
        if self._reading is None:
            self._reading = asyncio.create_task(self._read(context))
            self._reading.add_done_callback(self._done)
        return await asyncio.shield(self._reading)

    def _done(self, task: asyncio.Task[bool]) -> None:
        self._reading = None

    async def _read(self, context: Context) -> bool:
        before = self.values
        try:
            found: Mapping[str, Secret] = {}
            if self._secret_fields:
                found = await context.present_secrets(self.profile, self._secret_fields)
        except CredentialError as error:
            if self.problem is None:
                log.error("webhooks of %s: %s", self.profile.name, REDACTOR.redact(error.sentence()))
            # What was known goes on being used: a keyring that locks itself at night refuses nothing genuine.
            self.problem = error
        else:
            self.problem = None
            self.values = {**self._plain, **found}
        self._read_at = context.clock.monotonic()
        return self.values != before


class Sources:
    """All endpoints by profile name, brought up to date by `refresh`."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._endpoints: dict[str, Endpoint] = {}
        self._certificates: dict[str, tuple[Connector, Certificates]] = {}
        self._complained: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self._endpoints)

    def get(self, profile: str) -> Endpoint | None:
        """The endpoint of a profile, None when it receives no webhooks."""
        return self._endpoints.get(profile)

    async def refresh(self) -> None:
        """Read the profiles and the states of sources. Raises StoreError."""
        profiles = await self._context.store.profiles.list()
        states = _states(await self._context.store.events.sources())
        found: dict[str, Endpoint] = {}
        for profile in profiles:
            connector = self._connector(profile)
            if connector is None or connector.webhooks is None:
                continue
            endpoint = self._endpoints.get(profile.name)
            if endpoint is None or not endpoint.is_of(profile, connector):
                endpoint = Endpoint(profile, connector, connector.webhooks, self._certificates_of(connector))
            endpoint.state = states.get(profile.name, SourceState.ACTIVE)
            found[profile.name] = endpoint
        self._endpoints = found

    async def close(self) -> None:
        """Close the connections by which certificates are fetched."""
        for _, certificates in self._certificates.values():
            await certificates.aclose()
        self._certificates.clear()
        self._endpoints = {}

    def _certificates_of(self, connector: Connector) -> Certificates:
        """The certificates of a manifest, shared by its profiles."""
        known = self._certificates.get(connector.platform)
        if known is None or known[0] is not connector:
            known = (connector, Certificates(connector, self._context.clock))
            self._certificates[connector.platform] = known
        return known[1]

    def _connector(self, profile: Profile) -> Connector | None:
        try:
            connector = self._context.registry.get(profile.platform)
        except PlatintError as error:
            text = REDACTOR.redact(error.sentence())
            if self._complained.get(profile.platform) != text:
                self._complained[profile.platform] = text
                log.error("webhooks of %s are refused: %s", profile.name, text)
            return None
        self._complained.pop(profile.platform, None)
        return connector


def _states(sources: Sequence[Source]) -> dict[str, SourceState]:
    return {item.profile: item.state for item in sources}
