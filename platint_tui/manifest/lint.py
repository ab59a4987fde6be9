"""What the types cannot say of a manifest: names that must exist, secrets that must stay in `auth`, hosts,
keys, tests.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from platint_tui.core.errors import ConfigError
from platint_tui.core.model import Json
from platint_tui.manifest import hosts
from platint_tui.manifest.addresses import texts_of
from platint_tui.manifest.findings import Findings, check_path, texts
from platint_tui.manifest.kinds import kind_of
from platint_tui.manifest.lint_limits import check_limits
from platint_tui.manifest.lint_resources import check_resources, whole_address
from platint_tui.manifest.lint_webhooks import check_webhook_test, check_webhooks
from platint_tui.manifest.patterns import compile_pattern, matches
from platint_tui.manifest.problems import Problem, did_you_mean, listing, shown
from platint_tui.manifest.signin import choices, fields_used, is_secret_key, needed_fields
from platint_tui.manifest.template import Expression, compile_template
from platint_tui.manifest.yamltext import Document, PathKey

if TYPE_CHECKING:
    from platint_tui.manifest.fields import Address
    from platint_tui.manifest.schema import Auth, Connector, FormField, OAuth2Auth, OneAuth

_KNOWN = {
    "run": ("run.item_key", "run.id", "run.sync", "run.stream"),
    "cursor": ("cursor.start", "cursor.end"),
    "resource": ("resource.name", "resource.of", "resource.fields"),
    "page": ("page.n", "page.offset", "page.end"),
    "job": ("job.id",),
    "item": ("item.id", "item.index", "item.key"),
    "items": ("items",),
}
_UNRENDERED = ("description", "document", "help", "label")


def lint(document: Document, merged: Mapping[str, Json], connector: Connector | None) -> list[Problem]:
    """All findings. `connector` is None when the types do not fit; then only what needs no types is looked
    at.
    """
    found = Findings(document)
    if connector is None:
        # The list of fields cannot be trusted then: only the syntax of templates is checked.
        _templates(found, merged, None)
        return found.problems
    _templates(found, merged, connector)
    _profile(found, connector)
    _auth(found, connector)
    _transport(found, connector)
    _errors(found, connector)
    _probes(found, connector)
    check_resources(found, connector)
    check_limits(found, connector)
    check_webhooks(found, connector)
    _tests(found, connector)
    return found.problems


# --- templates ------------------------------------------------------------------------------------------


def _templates(found: Findings, merged: Mapping[str, Json], connector: Connector | None) -> None:
    for section in ("auth", "transport", "check", "discover", "resources"):
        for path, text in texts(merged.get(section), (section,)):
            if "${" not in text or path[-2:-1] == ("notes",) or path[-1] in _UNRENDERED:
                continue
            try:
                template = compile_template(text)
            except ConfigError as error:
                found.error(path, error)
                continue
            allowed = _roots_for(path)
            for expression in template.expressions:
                root = expression.path[0]
                if root not in allowed:
                    found.add(path, f"'{root}' is not known here, only {listing(allowed)}")
                elif root == "profile":
                    _profile_reference(found, path, expression.path, connector)
                elif root in _KNOWN and expression.name not in _KNOWN[root]:
                    suggestion = did_you_mean(expression.name, _KNOWN[root])
                    found.add(path, f"'{expression.name}' is not known{suggestion}")


def _roots_for(path: PathKey) -> tuple[str, ...]:
    """What a template at this place may look up."""
    if path[0] == "auth" or "auth" in path[:4]:
        return ("profile", "bundle")
    if path[0] != "resources":
        return ("profile",)
    if len(path) > 2 and path[2] == "write":
        return ("profile", "record", "run", "resource", "items", "item")
    if len(path) > 3 and path[2:4] == ("source", "socket"):
        return ("profile", "cursor", "record", "run", "resource")
    if len(path) > 2 and path[2] == "describe":
        return ("profile", "resource")
    if len(path) > 2 and path[2] == "one":
        return ("profile", "record", "resource")
    return ("profile", "parent", "cursor", "page", "run", "resource", "job")


def _profile_reference(
    found: Findings, path: PathKey, names: tuple[str, ...], connector: Connector | None
) -> None:
    if connector is None:
        return
    field = connector.profile.field(names[1]) if len(names) == 2 else None
    if field is None:
        name = ".".join(names[1:])
        known = [item.id for item in connector.profile.fields]
        found.add(path, f"the profile has no field {shown(name)}{did_you_mean(name, known)}")
    elif field.secret:
        found.add(
            path, f"'{field.id}' is a secret: it is used in auth only, by its name and never in a template"
        )


# --- profile, auth, transport ---------------------------------------------------------------------------


def _profile(found: Findings, connector: Connector) -> None:
    seen: set[str] = set()
    for number, field in enumerate(connector.profile.fields):
        path: PathKey = ("profile", "fields", number)
        if field.id in seen:
            found.add((*path, "id"), f"there are two fields called '{field.id}'")
        seen.add(field.id)
        if field.required and field.optional:
            found.add((*path, "optional"), "a field is required or optional, not both")
        if field.secret and field.default is not None:
            found.add((*path, "default"), "a secret has no default")
        if field.exact and field.type != "url":
            found.add((*path, "exact"), "is for an address: `type: url`")
        if field.secret and field.type != "string":
            found.add((*path, "type"), "a secret is a string")
        _pattern(found, (*path, "pattern"), field.pattern)
        if field.default is not None and field.choices and str(field.default) not in field.choices:
            found.add((*path, "default"), f"{shown(str(field.default))} is not {listing(field.choices)}")
        elif field.default is not None and field.pattern and isinstance(field.default, str):
            try:
                if not matches(field.pattern, field.default):
                    found.add(
                        (*path, "default"), f"{shown(field.default)} does not match the pattern of the field"
                    )
            except ConfigError:
                pass  # the pattern itself is reported above
    production = connector.profile.production
    if production:
        _pattern(found, ("profile", "production", "pattern"), production.pattern)
        if not connector.profile.field(production.field):
            suggestion = did_you_mean(production.field, seen)
            found.add(
                ("profile", "production", "field"),
                f"the profile has no field '{production.field}'{suggestion}",
            )


def _pattern(found: Findings, path: PathKey, pattern: str | None) -> None:
    if pattern:
        try:
            compile_pattern(pattern)
        except ConfigError as error:
            found.error(path, error)


def _auth(found: Findings, connector: Connector) -> None:
    if not kind_of(connector.driver).http:
        if connector.auth.type != "driver":
            found.add(("auth", "type"), f"the driver '{connector.driver}' signs in with auth of type driver")
        return
    used: set[str] = set()
    places: list[tuple[PathKey, Auth]] = [(("auth",), connector.auth)]
    for name, endpoint in connector.transport.endpoints.items():
        if endpoint.auth is not None:
            places.append((("transport", "endpoints", name, "auth"), endpoint.auth))
    for path, auth in places:
        if auth.type != "first_of":
            _one_auth(found, path, auth, connector, used)
            continue
        before: list[tuple[str, frozenset[str]]] = []
        for number, choice in enumerate(auth.of):
            if choice.when is None:
                needs = needed_fields(choice.auth)
                for label, earlier in before:
                    if earlier <= needs:
                        text = (
                            f"is never chosen: every profile that fits it fits '{label}' before; put it first"
                        )
                        found.add((*path, "of", number), f"{text}, or say `when`")
                before.append((choice.auth.label or choice.auth.type, needs))
            if choice.when is not None:
                _known_field(found, (*path, "of", number, "when", "field"), choice.when.field, connector)
            _one_auth(found, (*path, "of", number, "auth"), choice.auth, connector, used)
    for number, field in enumerate(connector.profile.fields):
        if field.secret and field.id not in used and not field.used_by:
            found.add(("profile", "fields", number, "id"), f"the secret '{field.id}' is not used by auth")


def _one_auth(found: Findings, path: PathKey, auth: OneAuth, connector: Connector, used: set[str]) -> None:
    if auth.type == "driver":
        found.add((*path, "type"), "is for databases; over http name the scheme")
    for key, name in fields_used(auth).items():
        used.add(name)
        place: PathKey = (*path, *key.split("."))
        field = _known_field(found, place, name, connector)
        if field is not None and is_secret_key(auth, key) and not field.secret:
            found.add(place, f"the profile field '{name}' must be marked `secret: true`")
    for key in ("token_url", "authorize_url", "device_url", "sts_url"):
        _addresses(found, (*path, key), getattr(auth, key, ()), connector)
    if auth.type == "oauth2":
        _oauth2(found, path, auth)


def _oauth2(found: Findings, path: PathKey, auth: OAuth2Auth) -> None:
    asks_person = auth.grant in ("authorization_code", "device_code")
    needs = {
        "authorize_url": auth.grant == "authorization_code",
        "device_url": auth.grant == "device_code",
        "assertion": auth.grant == "jwt_bearer" or auth.client_auth == "private_key_jwt",
        "client_id": asks_person or auth.grant in ("client_credentials", "refresh_token"),
        "client_secret": auth.client_auth in ("basic", "body") and auth.grant != "jwt_bearer",
        "refresh_token": auth.grant == "refresh_token",
    }
    for key, needed in needs.items():
        if needed and not getattr(auth, key):
            found.add((*path, key), f"is needed by grant {auth.grant} with client_auth {auth.client_auth}")


def _known_field(found: Findings, path: PathKey, name: str, connector: Connector) -> FormField | None:
    field = connector.profile.field(name)
    if field is None:
        suggestion = did_you_mean(name, [item.id for item in connector.profile.fields])
        found.add(path, f"the profile has no field '{name}'{suggestion}")
    return field


def _transport(found: Findings, connector: Connector) -> None:
    transport = connector.transport
    if not kind_of(connector.driver).http:
        for key in ("base_url", "allowed_hosts", "download_hosts", "endpoints"):
            if getattr(transport, key):
                found.add(("transport", key), f"the driver '{connector.driver}' does not use this")
        return
    for key in ("allowed_hosts", "download_hosts"):
        for number, entry in enumerate(getattr(transport, key)):
            _host_entry(found, ("transport", key, number), entry, connector)
    if not transport.base_url:
        found.add(("transport", "base_url"), "is missing")
    _addresses(found, ("transport", "base_url"), transport.base_url, connector)
    for name, endpoint in transport.endpoints.items():
        _addresses(found, ("transport", "endpoints", name, "base_url"), endpoint.base_url, connector)
    if transport.plain_http and any(
        item.type != "oauth1" and item.type != "basic" for item in choices(connector.auth)
    ):
        found.add(("transport", "plain_http"), "needs auth of type oauth1, which shows no credential")


def _host_entry(found: Findings, path: PathKey, entry: str, connector: Connector) -> None:
    name = hosts.profile_field(entry)
    if name is None:
        try:
            hosts.literal_origin(entry.removeprefix("*."))
        except ConfigError as error:
            found.error(path, error)
        if hosts.is_wildcard(entry) and entry.count(".") < 2:
            found.add(path, "is too wide: name a domain below the public one, such as *.example.com")
    elif (field := connector.profile.field(name)) and field.type != "url":
        found.add(path, f"the profile field '{name}' must be of type url")
    elif field and not field.required and field.default is None:
        found.add(path, f"the profile field '{name}' must be required or have a default")


def _addresses(found: Findings, path: PathKey, address: Address, connector: Connector) -> None:
    for text in texts_of(address):
        _address(found, path, text, connector)
    if address and not any(_always(item, connector) for item in address):
        found.add(
            path,
            "none of its forms is there for every profile: make its field required, give it a default, or add one",
        )


def _always(item: str | Mapping[Any, str], connector: Connector) -> bool:
    """Whether one form of an address can be used by every profile."""
    if not isinstance(item, str):
        environments = connector.profile.environments
        return all(name in item and _always(item[name], connector) for name in environments)
    try:
        expressions = compile_template(item).expressions
    except ConfigError:
        return True  # reported where templates are checked
    fields = [connector.profile.field(part.path[-1]) for part in expressions if not part.filters]
    return all(field is None or field.required or field.default is not None for field in fields)


_HOSTILE = ("x/y", "x?y", "x#y", "x@y", "x:1", "x.evil.example")


def _address(found: Findings, path: PathKey, address: str, connector: Connector) -> None:
    """What an address leads to must be the manifest's or the operator's decision, for every value that the
    profile may have.
    """
    try:
        template = compile_template(address)
    except ConfigError:
        return
    if not template.expressions:
        try:
            hosts.origin(address, plain_http=connector.transport.plain_http)
        except ConfigError as error:
            found.error(path, error)
        return
    first = template.parts[0]
    if not isinstance(first, str):
        _whole_address(found, path, address, first, connector)
        return
    scheme, mark, _ = first.partition("://")
    if not mark or scheme not in ("https", "http"):
        found.add(path, "must begin with https://, or with ${profile.<field>} for a field of type url")
        return
    if "/" in first.partition("://")[2]:
        return  # the host is written out
    for part in template.parts[1:]:
        if isinstance(part, str):
            if "/" in part:
                return
            continue
        field = connector.profile.field(part.path[-1])
        if field is None:
            continue
        free = not field.choices and (
            not field.pattern or any(_matches(field.pattern, text) for text in _HOSTILE)
        )
        if free:
            found.add(
                path,
                f"'{field.id}' stands in the host: give the field choices, or a pattern of letters, digits and "
                "hyphens only (^[a-z0-9-]+$)",
            )


def _matches(pattern: str, text: str) -> bool:
    try:
        return matches(pattern, text)
    except ConfigError:
        return False


def _whole_address(
    found: Findings, path: PathKey, address: str, first: Expression, connector: Connector
) -> None:
    rest = address.partition("}")[2]
    field = connector.profile.field(first.path[-1]) if len(first.path) == 2 else None
    if first.path[0] != "profile" or first.filters or (rest and not rest.startswith("/")):
        found.add(path, "must be an address, or begin with ${profile.<field>} and go on with '/'")
    elif field is not None and field.type != "url":
        found.add(path, f"the profile field '{field.id}' must be of type url")


# --- errors, checks, resources, tests -------------------------------------------------------------------


def _errors(found: Findings, connector: Connector) -> None:
    writes = any(resource.write is not None for resource in connector.resources.values())
    for number, rule in enumerate(connector.errors.rules):
        path: PathKey = ("errors", "rules", number)
        when = rule.when
        if not (when.status or when.body or when.header or when.network or when.code):
            found.add((*path, "when"), "says nothing: name a status, body, header, network or code")
        if when.code and connector.driver == "http":
            found.add(
                (*path, "when", "code"), "codes are for other drivers; over http use status, header or body"
            )
        if (when.status or when.header) and not kind_of(connector.driver).http:
            found.add((*path, "when"), "status and header are for http; other drivers have codes")
        if when.op is not None and not kind_of(connector.driver).http:
            found.add((*path, "when", "op"), "is for http")
        if rule.action == "ignore" and when.op is None and writes and connector.driver == "http":
            found.add(
                (*path, "when", "op"),
                "is needed with `action: ignore`: read, or write if it is as good as done",
            )
        if rule.action == "refresh_auth" and not any(
            item.type in ("oauth2", "jwt_exchange", "aws_sigv4", "basic") for item in choices(connector.auth)
        ):
            found.add((*path, "action"), "refresh_auth needs auth that can be renewed, such as oauth2")
        if rule.wait and rule.action not in ("wait", "retry"):
            found.add((*path, "wait"), "goes with `action: wait` or retry")
        if rule.then and rule.action not in ("retry", "wait", "refresh_auth"):
            found.add((*path, "then"), "goes with retry, wait or refresh_auth")


def _probes(found: Findings, connector: Connector) -> None:
    seen: set[str] = set()
    for number, probe in enumerate(connector.check):
        path: PathKey = ("check", number)
        if probe.id in seen:
            found.add((*path, "id"), f"there are two probes called '{probe.id}'")
        seen.add(probe.id)
        given = [probe.request is not None, probe.query is not None, probe.open is not None]
        if sum(given) != 1:
            found.add(path, "needs one of request, query or open")
        elif connector.driver == "http" and probe.request is None:
            found.add(path, "needs a request")
        elif probe.request is not None and not kind_of(connector.driver).http:
            found.add(path, "needs `open: true` or a query")
        if probe.needs is not None:
            _known_field(found, (*path, "needs"), probe.needs, connector)
        if probe.request and (probe.request.path or not whole_address(connector)):
            check_path(found, (*path, "request", "path"), probe.request.path)
    if connector.check and all(probe.optional for probe in connector.check):
        found.add(("check",), "at least one probe must not be optional")


def _tests(found: Findings, connector: Connector) -> None:
    if not connector.tests:
        found.add(("tests",), "is missing: every manifest ships tests")
    for number, test in enumerate(connector.tests):
        path: PathKey = ("tests", number)
        family = f"{(test.resource or '').partition('.')[0]}.*"
        if test.resource and test.resource not in connector.resources and family not in connector.resources:
            suggestion = did_you_mean(test.resource, connector.resources)
            found.add((*path, "resource"), f"there is no resource '{test.resource}'{suggestion}")
        if test.kind == "read":
            if not test.resource:
                found.add(path, "a read test names its resource")
            if not test.exchange:
                found.add(path, "a read test names its exchange")
            if test.expect.records is None:
                found.add((*path, "expect"), "a read test says how many records")
        elif test.kind == "write":
            if not (test.resource and test.exchange and test.operation and test.rows):
                found.add(path, "a write test names its resource, operation, rows and exchange")
            if test.expect.written is None:
                found.add((*path, "expect"), "a write test says how many rows are written")
        elif test.kind in ("check", "discover"):
            if not test.exchange:
                found.add(path, f"a {test.kind} test names its exchange")
        elif test.kind == "webhook":
            check_webhook_test(found, path, test, connector)
        else:
            if (test.exchange is None) == (test.code is None):
                found.add(path, "an error test names its exchange, or the code of a database")
            if test.expect.class_ is None or test.expect.action is None:
                found.add((*path, "expect"), "an error test says class and action")
