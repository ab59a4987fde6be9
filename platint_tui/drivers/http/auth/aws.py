"""AWS accounts: requests signed with Signature Version 4, by the key itself or by a role that it assumes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import quote, urlencode, urlsplit

from platint_tui.core.errors import ConfigError, CredentialError, SystemicError, TransientError
from platint_tui.core.model import Json
from platint_tui.core.secret import Secret
from platint_tui.drivers.base import DriverContext
from platint_tui.drivers.http.auth.base import Authorizer, Signed, Unsigned
from platint_tui.drivers.http.auth.fields import optional_secret, secret, told, value
from platint_tui.drivers.http.auth.renewing import attempts
from platint_tui.drivers.http.auth.sigv4 import QUERY_NAMES, Keys, Scope, in_headers, in_query
from platint_tui.drivers.http.client import Answer, HttpClient
from platint_tui.drivers.http.xmltree import parse_xml
from platint_tui.manifest import schema
from platint_tui.manifest.addresses import address_of
from platint_tui.manifest.template import lookup, render

STS_VERSION = "2011-06-15"
ROLE_SECONDS = 3600
MARGIN = 300.0
"""Seconds before their end in which temporary keys are replaced."""
_SKEW = 60.0
_CLOCK_CODES = (
    b"RequestTimeTooSkewed",
    b"InvalidSignatureException",
    b"SignatureDoesNotMatch",
    b"RequestExpired",
    b"AuthFailure",
)


class AwsSigner(Authorizer):
    """Signs with the profile's key, or with the temporary key of the role that the profile names."""

    def __init__(
        self,
        context: DriverContext,
        auth: schema.SigV4Auth,
        client: HttpClient,
        scope: Mapping[str, Json],
    ) -> None:
        """Raises CredentialError, or ConfigError for a region or an address that the profile does not have."""
        self._context = context
        self._auth = auth
        self._client = client
        self._scope = Scope(auth.service, render(auth.region, scope, "query"))
        session = optional_secret(context, auth.session_token)
        self._own = Keys(value(context, auth.access_key), secret(context, auth.secret_key), session)
        self._role = _optional(context, auth.role_arn)
        self._external = _optional(context, auth.external_id)
        self._sts = ""
        if self._role:
            self._sts = self._sts_address(scope)
        self._assumed: Keys | None = None
        self._lock = asyncio.Lock()
        self._offset = 0.0
        self.refreshable = bool(self._role)
        self.private = QUERY_NAMES if auth.in_ == "query" else frozenset()

    async def sign(self, request: Unsigned) -> Signed:
        """The signed request; the role is assumed first where the profile names one."""
        keys = await self._keys() if self._role else self._own
        how = in_query if self._auth.in_ == "query" else in_headers
        return how(request, keys, self._scope, self._now())

    async def refresh(self, used: Signed) -> None:
        """Assume the role again, unless another task has done so since `used` was signed."""
        async with self._lock:
            if self._assumed is not None and _signed_by(used, self._assumed):
                self._assumed = None

    def learn(self, answer: Answer) -> bool:
        """Forget the role's keys when they have ended, and take the platform's clock from the `Date` of a
        refusal that its clock explains.
        """
        if self._assumed and answer.status in (400, 401, 403) and b"ExpiredToken" in answer.body:
            self._assumed = None
            return True
        if answer.status not in (400, 401, 403) or not any(code in answer.body for code in _CLOCK_CODES):
            return False
        try:
            theirs = parsedate_to_datetime(answer.headers.get("date", ""))
        except (TypeError, ValueError):
            return False
        theirs = theirs if theirs.tzinfo else theirs.replace(tzinfo=UTC)
        offset = theirs.timestamp() - self._context.clock.now_ms() / 1000
        if abs(offset - self._offset) < _SKEW:
            return False
        self._offset = offset
        return True

    def notes(self) -> list[str]:
        """A clock that is wrong."""
        if abs(self._offset) < _SKEW:
            return []
        how = "behind" if self._offset > 0 else "ahead"
        return [f"The clock of this machine is {abs(self._offset):.0f} s {how}; set it right."]

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._context.clock.now_ms() / 1000 + self._offset, UTC)

    async def _keys(self) -> Keys:
        async with self._lock:
            keys = self._assumed
            if keys is None or (keys.expires and keys.expires - self._now().timestamp() < MARGIN):
                keys = self._assumed = await attempts(self._context, self._assume)
            return keys

    def _sts_address(self, scope: Mapping[str, Json]) -> str:
        if not self._auth.sts_url:
            raise ConfigError("The manifest has no sts_url, so no role can be assumed.", code="sts_url")
        plain = self._context.connector.transport.plain_http
        environment = self._context.profile.environment.value
        url = address_of(self._auth.sts_url, scope, environment, plain_http=plain)
        return self._client.origins.check(url, "address of the token service")

    async def _assume(self) -> Keys:
        """Temporary keys of the role (STS query API, action AssumeRole)."""
        form = {
            "Action": "AssumeRole",
            "Version": STS_VERSION,
            "RoleArn": self._role,
            "RoleSessionName": f"platint-{self._context.profile.name}"[:64],
            "DurationSeconds": str(ROLE_SECONDS),
        }
        if self._external:
            form["ExternalId"] = self._external
        body = urlencode(form, quote_via=quote).encode()
        headers = {"content-type": "application/x-www-form-urlencoded; charset=utf-8"}
        request = Unsigned("POST", self._sts, headers, body)
        signer = Scope("sts", _sts_region(self._sts) or self._scope.region)
        signed = in_headers(request, self._own, signer, self._now())
        answer = await self._client.exchange("POST", signed.url, signed.headers, body)
        if answer.status == 403 and self.learn(answer):
            signed = in_headers(request, self._own, signer, self._now())
            answer = await self._client.exchange("POST", signed.url, signed.headers, body)
        return self._granted(answer)

    def _granted(self, answer: Answer) -> Keys:
        host = urlsplit(self._sts).hostname or ""
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
            end = self._now().timestamp() + ROLE_SECONDS
        return Keys(access, Secret(key), Secret(session), end)


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
