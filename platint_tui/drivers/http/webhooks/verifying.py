"""Is a request from whom it says? Pure: nothing is asked but the certificates that are handed in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from platint_tui.core.redaction import REDACTOR
from platint_tui.core.secret import Secret
from platint_tui.core.webhooks import Cause, Step, Verdict, WebhookRequest
from platint_tui.drivers.http.webhooks.schemes import Check, check_of
from platint_tui.drivers.http.webhooks.schemes.base import (
    Call,
    CertificateSource,
    Refused,
    counted,
)
from platint_tui.manifest.schema import Connector
from platint_tui.manifest.webhooks import Webhooks

Values: TypeAlias = Mapping[str, Secret | str]
"""What the profile has, by field: secrets, and plain texts like a webhook's id or a public key."""

_MAX_KEYS = 256


def no_certificates(address: str) -> bytes | None:
    """A source of certificates that has none."""
    return None


def verify(
    connector: Connector,
    request: WebhookRequest,
    secrets: Values,
    now: float,
    certificates: CertificateSource = no_certificates,
    *,
    explain: bool = False,
    authorities: bytes = b"",
) -> Verdict:
    """Whether `request` is accepted by the connector's `webhooks.verify`; never raises for what a request has.

    `secrets` are values by profile field (see `fields_of`), `now` epoch seconds. `certificates` gives what is found
    at an address of `needs`, None when it could not be had. A refusal has its steps, an acceptance only with
    `explain`. `authorities` (PEM) takes the place of the shipped certificate authorities.
    """
    verifier = compile_verifier(connector)
    return verifier.verify(request, secrets, now, certificates, explain=explain, authorities=authorities)


def needs(connector: Connector, request: WebhookRequest) -> tuple[str, ...]:
    """The addresses of certificates and key sets that `verify` will ask for, all on hosts that are allowed.

    Whoever waits for them fetches them first (see `Certificates`) and hands them in.
    """
    return compile_verifier(connector).needs(request)


def fields_of(connector: Connector) -> tuple[str, ...]:
    """The profile fields whose values `verify` may want."""
    return compile_verifier(connector).fields


class Verifier:
    """The schemes of one manifest, ready to be used; keeps the keys that were made of secrets."""

    def __init__(self, webhooks: Webhooks | None) -> None:
        self.webhooks = webhooks
        self._checks = tuple(check_of(item) for item in webhooks.verify) if webhooks else ()
        names = [name for item in self._checks for name in (*item.alternatives, *item.required)]
        self.fields = tuple(dict.fromkeys(names))
        self.hosts = tuple(dict.fromkeys(host for item in self._checks for host in item.hosts))
        self.issuers = tuple(dict.fromkeys(host for item in self._checks for host in item.issuers))
        self._keys: dict[tuple[int, tuple[str, ...]], _Keys] = {}
        self._accepted: dict[tuple[int, str], Verdict] = {}

    def needs(self, request: WebhookRequest) -> tuple[str, ...]:
        """See the function `needs`."""
        call = _call(request, 0.0, no_certificates, b"", None)
        found = [url for item in self._checks if item.named_by(call) for url in item.addresses(call)]
        return tuple(dict.fromkeys(found))

    def verify(
        self,
        request: WebhookRequest,
        secrets: Values,
        now: float,
        certificates: CertificateSource = no_certificates,
        *,
        explain: bool = False,
        authorities: bytes = b"",
    ) -> Verdict:
        """See the function `verify`."""
        if not explain:
            try:
                number, field = self._decided(_call(request, now, certificates, authorities, None), secrets)
            except Refused:
                pass  # again below, this time with every step
            else:
                return self._known_verdict(number, field)
        trace: list[Step] = []
        try:
            number, field = self._decided(_call(request, now, certificates, authorities, trace), secrets)
        except Refused as error:
            trace.append(Step(error.step, False, error.message))
            message = REDACTOR.redact(error.message)
            return Verdict(False, str(error.cause), message, _harmless(trace))
        known = self._known_verdict(number, field)
        return Verdict(True, "", known.message, _harmless(trace), field)

    def _known_verdict(self, number: int, field: str) -> Verdict:
        verdict = self._accepted.get((number, field))
        if verdict is None:
            label = self._checks[number].label
            message = f"Verified: {label}, with {field}." if field else f"Accepted: {label}."
            verdict = self._accepted[number, field] = Verdict(True, "", message, (), field)
        return verdict

    def _decided(self, call: Call, secrets: Values) -> tuple[int, str]:
        """The number of the scheme that decides, and the profile field that fits. Raises Refused."""
        for number, check in enumerate(self._checks):
            if not check.named_by(call):
                continue
            keys = self._keys_of(number, check, secrets)
            if keys is None:
                continue
            if call.trace is not None:
                _tell_keys(call, check, keys)
            if not keys.usable and check.alternatives:
                raise Refused(Cause.NO_SECRET, f"The profile's {'; '.join(keys.faults)}.", "Secrets")
            values = {name: _text(secrets.get(name)) for name in check.required}
            return number, check.matching(call, keys.usable, values)
        raise self._nobody(secrets)

    def _keys_of(self, number: int, check: Check, secrets: Values) -> _Keys | None:
        """The keys that a scheme has of the profile's values, made once; None when it is not configured."""
        texts = tuple([_text(secrets.get(name)) for name in check.alternatives])
        if texts and not any(texts):
            return None
        for name in check.required:
            if not _text(secrets.get(name)):
                return None
        known = self._keys.get((number, texts))
        if known is None:
            if len(self._keys) >= _MAX_KEYS:
                self._keys.clear()
            known = self._keys[number, texts] = _made(check, texts)
        return known

    def _nobody(self, secrets: Values) -> Refused:
        """No scheme decides: none is configured, or the request has nothing that one of them is about."""
        if not self._checks:
            return Refused(Cause.NO_SCHEME, "The manifest does not say how webhooks are verified.", "Scheme")
        configured = [
            item
            for number, item in enumerate(self._checks)
            if self._keys_of(number, item, secrets) is not None
        ]
        if configured:
            wanted = " or ".join(dict.fromkeys(item.wanted for item in configured))
            return Refused(Cause.MISSING_HEADER, f"The request lacks {wanted}.")
        # Of the fields of which one is enough, the earlier values are not what an operator is asked for.
        needed = dict.fromkeys(
            " and ".join((*item.alternatives[:1], *item.required)) for item in self._checks
        )
        text = f"The profile has no value in {', or in '.join(needed)}; without it nothing is accepted."
        return Refused(Cause.NO_SECRET, text, "Secrets")


