"""The events of a verified request, as the manifest's `webhooks.event` finds them. Pure: nothing is asked and
nothing is kept.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from email.utils import parsedate_to_datetime
from functools import partial
from urllib.parse import unquote_plus

from platint_tui.core.errors import SystemicError
from platint_tui.core.events import NewEvent
from platint_tui.core.jsontext import split_page
from platint_tui.core.model import Json, Record
from platint_tui.core.webhooks import WebhookRequest
from platint_tui.drivers.http.webhooks.views import (
    MASK,
    MISSING,
    HeaderTests,
    View,
    decoded,
    header_tests,
    headers_hold,
)
from platint_tui.manifest.schema import Connector
from platint_tui.manifest.template import lookup
from platint_tui.manifest.verifying import Verify
from platint_tui.manifest.webhooks import SHOWN, EventFields, Webhooks

MAX_ID = 256
"""Characters of an event's id; a longer one is replaced by its hash."""
MAX_TYPE = 200
_SIGNATURES: Mapping[str, tuple[str, ...]] = {
    "standard_webhooks": tuple(
        f"{name}-{part}" for name in ("webhook", "svix") for part in ("id", "timestamp", "signature")
    ),
    "twilio": ("x-twilio-signature", "x-twilio-webhooks-signature-settings"),
    "hubspot": (
        "x-hubspot-signature",
        "x-hubspot-signature-v3",
        "x-hubspot-signature-version",
        "x-hubspot-request-timestamp",
    ),
    "rsa_cert": tuple(
        f"paypal-{name}"
        for name in ("transmission-sig", "transmission-id", "transmission-time", "cert-url", "auth-algo")
    ),
}
"""The headers of the schemes whose names the manifest does not have."""
_LATEST_MS = 253_402_300_800_000  # the year 10000

_Source = tuple[str, str | tuple[str, ...]]
_Ways = tuple[tuple[_Source, ...], ...]


@dataclass(frozen=True, slots=True)
class _Shape:
    """One of `webhooks.event`, ready to be used."""

    tests: HeaderTests
    payload: str | None
    many: tuple[str, ...] | None
    id: _Ways
    type: _Ways
    join: str
    time: _Ways
    time_format: str
    order_key: _Ways
    reads_body: bool
    varies: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class _Plan:
    """What a manifest says, ready to be used. `kept` are the headers that are stored, `hidden` the parameters of
    the address that are not.
    """

    webhooks: Webhooks
    shapes: tuple[_Shape, ...]
    kept: frozenset[str]
    hidden: frozenset[str]


_PLANS: dict[int, _Plan] = {}
_MAX_PLANS = 200


def events_of(
    connector: Connector, profile: str, request: WebhookRequest, received_ms: int, verified_by: str = ""
) -> tuple[NewEvent, ...]:
    """The events of one verified request, at least one, in their order; `verified_by` is the profile field that fits.

    A request that is not what the manifest expects (no JSON, an empty list, a list of something else than objects)
    is one event without a type. The body of an event is the exact part of the request's.
    """
    plan = _plan(connector)
    view = View(request)
    headers = view.headers
    for shape in plan.shapes:
        if not shape.tests or headers_hold(shape.tests, headers):
            break
    else:
        shape = _ANY
    view.payload = shape.payload
    kept = tuple([item for item in request.headers if item[0] in plan.kept])
    if not _is_storable("".join([value for _, value in kept])):
        kept = tuple([(name, _storable(value)) for name, value in kept])
    target = _storable(_masked(request.target, plan.hidden) if plan.hidden else request.target)
    make = partial(_event, connector.platform, profile, view, shape, received_ms, kept, target, verified_by)
    if shape.many is not None and not view.is_form:
        elements = _elements(request.body, shape.many)
        if elements:
            return tuple(make(raw, value, part) for part, (raw, value) in enumerate(elements))
    return (make(request.body, MISSING, None),)


