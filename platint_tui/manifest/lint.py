"""What the types cannot say of a manifest: names that must exist, secrets that must stay in `auth`, hosts,
keys, tests.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from platint_tui.core.errors import ConfigError
from platint_tui.core.model import Json
from platint_tui.manifest import hosts
from platint_tui.manifest.loader import origin_of
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
    found = _Findings(document)
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
    _resources(found, connector)
    _tests(found, connector)
    return found.problems


class _Findings:
    """Collects problems by path."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._raw = document.data
        self.problems: list[Problem] = []

    def add(self, path: PathKey, text: str) -> None:
        """Something is wrong at `path` of the merged data."""
        problem = self._document.problem(origin_of(self._raw, path), text.rstrip("."))
        if problem not in self.problems:
            self.problems.append(problem)

    def error(self, path: PathKey, error: ConfigError) -> None:
        """An error of another module, at `path`."""
        self.add(path, f"{error.message} {error.hint}".strip())


# --- templates ------------------------------------------------------------------------------------------


def _templates(found: _Findings, merged: Mapping[str, Json], connector: Connector | None) -> None:
    for section in ("auth", "transport", "check", "resources"):
        for path, text in _texts(merged.get(section), (section,)):
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


def _texts(value: Json, path: PathKey) -> Iterator[tuple[PathKey, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, Mapping):
        for name, item in value.items():
            yield from _texts(item, (*path, name))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _texts(item, (*path, number))


def _roots_for(path: PathKey) -> tuple[str, ...]:
    """What a template at this place may look up."""
    if path[0] != "resources":
        return ("profile",)
    if len(path) > 2 and path[2] == "write":
        return ("profile", "record", "run", "resource")
    return ("profile", "parent", "cursor", "page", "run", "resource")


def _profile_reference(
    found: _Findings, path: PathKey, names: tuple[str, ...], connector: Connector | None
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


def _profile(found: _Findings, connector: Connector) -> None:
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


def _pattern(found: _Findings, path: PathKey, pattern: str | None) -> None:
    if pattern:
        try:
            compile_pattern(pattern)
        except ConfigError as error:
            found.error(path, error)


def _auth(found: _Findings, connector: Connector) -> None:
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


def _transport(found: _Findings, connector: Connector) -> None:
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


def _address(found: _Findings, path: PathKey, address: str, connector: Connector) -> None:
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


def _errors(found: _Findings, connector: Connector) -> None:
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


def _probes(found: _Findings, connector: Connector) -> None:
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
            _path(found, (*path, "request", "path"), probe.request.path)
    if connector.check and all(probe.optional for probe in connector.check):
        found.add(("check",), "at least one probe must not be optional")


def _path(found: _Findings, path: PathKey, text: str) -> None:
    """Paths begin with a slash, hold no query and no dot segments."""
    plain = text.lower().replace("%2e", ".")
    if not text.startswith("/") or text.startswith("//"):
        found.add(path, f"a path begins with one '/', {shown(text)} does not")
    elif "?" in text or "#" in text:
        found.add(path, "a path holds no '?' and no '#'; parameters go under query")
    elif {".", ".."} & set(plain.split("/")):
        found.add(path, "a path holds no '.' and no '..'")
    elif not text.isascii() or not text.isprintable() or " " in _literals(text):
        found.add(path, "a path is printable ASCII without spaces; encode others with %")


def _literals(text: str) -> str:
    try:
        return "".join(part for part in compile_template(text).parts if isinstance(part, str))
    except ConfigError:
        return ""


def _resources(found: _Findings, connector: Connector) -> None:
    for name, resource in connector.resources.items():
        path: PathKey = ("resources", name)
        if name == "*" and connector.discover.type != "introspect":
            found.add(path, "'*' needs `discover: {type: introspect}`")
        if resource.read is None and resource.write is None and connector.driver == "http":
            found.add(path, "needs read or write")
        if connector.driver == "http":
            if resource.read is not None:
                _read(found, path, resource)
            _write(found, path, resource)
        if resource.parent is not None:
            _parent(found, (*path, "parent"), name, connector)
        uses_parent = any("${parent." in text or "${ parent." in text for _, text in _request_texts(resource))
        if uses_parent and resource.parent is None:
            found.add((*path, "read", "request"), "uses ${parent.…}, but `parent` is missing")
        names = [field.name for field in resource.fields]
        for double in sorted({item for item in names if names.count(item) > 1}):
            found.add((*path, "fields"), f"there are two fields called {shown(double)}")


def _request_texts(resource: Any) -> Iterable[tuple[PathKey, str]]:
    request = resource.read.request if resource.read else None
    return _texts(request.model_dump(), ()) if request else ()


def _read(found: _Findings, path: PathKey, resource: Any) -> None:
    read = resource.read
    if resource.key is None:
        found.add((*path, "key"), "is missing: name the fields that identify a record, or write `key: []`")
    _path(found, (*path, "read", "request", "path"), read.request.path)
    if read.request.method == "GET" and read.request.body is not None:
        found.add((*path, "read", "request", "body"), "a GET request has no body")
    if resource.estimate and read.total is None:
        found.add((*path, "estimate"), "needs `read.total`")
    if read.single and (read.records or read.page.type != "none" or read.cursor is not None):
        found.add(
            (*path, "read", "single"), "goes with `records: ''` and `page: {type: none}`, without a cursor"
        )
    cursor = read.cursor
    if cursor is not None and cursor.end_param and not cursor.start_param:
        found.add((*path, "read", "cursor", "end_param"), "needs start_param")
    for key in ("param", "limit_param", "size_param"):
        parameter = getattr(read.page, key, None)
        if parameter and parameter in read.request.query:
            found.add((*path, "read", "request", "query", parameter), "is set by `page`; remove it here")


def _write(found: _Findings, path: PathKey, resource: Any) -> None:
    if resource.write is None:
        return
    operations = {name: getattr(resource.write, name) for name in ("create", "upsert", "update", "delete")}
    if not any(operations.values()):
        found.add((*path, "write"), "needs create, upsert, update or delete")
    for name, operation in operations.items():
        if operation is None:
            continue
        if not operation.path:
            found.add((*path, "write", name, "path"), "is missing")
        else:
            _path(found, (*path, "write", name, "path"), operation.path)


def _parent(found: _Findings, path: PathKey, name: str, connector: Connector) -> None:
    seen = [name]
    current = connector.resources[name]
    while current.parent is not None:
        parent = current.parent.resource
        if parent not in connector.resources:
            found.add(
                (*path, "resource"),
                f"there is no resource '{parent}'{did_you_mean(parent, connector.resources)}",
            )
            return
        if parent in seen:
            found.add((*path, "resource"), f"goes round in a circle: {' → '.join([*seen, parent])}")
            return
        seen.append(parent)
        current = connector.resources[parent]
        if current.read is None:
            found.add((*path, "resource"), f"'{parent}' cannot be read")


def _tests(found: _Findings, connector: Connector) -> None:
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
