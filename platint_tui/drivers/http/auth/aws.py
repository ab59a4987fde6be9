"""AWS accounts: requests signed with Signature Version 4, by the key itself or by a role that it assumes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import partial
from urllib.parse import quote, urlencode, urlsplit
from weakref import WeakKeyDictionary

from platint_tui.core.clock import Clock
from platint_tui.core.errors import ConfigError, CredentialError, SystemicError, TransientError
from platint_tui.core.model import Json
from platint_tui.core.secret import Secret
from platint_tui.drivers.base import DriverContext
from platint_tui.drivers.http.auth.base import Authorizer, Signed, Unsigned
from platint_tui.drivers.http.auth.fields import optional_secret, secret, told, value
from platint_tui.drivers.http.auth.renewing import attempts
from platint_tui.drivers.http.auth.sigv4 import QUERY_NAMES, Keys, Scope, in_headers, in_query
from platint_tui.drivers.http.client import Answer, HttpClient
from platint_tui.drivers.http.origin import TOKENS
from platint_tui.drivers.http.xmltree import parse_xml
from platint_tui.manifest import schema
from platint_tui.manifest.addresses import address_of
from platint_tui.manifest.template import lookup, render

STS_VERSION = "2011-06-15"
ROLE_SECONDS = 3600
MARGIN = 300.0
"""Seconds before their end in which temporary keys are replaced."""
_SKEW = 60.0
_REFUSED = (400, 401, 403)
_CLOCK_CODES = (
    b"RequestTimeTooSkewed",
    b"InvalidSignatureException",
    b"SignatureDoesNotMatch",
    b"RequestExpired",
    b"AuthFailure",
)


class Role:
    """The temporary keys of one role, for every endpoint of a profile that signs with them."""

    def __init__(self, context: DriverContext, client: HttpClient, url: str, arn: str, external: str) -> None:
        """`url` is the address of the token service (STS), `external` an external id or ''."""
        self._context = context
        self._client = client
        self._url = url
        self._arn = arn
        self._external = external
        self._lock = asyncio.Lock()
        self._keys: Keys | None = None

    async def keys(self, own: Keys, region: str, clock: PlatformClock) -> Keys:
        """Keys that are not about to end, asked for with the profile's `own`. Raises CredentialError."""
        async with self._lock:
            keys = self._keys
            if keys is None or (keys.expires and keys.expires - clock.now().timestamp() < MARGIN):
                ask = partial(self._assume, own, _sts_region(self._url) or region, clock)
                keys = self._keys = await attempts(self._context, ask)
            return keys

    async def drop(self, used: Signed) -> None:
        """Forget the keys, when they are those that signed `used`."""
        async with self._lock:
            if self._keys is not None and _signed_by(used, self._keys):
                self._keys = None

    def forget(self) -> bool:
        """Forget the keys; whether there were any."""
        had, self._keys = self._keys is not None, None
        return had

    async def _assume(self, own: Keys, region: str, clock: PlatformClock) -> Keys:
        """STS query API, action AssumeRole."""
        form = {
            "Action": "AssumeRole",
            "Version": STS_VERSION,
            "RoleArn": self._arn,
            "RoleSessionName": f"platint-{self._context.profile.name}"[:64],
            "DurationSeconds": str(ROLE_SECONDS),
        }
        if self._external:
            form["ExternalId"] = self._external
        body = urlencode(form, quote_via=quote).encode()
        headers = {"content-type": "application/x-www-form-urlencoded; charset=utf-8"}
        request = Unsigned("POST", self._url, headers, body)
        signed = in_headers(request, own, Scope("sts", region), clock.now())
        answer = await self._client.exchange("POST", signed.url, signed.headers, body, endpoint=TOKENS)
        if answer.status == 403 and clock.learn(answer):
            signed = in_headers(request, own, Scope("sts", region), clock.now())
            answer = await self._client.exchange("POST", signed.url, signed.headers, body, endpoint=TOKENS)
        return self._granted(answer, clock)

    def _granted(self, answer: Answer, clock: PlatformClock) -> Keys:
        host = urlsplit(self._url).hostname or ""
        if answer.status >= 500 or answer.status == 429:
            raise TransientError(f"The token service answered {answer.status}.", where=host, code="sts")
        document = parse_xml(answer.body, host)
        if answer.status != 200:
            fault = lookup(document, "Error") or lookup(document, "Errors.Error")
            code = told(lookup(fault, "Code") or answer.status, 60)
            said = told(lookup(fault, "Message"))
            raise CredentialError(
                f"The role cannot be assumed: {code}{f' ({said})' if said else ''}.",
                hint="Check the role's ARN, its trust policy and the external id.",
                where=host,
                code="role_refused",
            )
        found = lookup(document, "AssumeRoleResult.Credentials")
        found = found if isinstance(found, Mapping) else {}
        access, key, session = (
            found.get(name) for name in ("AccessKeyId", "SecretAccessKey", "SessionToken")
        )
        if not (isinstance(access, str) and isinstance(key, str) and isinstance(session, str)):
            raise SystemicError("The token service gave no usable credentials.", where=host, code="sts")
        try:
            end = datetime.fromisoformat(str(found.get("Expiration"))).timestamp()
        except ValueError:
            end = clock.now().timestamp() + ROLE_SECONDS
        return Keys(access, Secret(key), Secret(session), end)