def _event(
    platform: str,
    profile: str,
    view: View,
    shape: _Shape,
    received_ms: int,
    headers: tuple[tuple[str, str], ...],
    target: str,
    verified_by: str,
    body: bytes,
    element: Json,
    part: int | None,
) -> NewEvent:
    # Most events are the whole document: it is looked up once, where something of it is asked for.
    root = element if element is not MISSING or not shape.reads_body else view.document
    moment = _texts(view, shape.time, root, element, body) if shape.time else ()
    return NewEvent(
        profile=profile,
        platform=platform,
        event_id=_joined_id(_texts(view, shape.id, root, element, body)) or _hash_id(view.request, body),
        type=_storable(shape.join.join(_texts(view, shape.type, root, element, body)))[:MAX_TYPE],
        order_key=_joined_id(_texts(view, shape.order_key, root, element, body)),
        occurred_ms=time_ms(moment[0], shape.time_format) if moment else None,
        received_ms=received_ms,
        method=view.request.method,
        target=target,
        headers=headers,
        body=body,
        verified_by=verified_by,
        part=part,
        varies=shape.varies,
    )


def _texts(view: View, ways: _Ways, root: Json, element: Json, body: bytes) -> tuple[str, ...]:
    """The values of the first way whose sources are all there; `root` is where those of the body are looked for."""
    for way in ways:
        if len(way) == 1:
            kind, name = way[0]
            if kind == "body":
                text = _text(_member(root, name))
            elif kind == "hash":
                text = _digest(body)
            else:
                text = _text(view.value(kind, name, element))
            if text:
                return (text,)
            continue
        values = []
        for kind, name in way:
            text = _digest(body) if kind == "hash" else _text(view.value(kind, name, element))
            if not text:
                break
            values.append(text)
        else:
            return tuple(values)
    return ()


def _member(data: Json, path: str | tuple[str, ...]) -> Json:
    """`lookup` of a path that mostly is one of plain objects."""
    found = data
    for name in path:
        if type(found) is dict:
            found = found.get(name, MISSING)
        elif found is MISSING:
            break
        else:
            return lookup(data, path, MISSING)
    return found


def _text(value: Json) -> str:
    if type(value) is str:
        return value
    if value is MISSING or value is None:
        return ""
    if type(value) is bool:
        return "true" if value else "false"
    return str(value) if isinstance(value, (int, float, Decimal)) else ""


def _joined_id(values: tuple[str, ...]) -> str:
    """One id of several values, in which every value can be told from the next."""
    if not values:
        return ""
    if len(values) == 1:
        text = values[0]
    else:
        # The last needs no mark; so a URL before an id is the only thing that looks different.
        head = [item.replace("\\", "\\\\").replace(":", "\\:") for item in values[:-1]]
        text = ":".join((*head, values[-1]))
    if len(text) > MAX_ID or not _is_storable(text):
        return "sha256:" + _digest(text.encode("utf-8", "surrogatepass"))
    return text


def _hash_id(request: WebhookRequest, body: bytes) -> str:
    """The id of an event that has none: the hash of its bytes, or of its address where it has no body."""
    data = body or f"{request.method} {request.target}".encode("utf-8", "surrogatepass")
    return "sha256:" + _digest(data)


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _elements(body: bytes, path: tuple[str, ...]) -> list[tuple[bytes, Json]]:
    """The events in a list, each with its exact bytes; empty when there is no such list."""
    try:
        _, items = split_page(body, path)
    except SystemicError:
        return []
    result: list[tuple[bytes, Json]] = []
    for item in items:
        if item.raw[:1] != "{":
            return []
        value = item.value if isinstance(item, Record) else decoded(item.raw)
        result.append((item.raw.encode(), value))
    return result


def time_ms(text: str, form: str) -> int | None:
    """Epoch milliseconds of a time as a request has it, None when it is none."""
    try:
        if form in ("epoch_s", "epoch_ms"):
            number = float(text) * (1000 if form == "epoch_s" else 1)
        else:
            moment = parsedate_to_datetime(text) if form == "rfc2822" else datetime.fromisoformat(text)
            if moment.tzinfo is None:
                moment = moment.replace(tzinfo=UTC)
            number = moment.timestamp() * 1000
        return round(number) if 0 <= number < _LATEST_MS else None
    except (ValueError, OverflowError, TypeError):
        return None


