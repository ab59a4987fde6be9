"""Connections to a namespace over AMQP 1.0: where it is, who signs in, and what its errors mean.

Every link has a connection of its own, and none connects again by itself: what was locked over a lost connection
must not be taken for still being in hand.

Sources: Microsoft, "AMQP 1.0 in Azure Service Bus protocol guide", "Service Bus messaging exceptions".
"""

from __future__ import annotations

import functools
import logging
import ssl
from typing import Any
from urllib.parse import urlsplit

from azure.core.credentials import AccessToken
from azure.core.exceptions import AzureError
from azure.servicebus import TransportType
from azure.servicebus import exceptions as sb
from azure.servicebus.aio import ServiceBusClient

from platint_tui.core.errors import (
    ConfigError,
    CredentialError,
    PlatintError,
    RecordError,
    SystemicError,
    TransientError,
)
from platint_tui.core.redaction import REDACTOR
from platint_tui.core.text import clean
from platint_tui.drivers.base import DriverContext
from platint_tui.drivers.http.auth import Authorizer, Unsigned
from platint_tui.drivers.http.auth.renewing import Renewing
from platint_tui.drivers.http.auth.servicebus import ServiceBusSas
from platint_tui.drivers.http.session import Session
from platint_tui.drivers.http.transport import tls_context
from platint_tui.drivers.judged import by_rules

# The library tells of every lost connection by itself, with whatever the other side said.
logging.getLogger("azure.servicebus").setLevel(logging.CRITICAL)
logging.getLogger("azure.core").setLevel(logging.CRITICAL)

FAILURES = (AzureError, ValueError, OSError, RuntimeError, TimeoutError)
"""What the library raises for a failed operation; ValueError and RuntimeError for a handler that is closed."""
_MESSAGES = "messages"
"""The endpoint of the manifest that is spoken to over AMQP."""
_TLS_PORT = 5671
_SHORT_LIVED = 300
_SAS = b"servicebus.windows.net:sastoken"


class Connection:
    """Makes clients of one namespace. Nothing is connected by it."""

    def __init__(self, context: DriverContext, session: Session) -> None:
        """Raises ConfigError for an address that the credential was not entered for."""
        self.context = context
        self._signer = session.caller.signers.at(None)
        given = bool(context.profile.fields.get("endpoint"))
        session.origins.at(_MESSAGES)
        parts = urlsplit(session.address_for(_MESSAGES))
        self._tls = parts.scheme == "https" or not given
        self._host = parts.hostname or ""
        self._port = (parts.port if given else None) or _TLS_PORT
        self.where = f"{self._host}:{self._port}"

    def client(self) -> ServiceBusClient:
        """A client that tries everything once."""
        timeout = self.context.connector.transport.timeout
        # Without a context the library would read all certificates for each connection, even one without TLS.
        more: dict[str, Any] = {"ssl_context": _trust()}
        host = self._host
        if not self._tls:
            host, more["use_tls"] = self.where, False
        if self._tls and self._port != _TLS_PORT:
            more["custom_endpoint_address"] = f"sb://{self.where}"
        return ServiceBusClient(
            host,
            credential(self._signer, self.context),
            retry_total=0,
            transport_type=TransportType.Amqp,
            try_timeout=timeout.read,
            logging_enable=False,
            keep_alive=0,  # of senders: one that was idle is opened anew
            **more,
        )

    def error(self, error: BaseException, entity: str, where: str = "") -> PlatintError:
        """What a failure of the library means, by its kind and by the error rules of the manifest. `where` is
        the stream that it concerns."""
        if isinstance(error, PlatintError):
            return error
        condition = str(getattr(error, "_condition", "") or "")
        judged = _judged(error, condition, clean(entity), clean(where) or f"{self.where}/{clean(entity)}")
        return by_rules(judged, self.context.connector, condition)


@functools.cache
def _trust() -> ssl.SSLContext:
    """What certificates are checked against, read once for all connections."""
    return tls_context(None)


def credential(signer: Authorizer, context: DriverContext) -> Any:
    """What the library asks for tokens: the policy's, or those of the app. Raises ConfigError."""
    if isinstance(signer, ServiceBusSas):
        return SasCredential(signer)
    return TokenCredential(signer, context)