_ROLES: WeakKeyDictionary[HttpClient, dict[tuple[str, ...], Role]] = WeakKeyDictionary()
"""The roles of each profile's driver: its endpoints share them."""


class AwsSigner(Authorizer):
    """Signs with the profile's key, or with the temporary keys of the role that the profile names."""

    def __init__(
        self,
        context: DriverContext,
        auth: schema.SigV4Auth,
        client: HttpClient,
        scope: Mapping[str, Json],
    ) -> None:
        """Raises CredentialError, or ConfigError for a region or an address that the profile does not have."""
        self._scope = Scope(auth.service, render(auth.region, scope, "query"))
        self._presign = auth.in_ == "query"
        session = optional_secret(context, auth.session_token)
        self._own = Keys(value(context, auth.access_key), secret(context, auth.secret_key), session)
        self._clock = PlatformClock(context.clock)
        self._role: Role | None = None
        arn, external = _optional(context, auth.role_arn), _optional(context, auth.external_id)
        if arn:
            url = _sts_address(context, auth, client, scope)
            made = _ROLES.setdefault(client, {})
            named = (url, arn, external, self._own.access)
            self._role = made.setdefault(named, Role(context, client, url, arn, external))
        self.refreshable = self._role is not None
        self.private = QUERY_NAMES if self._presign else frozenset()

    async def sign(self, request: Unsigned) -> Signed:
        """The signed request; the role is assumed first where the profile names one."""
        keys = self._own
        if self._role is not None:
            keys = await self._role.keys(self._own, self._scope.region, self._clock)
        how = in_query if self._presign else in_headers
        return how(request, keys, self._scope, self._clock.now())

    async def refresh(self, used: Signed) -> None:
        """Assume the role again, unless another task has done so since `used` was signed."""
        if self._role is not None:
            await self._role.drop(used)

    def learn(self, answer: Answer) -> bool:
        """Forget the role's keys when they have ended, and take the platform's clock from a refusal that its
        clock explains.
        """
        if self._role is not None and answer.status in _REFUSED and b"ExpiredToken" in answer.body:
            return self._role.forget()
        return self._clock.learn(answer)

    def notes(self) -> list[str]:
        """A clock that is wrong."""
        return self._clock.notes()


class PlatformClock:
    """The time as the platform has it: this machine's, until a refusal tells how wrong it is."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._offset = 0.0

    def now(self) -> datetime:
        """The platform's time."""
        return datetime.fromtimestamp(self._clock.now_ms() / 1000 + self._offset, UTC)

    def learn(self, answer: Answer) -> bool:
        """Take the time from the `Date` of a refused signature; whether it is another one than was thought."""
        if answer.status not in _REFUSED or not any(code in answer.body for code in _CLOCK_CODES):
            return False
        try:
            theirs = parsedate_to_datetime(answer.headers.get("date", ""))
        except (TypeError, ValueError):
            return False
        theirs = theirs if theirs.tzinfo else theirs.replace(tzinfo=UTC)
        offset = theirs.timestamp() - self._clock.now_ms() / 1000
        if abs(offset - self._offset) < _SKEW:
            return False
        self._offset = offset
        return True

    def notes(self) -> list[str]:
        """A sentence when this machine's clock is wrong."""
        if abs(self._offset) < _SKEW:
            return []
        how = "behind" if self._offset > 0 else "ahead"
        return [f"The clock of this machine is {abs(self._offset):.0f} s {how}; set it right."]


def _sts_address(
    context: DriverContext, auth: schema.SigV4Auth, client: HttpClient, scope: Mapping[str, Json]
) -> str:
    if not auth.sts_url:
        raise ConfigError("The manifest has no sts_url, so no role can be assumed.", code="sts_url")
    plain = context.connector.transport.plain_http
    url = address_of(auth.sts_url, scope, context.profile.environment.value, plain_http=plain)
    return client.origins.at(TOKENS).check(url, "address of the token service")


def _optional(context: DriverContext, name: str | None) -> str:
    found = optional_secret(context, name)
    return found.reveal().strip() if found else ""


def _signed_by(used: Signed, keys: Keys) -> bool:
    return keys.access in used.headers.get("authorization", "") or quote(keys.access, safe="") in used.url


def _sts_region(url: str) -> str:
    """The region in a host like sts.eu-west-1.amazonaws.com; us-east-1 for the global one."""
    parts = (urlsplit(url).hostname or "").split(".")
    if parts[0] != "sts" or "amazonaws" not in parts:
        return ""
    return "us-east-1" if parts[1] == "amazonaws" else parts[1]