def _is_storable(text: str) -> bool:
    """Whether a text can be written as UTF-8 and shown: no half of a surrogate pair, no NUL."""
    if text.isascii():
        return "\x00" not in text
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\x00" not in text


def _storable(text: str) -> str:
    if _is_storable(text):
        return text
    return text.encode("utf-8", "backslashreplace").decode().replace("\x00", "\\x00")


def _masked(target: str, hidden: frozenset[str]) -> str:
    """The path and query without the values of the parameters that are secrets."""
    path, mark, query = target.partition("?")
    if not mark or not hidden:
        return target
    parts = []
    for item in query.split("&"):
        name, equals, _ = item.partition("=")
        parts.append(f"{name}={MASK}" if equals and unquote_plus(name) in hidden else item)
    return f"{path}?{'&'.join(parts)}"


# --- what the manifest says -----------------------------------------------------------------------------


def _plan(connector: Connector) -> _Plan:
    webhooks = connector.webhooks or Webhooks.model_construct(
        event=(EventFields(),), keep_headers=(), verify=()
    )
    known = _PLANS.get(id(webhooks))
    # The object is kept with its plan, so that its id cannot become that of another one.
    if known is not None and known.webhooks is webhooks:
        return known
    plan = _compiled(webhooks)
    if connector.webhooks is not None:
        if len(_PLANS) >= _MAX_PLANS:
            _PLANS.clear()
        _PLANS[id(webhooks)] = plan
    return plan


def _compiled(webhooks: Webhooks) -> _Plan:
    shapes = tuple(_shape(item) for item in webhooks.event)
    kept = {"content-type", "user-agent", *(name.lower() for name in webhooks.keep_headers)}
    for shape in shapes:
        kept |= {name for name, _ in shape.tests}
        for ways in (shape.id, shape.type, shape.time, shape.order_key):
            kept |= {str(name) for way in ways for kind, name in way if kind == "header"}
    kept |= {name for item in webhooks.verify for name in _signature_headers(item)}
    secret = {getattr(item, "header", None) for item in webhooks.verify if item.scheme in SHOWN}
    kept -= {name.lower() for name in secret if name}
    hidden = {name for item in webhooks.verify if (name := getattr(item, "query", None))}
    return _Plan(webhooks, shapes, frozenset(kept - {"authorization", "cookie"}), frozenset(hidden))


def _signature_headers(scheme: Verify) -> set[str]:
    """The headers that a signature is in: kept, so that the check can be shown and made again. No token is one."""
    named = {getattr(scheme, name, None) for name in ("header", "timestamp", "id")}
    return {name.lower() for name in named if name} | set(_SIGNATURES.get(scheme.scheme, ()))


def _shape(fields: EventFields) -> _Shape:
    many = fields.many
    return _Shape(
        tests=header_tests(fields.headers),
        payload=fields.payload,
        many=None if many is None else () if many == "." else tuple(many.split(".")),
        id=_ways(fields.id),
        type=_ways(fields.type),
        join=fields.type_join,
        time=_ways(fields.time),
        time_format=fields.time_format,
        varies=tuple(tuple(path.split(".")) for path in fields.varies),
        order_key=_ways(fields.order_key),
        reads_body=any(
            item.startswith("body:")
            for ways in (fields.id, fields.type, fields.time, fields.order_key)
            for way in ways
            for item in way
        ),
    )


def _ways(ways: tuple[tuple[str, ...], ...]) -> _Ways:
    return tuple(tuple(_source(item) for item in way) for way in ways)


def _source(text: str) -> _Source:
    kind, _, name = text.partition(":")
    if kind in ("body", "batch"):
        return kind, tuple(name.split("."))
    return kind, name.lower() if kind == "header" else name


_ANY = _shape(EventFields())