class SasCredential:
    """Signatures of a shared access policy."""

    token_type = _SAS

    def __init__(self, signer: ServiceBusSas) -> None:
        self._signer = signer

    async def get_token(self, *scopes: str, **_: Any) -> AccessToken:
        """A token for the entity that `scopes` names (`sb://host/entity`)."""
        return AccessToken(*self._signer.token(scopes[0]))


class TokenCredential:
    """The token with which the requests over HTTP are signed: it is for messages too."""

    def __init__(self, signer: Authorizer, context: DriverContext) -> None:
        self._signer = signer
        self._clock = context.clock

    async def get_token(self, *scopes: str, **_: Any) -> AccessToken:
        """The present token. Where nobody knows how long it lives, it is asked for again after a while."""
        signed = await self._signer.sign(Unsigned("GET", "https://servicebus.azure.net/", {}))
        kind, _space, token = signed.headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer" or not token:
            raise CredentialError("This way to sign in gives no token for messages.", code="credentials")
        left: float = _SHORT_LIVED
        if isinstance(self._signer, Renewing):
            renew_at = (await self._signer.present()).renew_at
            left = renew_at - self._clock.monotonic() if renew_at is not None else left
        return AccessToken(token, int(self._clock.now_ms() / 1000 + max(left, 1)))


def _judged(error: BaseException, condition: str, shown: str, at: str) -> PlatintError:
    text = _text(error)
    code = condition or "servicebus"
    inner = type(getattr(error, "inner_exception", None)).__name__
    if isinstance(error, sb.ServiceBusAuthenticationError) or inner == "AuthenticationException":
        return CredentialError(
            f"The namespace refuses the sign-in: {text}",
            where=at,
            hint="Check the policy and its key.",
            code=code,
        )
    if isinstance(error, sb.ServiceBusAuthorizationError):
        return CredentialError(
            f"Not allowed: {text}",
            where=at,
            hint="Give the policy the right Listen to receive, Send to send; an app the role Azure Service Bus "
            "Data Receiver or Data Sender.",
            code=code,
        )
    if isinstance(error, sb.MessagingEntityNotFoundError):
        return ConfigError(
            f"There is no '{shown}' in this namespace.", where=at, hint="Check its name.", code=code
        )
    if isinstance(error, sb.MessagingEntityDisabledError):
        return ConfigError(f"'{shown}' is disabled.", where=at, hint="Enable it in the portal.", code=code)
    if isinstance(error, sb.ServiceBusQuotaExceededError):
        return ConfigError(
            f"'{shown}' is full or has too many connections: {text}",
            where=at,
            hint="Receive messages from it, or from its dead letters, or raise its size.",
            code=code,
        )
    if isinstance(error, sb.MessageSizeExceededError):
        return RecordError(
            f"The message is larger than '{shown}' takes.",
            where=at,
            hint="Send fewer fields.",
            code="too_large",
        )
    if condition == "amqp:not-allowed" and "session" in text.lower():
        return needs_sessions(shown, at)
    transient = (
        sb.ServiceBusConnectionError,
        sb.ServiceBusCommunicationError,
        sb.ServiceBusServerBusyError,
        sb.OperationTimeoutError,
        sb.MessageLockLostError,
    )
    if isinstance(error, transient) or not condition or condition in _PASSING:
        return TransientError(f"The connection failed: {text}", where=at, code=code)
    return SystemicError(f"The namespace answers: {text}", where=at, code=code)


_PASSING = frozenset({"amqp:internal-error", "com.microsoft:timeout", "com.microsoft:container-close"})


def needs_sessions(entity: str, where: str) -> ConfigError:
    """An entity whose messages are received by sessions."""
    return ConfigError(
        f"'{clean(entity)}' has sessions; its messages can be sent here, not received.",
        where=where,
        hint="Forward them to a queue without sessions, and read that one.",
        code="sessions",
    )


def _text(error: BaseException) -> str:
    told = str(error).split("\n", 1)[0].strip() or type(error).__name__
    return clean(REDACTOR.redact(told))[:300]
