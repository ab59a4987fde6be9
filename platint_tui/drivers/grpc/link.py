"""The channel to one server, and what its status codes mean."""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from platint_tui.core.errors import (
    ConfigError,
    CredentialError,
    PlatintError,
    RateLimited,
    RecordError,
    SystemicError,
    TransientError,
)
from platint_tui.core.redaction import REDACTOR
from platint_tui.core.secret import Secret
from platint_tui.core.text import clean
from platint_tui.drivers.base import DriverContext
from platint_tui.drivers.grpc.known import detail_of
from platint_tui.drivers.judged import by_rules
from platint_tui.manifest.schema import Connector

_TARGET = re.compile(r"(?:[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\]):(\d{1,5})")
_METADATA = re.compile(r"[a-z0-9_.-]{1,64}")
_OURS = ("authorization", "te", "content-type", "user-agent")
_UNCONNECTED = ("failed to connect", "dns resolution failed", "connection refused", "handshake failed")
_USUAL_WAIT = 30.0
_TYPES: Mapping[str, tuple[type[PlatintError], str]] = {
    "UNAUTHENTICATED": (CredentialError, "Check the token of the profile."),
    "PERMISSION_DENIED": (ConfigError, "Give the account the permission for this method."),
    "NOT_FOUND": (ConfigError, "Correct the request in the manifest, or the name of the stream."),
    "UNIMPLEMENTED": (ConfigError, "Discover the streams again: the server has no such method."),
    "FAILED_PRECONDITION": (ConfigError, ""),
    "INVALID_ARGUMENT": (ConfigError, "Correct `call: {request: …}` of the stream in the manifest."),
    "OUT_OF_RANGE": (ConfigError, ""),
    "ALREADY_EXISTS": (ConfigError, ""),
    "UNAVAILABLE": (TransientError, "Check the target, and that the server runs."),
    "DEADLINE_EXCEEDED": (TransientError, "Raise the deadline in the profile if the server needs longer."),
    "ABORTED": (TransientError, ""),
    "CANCELLED": (TransientError, ""),
}
_REFUSED_ROW = frozenset({"INVALID_ARGUMENT", "ALREADY_EXISTS", "OUT_OF_RANGE"})


@dataclass(frozen=True, slots=True)
class Address:
    """Where the server is, what goes along with every call, and how long a call may take."""

    target: str
    tls: bool
    ca_file: str | None
    token: Secret | None
    metadata: tuple[tuple[str, str], ...]
    deadline: float
    connect_seconds: float
    connector: Connector

    @property
    def where(self) -> str:
        """The place as error messages name it."""
        return f"grpc://{self.target}"


def address_of(context: DriverContext) -> Address:
    """The address in a profile. Raises ConfigError naming the field."""
    fields, name = context.profile.fields, context.profile.name
    target = fields.get("target", "")
    match = _TARGET.fullmatch(target)
    if match is None or not 0 < int(match.group(1)) < 65_536:
        raise ConfigError(
            f"'{clean(target)}' is no target of the form host:port.", where=name, hint="Edit the profile."
        )
    deadline = fields.get("deadline") or "60"
    if not (deadline.isascii() and deadline.isdigit() and 0 < int(deadline[:9]) <= 86_400):
        raise ConfigError(
            f"'{clean(deadline)}' is no deadline.", where=name, hint="Write seconds, from 1 to 86400."
        )
    transport = context.connector.transport
    return Address(
        target,
        fields.get("tls", "verify-full") != "disable",
        fields.get("ca_file") or transport.ca_file,
        context.secrets.get("token"),
        _metadata(fields.get("metadata", ""), name),
        float(deadline),
        transport.timeout.connect,
        context.connector,
    )


def _metadata(text: str, profile: str) -> tuple[tuple[str, str], ...]:
    found = []
    for item in filter(None, (part.strip() for part in text.split(","))):
        key, equals, value = (part.strip() for part in item.partition("="))
        reserved = key in _OURS or key.startswith("grpc-") or key.endswith("-bin")
        if not equals or not _METADATA.fullmatch(key) or reserved or not value.isascii():
            raise ConfigError(
                f"'{clean(item)}' is no metadata.",
                where=profile,
                hint="Write name=value, with commas between them; the token has a field of its own.",
            )
        found.append((key, value))
    return tuple(found)


