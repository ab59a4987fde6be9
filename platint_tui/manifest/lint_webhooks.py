"""What the types cannot say of `webhooks`: secrets that must exist and be secret, resources that must be there,
handshakes that reveal nothing, and tests.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from platint_tui.core.errors import ConfigError
from platint_tui.manifest.findings import Findings, texts
from platint_tui.manifest.kinds import kind_of
from platint_tui.manifest.problems import did_you_mean, shown
from platint_tui.manifest.template import compile_template
from platint_tui.manifest.verifying import alternatives_of, required_of
from platint_tui.manifest.webhooks import SHOWN
from platint_tui.manifest.yamltext import PathKey

if TYPE_CHECKING:
    from platint_tui.manifest.schema import Connector, TestCase
    from platint_tui.manifest.webhooks import EventMap, Handshake, Webhooks

_REPLY_PLACE = re.compile(r"\$\{(?:request|header|query)\.[^{}]+\}")
_NEVER_KEPT = frozenset({"authorization", "proxy-authorization", "cookie"})


def check_webhooks(found: Findings, connector: Connector) -> None:
    """All findings in the section `webhooks`."""
    webhooks = connector.webhooks
    if webhooks is None:
        return
    if not kind_of(connector.driver).http:
        found.add(("webhooks",), f"the driver '{connector.driver}' has none: they are for http")
    _schemes(found, connector, webhooks)
    _kept(found, webhooks)
    names: set[str] = set()
    for number, handshake in enumerate(webhooks.handshakes):
        path: PathKey = ("webhooks", "handshakes", number)
        if handshake.name in names:
            found.add((*path, "name"), f"there are two handshakes called '{handshake.name}'")
        names.add(handshake.name)
        _handshake(found, path, handshake)
    for number, entry in enumerate(webhooks.map):
        _entry(found, ("webhooks", "map", number), entry, connector)
        _reached(found, number, webhooks)
    _tested(found, connector, webhooks)


def check_webhook_test(found: Findings, path: PathKey, test: TestCase, connector: Connector) -> None:
    """What a test of kind webhook must name."""
    webhooks, expect = connector.webhooks, test.expect
    if webhooks is None:
        found.add(path, "there is no section `webhooks` to test")
        return
    if not test.exchange:
        found.add(path, "a webhook test names its exchange, the file of the request")
    if expect.accepted is None and expect.handshake is None:
        found.add((*path, "expect"), "a webhook test says whether it is accepted, or which handshake it is")
    if expect.accepted is False and expect.cause is None:
        found.add((*path, "expect", "cause"), "is missing: why the request is refused")
    known = [item.name for item in webhooks.handshakes]
    if expect.handshake is not None and expect.handshake not in known:
        text = f"there is no handshake {shown(expect.handshake)}{did_you_mean(expect.handshake, known)}"
        found.add((*path, "expect", "handshake"), text)


def _schemes(found: Findings, connector: Connector, webhooks: Webhooks) -> None:
    for number, scheme in enumerate(webhooks.verify):
        path: PathKey = ("webhooks", "verify", number)
        if scheme.scheme == "none" and len(webhooks.verify) > 1:
            found.add(path, "`none` stands alone: beside it every other scheme would be for nothing")
        secrets = getattr(scheme, "secret", ())
        for name in dict.fromkeys((*alternatives_of(scheme), *required_of(scheme))):
            field = connector.profile.field(name)
            if field is None:
                suggestion = did_you_mean(name, [item.id for item in connector.profile.fields])
                found.add(path, f"the profile has no field '{name}'{suggestion}")
            elif name in secrets and not field.secret:
                found.add(path, f"the profile field '{name}' must be marked `secret: true`")


def _kept(found: Findings, webhooks: Webhooks) -> None:
    secret = _NEVER_KEPT | {
        str(header).lower()
        for item in webhooks.verify
        if item.scheme in SHOWN and (header := getattr(item, "header", None))
    }
    for number, name in enumerate(webhooks.keep_headers):
        if name.lower() in secret:
            found.add(("webhooks", "keep_headers", number), "holds a secret, which is never stored")


def _handshake(found: Findings, path: PathKey, handshake: Handshake) -> None:
    given = (handshake.headers, handshake.query, handshake.when, handshake.form)
    if not any(given):
        found.add(path, "needs something to be recognised by: headers, query, when or form")
    if handshake.tells is not None and handshake.verified:
        found.add((*path, "tells"), "is for a handshake that is not verified; others are kept as events")
    if handshake.visit is not None:
        if not handshake.verified:
            found.add((*path, "visit"), "needs `verified: true`: nobody else may say what is called")
        if not handshake.visit_hosts:
            found.add((*path, "visit_hosts"), "is missing: the hosts that may be called")
    for number, host in enumerate(handshake.visit_hosts):
        labels = host.split(".")
        if len(labels) < 2 or "*" in labels[-2:]:
            found.add((*path, "visit_hosts", number), "is too wide: name at least a domain and its ending")
    for place, text in texts({"reply": handshake.reply, "reply_headers": handshake.reply_headers}, path):
        if "${" in _REPLY_PLACE.sub("", text):
            found.add(place, "may hold ${request.…}, ${header.…} and ${query.…} only")


def _entry(found: Findings, path: PathKey, entry: EventMap, connector: Connector) -> None:
    resource = connector.resources.get(entry.resource)
    if resource is None:
        suggestion = did_you_mean(entry.resource, connector.resources)
        found.add((*path, "resource"), f"there is no resource '{entry.resource}'{suggestion}")
    elif entry.op == "delete" and resource.key == ():
        found.add((*path, "op"), "a record without a key cannot be deleted")
    if entry.resource.endswith("*") != (entry.of is not None):
        text = "goes with a family like items.*" if entry.of else "is needed: which of the family it is"
        found.add((*path, "of"), text)
    if entry.encoded is not None and entry.record is None:
        found.add((*path, "encoded"), "needs `record`: where the encoded text is")
    for place, text in texts(dict(entry.fields), (*path, "fields")):
        try:
            expressions = compile_template(text).expressions
        except ConfigError as error:
            found.error(place, error)
            continue
        for expression in expressions:
            if expression.path[0] not in ("record", "parent"):
                found.add(place, f"'{expression.path[0]}' is not known here, only record or parent")


def _reached(found: Findings, number: int, webhooks: Webhooks) -> None:
    """An entry is of no use when an earlier one for its resource takes all of its types."""
    entry = webhooks.map[number]
    same = [
        before
        for before in webhooks.map[:number]
        if before.resource == entry.resource and before.record == entry.record and not before.when
    ]
    if any(all(any(_covers(wide, item) for wide in before.types) for item in entry.types) for before in same):
        found.add(("webhooks", "map", number), "is never reached: an earlier entry takes its events")


def _covers(wide: str, narrow: str) -> bool:
    if wide == narrow:
        return True
    head, star, tail = wide.partition("*")
    return star == "*" and tail == "" and narrow.startswith(head)


def _tested(found: Findings, connector: Connector, webhooks: Webhooks) -> None:
    expected: list[Any] = [test.expect for test in connector.tests if test.kind == "webhook"]
    painted = any(item.scheme == "none" for item in webhooks.verify)
    if not any(item.accepted and item.events for item in expected):
        found.add(("tests",), "lacks a webhook test of a request that is accepted, with its events")
    if not painted and not any(item.accepted is False for item in expected):
        found.add(("tests",), "lacks a webhook test of a request that is refused")
    for handshake in webhooks.handshakes:
        if not any(item.handshake == handshake.name for item in expected):
            found.add(("tests",), f"lacks a webhook test of the handshake '{handshake.name}'")
