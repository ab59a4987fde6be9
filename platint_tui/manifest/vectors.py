"""Recorded exchanges, the offline tests of a manifest: what is asked and what is answered, in order.

A file of `_vectors/<platform>/`:

    profile: {base_url: https://api.example.com}      # optional: plain fields that the exchange was
    recorded with exchanges:
      - request: {method: GET, path: /v1/items, query: {limit: '100'}}    # or a whole address as the path
        response:
          status: 200
          headers: {Content-Type: application/json}
          body: '{"items": []}'                       # the exact text, or `json:` with the same as YAML
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from platint_tui.core.errors import ConfigError
from platint_tui.core.model import Json
from platint_tui.manifest.problems import FileError, looks_secret
from platint_tui.manifest.webhook_vectors import HookVector, hook_of
from platint_tui.manifest.yamltext import Document, PathKey, parse, read_document

if TYPE_CHECKING:
    from platint_tui.manifest.schema import Connector, ErrorRule, TestCase


@dataclass(frozen=True, slots=True)
class VectorRequest:
    """What must be asked. `path` is without the path of the base URL (of any endpoint), or a whole address; None
    means that the part is not compared. Of the headers those are that are named here.
    """

    method: str
    path: str
    query: Mapping[str, str] | None = None
    body: Json = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class VectorResponse:
    """What is answered: the body is the exact text."""

    status: int
    headers: Mapping[str, str]
    body: str


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and its answer."""

    request: VectorRequest
    response: VectorResponse


@dataclass(frozen=True, slots=True)
class Vector:
    """A recorded conversation. `profile` are plain profile fields that it was recorded with."""

    name: str
    exchanges: tuple[Exchange, ...]
    profile: Mapping[str, str] = field(default_factory=dict)


def load_vector(path: Path, name: str | None = None) -> Vector:
    """Read a file of exchanges. Raises ConfigError with one line for each problem."""
    return from_document(read_document(path, name))


def load_vector_text(text: str, name: str = "<text>") -> Vector:
    """Check the text of one. Raises ConfigError like `load_vector`."""
    return from_document(parse(text, name))


def from_document(document: Document) -> Vector:
    """Check parsed exchanges. Raises ConfigError like `load_vector`."""
    from pydantic import ValidationError

    from platint_tui.manifest.describe import from_validation
    from platint_tui.manifest.vector_schema import VectorFile

    raw = document.data
    if not isinstance(raw, Mapping):
        raise FileError(
            document.name, [document.problem((), "a file of exchanges is a map of keys; this is not")]
        )
    try:
        file = VectorFile.model_validate(raw)
    except ValidationError as error:
        raise FileError(document.name, from_validation(document, raw, VectorFile, error)) from None
    problems = []
    exchanges = []
    for number, item in enumerate(file.exchanges):
        path: PathKey = ("exchanges", number, "response")
        answer = item.response
        if answer.body is not None and "json_" in answer.model_fields_set:
            problems.append(document.problem(path, "has both body and json; one is enough"))
        if answer.body is not None:
            body = answer.body
        elif "json_" in answer.model_fields_set:
            body = json.dumps(answer.json_, ensure_ascii=False)
        else:
            body = ""
        if looks_secret(body) or any(looks_secret(value) for value in answer.headers.values()):
            text = "holds something that looks like a credential; replace it"
            problems.append(document.problem(path, text))
        query = None if item.request.query is None else {k: _text(v) for k, v in item.request.query.items()}
        asked = item.request
        request = VectorRequest(asked.method, asked.path, query, asked.body, dict(asked.headers))
        exchanges.append(Exchange(request, VectorResponse(answer.status, dict(answer.headers), body)))
    if problems:
        raise FileError(document.name, problems)
    return Vector(document.name, tuple(exchanges), {k: _text(v) for k, v in file.profile.items()})


def vector_of(test: TestCase, folder: Path) -> Vector | None:
    """The exchange that a test names in `folder` (`_vectors/<platform>`), None for a test without one (and for one
    of a webhook, whose file is another).
    """
    if not test.exchange or test.kind == "webhook":
        return None
    return load_vector(folder / test.exchange, f"{folder.name}/{test.exchange}")


def rule_for_code(connector: Connector, code: str) -> ErrorRule | None:
    """The rule that decides about a native error code of a database, None when there is none.

    `class:22` in a rule stands for every code that begins with 22.
    """
    for rule in connector.errors.rules:
        for item in rule.when.code:
            prefix = item.removeprefix("class:")
            if item == code or (prefix != item and code.startswith(prefix)):
                return rule
    return None


def check_code(connector: Connector, test: TestCase) -> tuple[str, ...]:
    """What differs between an error test with a native code and the rules; empty when it passes."""
    rule = rule_for_code(connector, test.code or "")
    if rule is None:
        return (f"no rule knows the code {test.code}",)
    expected = (("class", test.expect.class_, rule.class_), ("action", test.expect.action, rule.action))
    return tuple(
        f"{name} {wanted} is expected, the rules say {got}"
        for name, wanted, got in expected
        if wanted is not None and wanted != got
    )


def check_vectors(connector: Connector, folder: Path) -> list[str]:
    """One line for each test whose exchange is missing or broken; an empty list when all can be replayed."""
    lines = []
    for test in connector.tests:
        try:
            if test.kind == "webhook":
                lines += _check_hook(connector, hook_of(test, folder))
            vector = vector_of(test, folder)
        except ConfigError as error:
            lines.append(error.sentence())
            continue
        if vector is None:
            continue
        unknown = [name for name in vector.profile if connector.profile.field(name) is None]
        if unknown:
            lines.append(f"{vector.name}: the profile of {connector.name} has no field '{unknown[0]}'")
        wanted, recorded = test.expect.requests, len(vector.exchanges)
        if wanted is not None and wanted > recorded:
            lines.append(f"{vector.name}: {wanted} requests are expected, {recorded} are recorded")
    return lines


def _check_hook(connector: Connector, vector: HookVector) -> list[str]:
    lines = []
    for name, secret in [
        *((name, False) for name in vector.profile),
        *((name, True) for name in vector.secrets),
    ]:
        field = connector.profile.field(name)
        if field is None or field.secret != secret:
            kind = "secret" if secret else "plain"
            lines.append(f"{vector.name}: the profile of {connector.name} has no {kind} field '{name}'")
    return lines


def _text(value: object) -> str:
    return ("true" if value else "false") if isinstance(value, bool) else str(value)
