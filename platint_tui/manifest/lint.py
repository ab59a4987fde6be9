"""What the types cannot say of a manifest: names that must exist, secrets that must stay in `auth`, hosts,
keys, tests.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from platint_tui.core.errors import ConfigError
from platint_tui.core.model import Json
from platint_tui.manifest import hosts
from platint_tui.manifest.findings import Findings, check_path, texts
from platint_tui.manifest.lint_resources import check_resources
from platint_tui.manifest.patterns import compile_pattern, matches
from platint_tui.manifest.problems import Problem, did_you_mean, listing, shown
from platint_tui.manifest.template import compile_template
from platint_tui.manifest.yamltext import Document, PathKey

if TYPE_CHECKING:
    from platint_tui.manifest.schema import Connector

_KNOWN = {
    "run": ("run.item_key", "run.id", "run.sync", "run.stream"),
    "cursor": ("cursor.start", "cursor.end"),
    "resource": ("resource.name",),
}
_SECRET_KEYS = ("secret", "client_secret", "password", "client_id", "username")


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
    _tests(found, connector)
    return found.problems


# --- templates ------------------------------------------------------------------------------------------


def _templates(found: Findings, merged: Mapping[str, Json], connector: Connector | None) -> None:
    for section in ("auth", "transport", "check", "resources"):
        for path, text in texts(merged.get(section), (section,)):
            if "${" not in text or path[-2:-1] == ("notes",) or path[-1] == "description":
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
    if path[0] != "resources":
        return ("profile",)
    if len(path) > 2 and path[2] == "write":
        return ("profile", "record", "run", "resource")
    return ("profile", "parent", "cursor", "page", "run", "resource")


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
    auth = connector.auth
    used = set()
    for key in _SECRET_KEYS:
        name = getattr(auth, key, None)
        if name is None:
            continue
        used.add(name)
        field = connector.profile.field(name)
        if field is None:
            suggestion = did_you_mean(name, [item.id for item in connector.profile.fields])
            found.add(("auth", key), f"the profile has no field '{name}'{suggestion}")
        elif key in ("secret", "client_secret", "password") and not field.secret:
            found.add(("auth", key), f"the profile field '{name}' must be marked `secret: true`")
    for number, field in enumerate(connector.profile.fields):
        if field.secret and field.id not in used and auth.type != "driver" and not field.used_by:
            found.add(("profile", "fields", number, "id"), f"the secret '{field.id}' is not used by auth")
    if (auth.type == "driver") != (connector.driver != "http"):
        fit = "driver" if connector.driver != "http" else "none, bearer, basic, api_key or oauth2"
        found.add(("auth", "type"), f"the driver '{connector.driver}' signs in with auth of type {fit}")
    token_url = getattr(auth, "token_url", None)
    if token_url is not None:
        _address(found, ("auth", "token_url"), token_url, connector)


def _transport(found: Findings, connector: Connector) -> None:
    transport = connector.transport
    if connector.driver != "http":
        for key, value in (("base_url", transport.base_url), ("allowed_hosts", transport.allowed_hosts)):
            if value:
                found.add(("transport", key), f"the driver '{connector.driver}' does not use this")
        return
    if not transport.allowed_hosts:
        found.add(
            ("transport", "allowed_hosts"), "is missing: name the hosts that credentials may be sent to"
        )
    for number, entry in enumerate(transport.allowed_hosts):
        path: PathKey = ("transport", "allowed_hosts", number)
        name = hosts.profile_field(entry)
        if name is None:
            try:
                hosts.literal_origin(entry)
            except ConfigError as error:
                found.error(path, error)
        elif (field := connector.profile.field(name)) and field.type != "url":
            found.add(path, f"the profile field '{name}' must be of type url")
        elif field and not field.required and field.default is None:
            found.add(path, f"the profile field '{name}' must be required or have a default")
    if not transport.base_url:
        found.add(("transport", "base_url"), "is missing")
    else:
        _address(found, ("transport", "base_url"), transport.base_url, connector)


def _address(found: Findings, path: PathKey, address: str, connector: Connector) -> None:
    """An address must lead to an allowed host, for every value that the profile may have."""
    allowed = connector.transport.allowed_hosts
    try:
        expressions = compile_template(address).expressions
    except ConfigError:
        return
    if not expressions:
        try:
            literal = hosts.origin(address)
            origins = {hosts.literal_origin(item) for item in allowed if hosts.profile_field(item) is None}
        except ConfigError as error:
            found.error(path, error)
            return
        if literal not in origins:
            found.add(path, f"its host ({literal}) is not in transport.allowed_hosts")
        return
    first = expressions[0]
    whole_origin = address.startswith("${") and first.path[0] == "profile" and not first.filters
    rest = address.partition("}")[2]
    if not whole_origin or (rest and not rest.startswith("/")):
        found.add(path, "must be an address, or begin with ${profile.<field>} and go on with '/'")
    elif len(first.path) == 2 and first.path[1] not in [hosts.profile_field(item) for item in allowed]:
        found.add(
            path, f"its host is not in transport.allowed_hosts; add '${{profile.{first.path[1]}}}' there"
        )


# --- errors, checks, resources, tests -------------------------------------------------------------------


def _errors(found: Findings, connector: Connector) -> None:
    for number, rule in enumerate(connector.errors.rules):
        path: PathKey = ("errors", "rules", number)
        when = rule.when
        if not (when.status or when.body or when.header or when.network or when.code):
            found.add((*path, "when"), "says nothing: name a status, body, header, network or code")
        if when.code and connector.driver == "http":
            found.add(
                (*path, "when", "code"), "codes are for databases; over http use status, header or body"
            )
        if (when.status or when.header) and connector.driver != "http":
            found.add((*path, "when"), "status and header are for http; a database has codes")
        if rule.action == "refresh_auth" and connector.auth.type != "oauth2":
            found.add((*path, "action"), "refresh_auth needs auth of type oauth2")
        if rule.wait and rule.action != "wait":
            found.add((*path, "wait"), "goes with `action: wait`")
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
        elif (connector.driver == "http") != (probe.request is not None):
            found.add(
                path, "needs a request" if connector.driver == "http" else "needs `open: true` or a query"
            )
        if probe.request:
            check_path(found, (*path, "request", "path"), probe.request.path)
    if connector.check and all(probe.optional for probe in connector.check):
        found.add(("check",), "at least one probe must not be optional")


def _tests(found: Findings, connector: Connector) -> None:
    if not connector.tests:
        found.add(("tests",), "is missing: every manifest ships tests")
    for number, test in enumerate(connector.tests):
        path: PathKey = ("tests", number)
        if test.resource and test.resource not in connector.resources:
            suggestion = did_you_mean(test.resource, connector.resources)
            found.add((*path, "resource"), f"there is no resource '{test.resource}'{suggestion}")
        if test.kind == "read":
            if not test.resource:
                found.add(path, "a read test names its resource")
            if not test.exchange:
                found.add(path, "a read test names its exchange")
            if test.expect.records is None:
                found.add((*path, "expect"), "a read test says how many records")
        else:
            if (test.exchange is None) == (test.code is None):
                found.add(path, "an error test names its exchange, or the code of a database")
            if test.expect.class_ is None or test.expect.action is None:
                found.add((*path, "expect"), "an error test says class and action")