class Link:
    """One channel, made on first use. Nothing goes through a proxy, and nothing is sent twice by the library."""

    def __init__(self, address: Address, *, most: int, heartbeat: float) -> None:
        self.address = address
        self._options = (
            ("grpc.enable_http_proxy", 0),
            ("grpc.service_config_disable_resolution", 1),
            ("grpc.enable_retries", 0),
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.max_receive_message_length", most),
            ("grpc.max_send_message_length", most),
            ("grpc.keepalive_time_ms", int(heartbeat * 1000)),
            ("grpc.keepalive_timeout_ms", int(address.connect_seconds * 1000)),
            ("grpc.http2.max_pings_without_data", 0),
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.min_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", 2_000),
        )
        self._channel: grpc.aio.Channel | None = None

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What goes along with every call."""
        token = self.address.token
        own = () if token is None else (("authorization", f"Bearer {token.reveal()}"),)
        return (*own, *self.address.metadata)

    @property
    def channel(self) -> grpc.aio.Channel:
        """The channel. Raises ConfigError when the CA file cannot be read."""
        if self._channel is None:
            # The name is never looked for as another scheme (unix:, xds:).
            target = f"dns:///{self.address.target}"
            if self.address.tls:
                trusted = grpc.ssl_channel_credentials(_roots(self.address))
                self._channel = grpc.aio.secure_channel(target, trusted, options=self._options)
            else:
                self._channel = grpc.aio.insecure_channel(target, options=self._options)
        return self._channel

    async def unary(self, path: str, request: bytes, *, seconds: float | None = None) -> bytes:
        """The answer of a unary method. Raises grpc.aio.AioRpcError."""
        method: Any = self.channel.unary_unary(path)
        timeout = self.address.deadline if seconds is None else seconds
        answer: bytes = await method(request, timeout=timeout, metadata=self.metadata)
        return answer

    async def close(self) -> None:
        """Close the channel; calls that are still open end."""
        channel, self._channel = self._channel, None
        if channel is not None:
            await channel.close()


def _roots(address: Address) -> bytes | None:
    if address.ca_file:
        try:
            return Path(address.ca_file).expanduser().read_bytes()
        except OSError as error:
            raise ConfigError(
                f"The file of certificate authorities cannot be read: {error.strerror}.",
                where=address.ca_file,
            ) from None
    # Said here, so that no variable of the environment has a say.
    known = ssl.create_default_context().get_ca_certs(binary_form=True)
    return "".join(map(ssl.DER_cert_to_PEM_cert, known)).encode() or None


def code_of(error: grpc.aio.AioRpcError) -> str:
    """The name of the status code."""
    return str(error.code().name)


def never_sent(error: grpc.aio.AioRpcError) -> bool:
    """Whether the call ended before there was a connection to send it over."""
    details = (error.details() or "").lower()
    return code_of(error) == "UNAVAILABLE" and any(text in details for text in _UNCONNECTED)


def translate(
    error: grpc.aio.AioRpcError, address: Address, context: DriverContext, act: str, *, writing: bool = False
) -> PlatintError:
    """What a status means for the operator. `act` is what was tried: `read shop.v1.Orders/List`."""
    code = code_of(error)
    said = clean(REDACTOR.redact(error.details() or ""))[:500]
    own = _of_ours(error, said, address)
    if own is not None:
        return own
    wait = wait_of(error)
    if code == "RESOURCE_EXHAUSTED":
        until = context.clock.now_ms() + int((_USUAL_WAIT if wait is None else wait) * 1000)
        return RateLimited(
            f"The server limits how often it is called ({clean(act)}): {said}",
            until_ms=until,
            where=address.where,
        )
    wanted, hint = _TYPES.get(code, (SystemicError, ""))
    if writing and code in _REFUSED_ROW:
        wanted, hint = RecordError, ""
    message = f"{clean(act)} ended with {code}{f': {said}' if said else '.'}"
    base = wanted(message, hint=hint, where=address.where, code=code)
    judged = by_rules(base, address.connector, code)
    # A rule about records is about rows that are written, not about a request of ours.
    return base if isinstance(judged, RecordError) and not writing else judged


def _of_ours(error: grpc.aio.AioRpcError, said: str, address: Address) -> PlatintError | None:
    """Errors that the library found on this side."""
    if code_of(error) == "RESOURCE_EXHAUSTED" and "larger than max" in said:
        return ConfigError(
            f"A message is larger than this program takes: {said}.",
            where=address.where,
            hint="Raise `max_message` of the source in a manifest of your own, or ask for smaller pages.",
            code="message_size",
        )
    if code_of(error) == "UNAVAILABLE" and "CERTIFICATE_VERIFY_FAILED" in said.upper():
        return ConfigError(
            "The server's certificate is not trusted.",
            where=address.where,
            hint="Give the certificate authority in the profile's ca_file.",
            code="tls",
        )
    if code_of(error) == "UNAVAILABLE" and "handshake failed" in said.lower():
        return ConfigError(
            f"There is no TLS connection to the server: {said}.",
            where=address.where,
            hint="Set the profile's tls as the server has it.",
            code="tls",
        )
    return None


def trailing(error: grpc.aio.AioRpcError) -> dict[str, Any]:
    """The trailing metadata by name."""
    found = error.trailing_metadata()
    return {str(key): value for key, value in found} if found else {}


def wait_of(error: grpc.aio.AioRpcError) -> float | None:
    """How many seconds the server wants us to wait: its pushback (gRFC A6), RetryInfo, or retry-after."""
    told = trailing(error)
    pushback = str(told.get("grpc-retry-pushback-ms", ""))
    if pushback.isdigit():
        return int(pushback[:9]) / 1000
    status = told.get("grpc-status-details-bin")
    info = detail_of(status, "RetryInfo") if isinstance(status, bytes) else None
    if info is not None:
        return float(max(0.0, info.retry_delay.seconds + info.retry_delay.nanos / 1e9))
    after = str(told.get("retry-after", ""))
    return float(int(after[:9])) if after.isdigit() else None


def violated(error: grpc.aio.AioRpcError) -> str:
    """The field that the server names as wrong, "" where it names none."""
    status = trailing(error).get("grpc-status-details-bin")
    found = detail_of(status, "BadRequest") if isinstance(status, bytes) else None
    return str(found.field_violations[0].field) if found is not None and found.field_violations else ""
