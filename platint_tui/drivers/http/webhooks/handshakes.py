"""Requests by which a platform asks whether somebody is there, and what is answered to them and to events."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from platint_tui.core.model import Json
from platint_tui.core.webhooks import Reply, WebhookRequest
from platint_tui.drivers.http.matching import body_holds
from platint_tui.drivers.http.webhooks.views import MISSING, HeaderTests, View, header_tests, headers_hold
from platint_tui.manifest.schema import Connector
from platint_tui.manifest.template import lookup
from platint_tui.manifest.webhooks import Handshake, Webhooks

_PLACE = re.compile(r"\$\{(request|header|query)\.([^{}]+)\}")
_UNFIT = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]|[^\x00-\xff]")
MAX_ECHO = 4096
"""Characters of a value that is sent back."""


def handshake_of(connector: Connector, request: WebhookRequest) -> Handshake | None:
    """The handshake that a request is, None for one that brings events.

    One that is not `verified` may be answered without a look at its signature; it is no event then, whoever sent it.
    """
    if connector.webhooks is None or not connector.webhooks.handshakes:
        return None
    view = View(request)
    return next((item for item, tests in _known(connector.webhooks) if _is(item, tests, view)), None)


def answer(handshake: Handshake, request: WebhookRequest) -> Reply:
    """What is answered to a handshake: only the status, fixed texts, and what the request itself has."""
    view = View(request)
    headers = {name.lower(): _header(_filled(text, view)) for name, text in handshake.reply_headers.items()}
    return _reply(handshake.status, _rendered(handshake.reply, view), headers)


def accepted(connector: Connector) -> Reply:
    """What is answered to a request whose events are stored."""
    webhooks = connector.webhooks
    if webhooks is None:
        return Reply(200, {})
    return _reply(webhooks.status, webhooks.reply, {k.lower(): v for k, v in webhooks.reply_headers.items()})


def visit_of(handshake: Handshake, request: WebhookRequest) -> str | None:
    """The address that is called to confirm a (verified) handshake: https, on a host that the manifest allows and
    at the usual port; None when there is none.
    """
    if handshake.visit is None:
        return None
    url = lookup(_element(View(request)), handshake.visit)
    if not isinstance(url, str) or not url.isascii() or not url.isprintable() or " " in url:
        return None
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return None
    usual = parts.scheme == "https" and port in (None, 443) and parts.username is None
    return url if usual and any(_on(host, item) for item in handshake.visit_hosts) else None


_Known = tuple[tuple[Handshake, HeaderTests], ...]
_KNOWN: dict[int, tuple[Webhooks, _Known]] = {}
_MAX_KNOWN = 200


def _known(webhooks: Webhooks) -> _Known:
    """The handshakes with the tests of their headers, compiled once."""
    found = _KNOWN.get(id(webhooks))
    if found is not None and found[0] is webhooks:
        return found[1]
    known = tuple((item, header_tests(item.headers)) for item in webhooks.handshakes)
    if len(_KNOWN) >= _MAX_KNOWN:
        _KNOWN.clear()
    _KNOWN[id(webhooks)] = (webhooks, known)
    return known


def _is(handshake: Handshake, tests: HeaderTests, view: View) -> bool:
    if handshake.method != view.request.method:
        return False
    if not headers_hold(tests, view.headers):
        return False
    if any(name.lower() in view.headers for name in handshake.without):
        return False
    if any(name not in view.query for name in handshake.query):
        return False
    if handshake.form and (not view.is_form or set(view.form) != set(handshake.form)):
        return False
    if not handshake.when:
        return True
    element = _element(view)
    return element is not MISSING and all(body_holds(test, element) for test in handshake.when)


def _element(view: View) -> Json:
    """The JSON body, or the first of a list."""
    document = view.document
    if isinstance(document, list):
        return document[0] if document else MISSING
    return document


def _on(host: str, pattern: str) -> bool:
    """Whether a host is the one of the pattern; `*` is one label."""
    mine, theirs = host.lower().split("."), pattern.lower().split(".")
    return len(mine) == len(theirs) and all(
        label == wanted or (wanted == "*" and label != "") for label, wanted in zip(mine, theirs, strict=True)
    )


def _rendered(template: Json, view: View) -> Json:
    if isinstance(template, str):
        whole = _PLACE.fullmatch(template)
        if whole is not None:
            return _value(view, whole[1], whole[2])
        return _filled(template, view)
    if isinstance(template, Mapping):
        return {name: _rendered(item, view) for name, item in template.items()}
    if isinstance(template, list | tuple):
        return [_rendered(item, view) for item in template]
    return template


def _filled(text: str, view: View) -> str:
    return _PLACE.sub(lambda match: str(_value(view, match[1], match[2])), text)


def _value(view: View, kind: str, name: str) -> Json:
    """A value of the request that is sent back: a short text or a number, else ''."""
    if kind == "request":
        value = lookup(_element(view), name)
    else:
        value = view.headers.get(name.lower()) if kind == "header" else view.query.get(name)
    if isinstance(value, str):
        return value[:MAX_ECHO]
    return value if isinstance(value, int) and abs(value) < 1 << 63 else ""


def _header(text: str) -> str:
    return _UNFIT.sub("", text)


def _reply(status: int, body: Json, headers: Mapping[str, str]) -> Reply:
    """A text is sent as text (never taken for a page by a browser), everything else as JSON."""
    guarded = {"x-content-type-options": "nosniff"}
    if body is None:
        return Reply(status, {**guarded, **headers})
    if isinstance(body, str):
        data, kind = body.encode("utf-8", "replace"), "text/plain; charset=utf-8"
    else:
        data, kind = json.dumps(body).encode(), "application/json"
    return Reply(status, {**guarded, "content-type": kind, **headers}, data)