@dataclass(frozen=True, slots=True)
class _Keys:
    """The keys of the active values with their profile fields, and what is wrong with the others."""

    usable: tuple[tuple[str, Any], ...]
    faults: tuple[str, ...]


def _made(check: Check, texts: tuple[str, ...]) -> _Keys:
    usable, faults = [], []
    for name, text in zip(check.alternatives, texts, strict=True):
        if text:
            try:
                usable.append((name, check.key_of(text)))
            except ValueError as error:
                faults.append(f"{name} must be {error}")
    return _Keys(tuple(usable), tuple(faults))


def _tell_keys(call: Call, check: Check, keys: _Keys) -> None:
    call.note("Scheme", f"{check.label}.", None)
    if keys.usable:
        names = ", ".join(name for name, _ in keys.usable)
        call.note("Secrets", f"{counted(len(keys.usable), 'value')} of the profile may fit: {names}.")
    for fault in keys.faults:
        call.note("Secrets", f"Not usable: {fault}.", False)


def _call(
    request: WebhookRequest,
    now: float,
    certificates: CertificateSource,
    authorities: bytes,
    trace: list[Step] | None,
) -> Call:
    headers = dict(request.headers)
    repeated: frozenset[str] = frozenset()
    if len(headers) != len(request.headers):
        names = [name for name, _ in request.headers]
        repeated = frozenset(name for name in headers if names.count(name) > 1)
    return Call(request, headers, repeated, now, certificates, authorities, trace)


def _text(value: Secret | str | None) -> str:
    """A value of the profile; one of blanks alone is none."""
    if value is None:
        return ""
    text = value.reveal() if isinstance(value, Secret) else value
    return text if text and not text.isspace() else ""


def _harmless(steps: list[Step]) -> tuple[Step, ...]:
    return tuple(Step(item.name, item.ok, REDACTOR.redact(item.detail)) for item in steps)


_VERIFIERS: dict[int, Verifier] = {}
_MAX_VERIFIERS = 200
_NONE = Verifier(None)


def compile_verifier(connector: Connector) -> Verifier:
    """The verifier of a connector, made once."""
    webhooks = connector.webhooks
    if webhooks is None:
        return _NONE
    known = _VERIFIERS.get(id(webhooks))
    # The object is kept with its verifier, so that its id cannot become that of another one.
    if known is not None and known.webhooks is webhooks:
        return known
    if len(_VERIFIERS) >= _MAX_VERIFIERS:
        _VERIFIERS.clear()
    verifier = _VERIFIERS[id(webhooks)] = Verifier(webhooks)
    return verifier
