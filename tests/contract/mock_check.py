"""Holds requests and answers against the description, for the mock server."""

from __future__ import annotations

import re
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote

from contract.looked import STANDARD_HEADERS, form_level, signed
from contract.mock_pages import Call, Reply
from contract.schema import fewest, resolve, validate, validate_text
from contract.specs.view import Operation, View, param_schemas

SIGNING = re.compile(r"oauth_\w+|X-Amz-\w+(-\w+)*|s[evrtps]|sig|ss|srt|sip|spr|sk\w+|sdd", re.IGNORECASE)
"""Query parameters of signatures: OAuth 1.0a (RFC 5849), AWS SigV4, shared access signatures of Azure."""


@dataclass
class Verdict:
    """The operation that a request is (None: unknown), what is wrong with it, and the status to refuse it with."""

    operation: Operation | None
    problems: list[str] = field(default_factory=list)
    status: int = 200
    params: dict[str, str] = field(default_factory=dict)


def check_request(view: View, call: Call, allowed: AbstractSet[str]) -> Verdict:
    """Which operation a request is, and what the description does not allow in it."""
    verdicts: list[tuple[int, Verdict]] = []
    for weight, operation, texts in view.candidates(call.method, call.path):
        missing = [
            f"{name}={value}"
            for place, name, value in operation.selectors
            if _sent(call, place, name) != value
        ]
        if missing:
            continue
        params = {name: unquote(text) for name, text in texts.items()}
        problems, status = _problems(operation, call, params, allowed)
        score = weight + 1000 * len(operation.selectors) - 10_000 * bool(problems)
        verdicts.append((score, Verdict(operation, problems, status, params)))
    if verdicts:
        return max(verdicts, key=lambda item: item[0])[1]
    others = {item.method for item in view.operations if item.match(call.path) is not None}
    if others:
        return Verdict(None, [f"the path takes {', '.join(sorted(others))}"], 405)
    return Verdict(None, ["no such path is described"], 404)


def _sent(call: Call, place: str, name: str) -> str | None:
    if place == "query":
        return call.query.get(name)
    if place == "header":
        return call.headers.get(name.lower())
    return call.form.get(name)


def _problems(
    operation: Operation, call: Call, params: dict[str, str], allowed: AbstractSet[str]
) -> tuple[list[str], int]:
    root = operation.root
    problems: list[str] = []
    chosen = {(place, name) for place, name, _ in operation.selectors}
    for name, text in params.items():
        param = operation.path.get(name)
        if param is not None:
            problems += validate_text(text, param.schema, root, f"{{{name}}} in the path")
    for name, value in call.pairs:
        if ("query", name) in chosen or name in allowed or name not in call.query:
            continue
        schemas = param_schemas(operation.query, name, root)
        if not schemas and SIGNING.fullmatch(name):
            continue
        if not schemas:
            problems.append(f"the query parameter {name} is unknown")
        else:
            tried = [validate_text(value, schema, root, f"the query parameter {name}") for schema in schemas]
            problems += fewest(tried)
    given = {name.split("[")[0] for name in call.query}
    for name, param in operation.query.items():
        if param.required and name.split("[")[0] not in given and not signed(name):
            problems.append(f"the query parameter {name} is missing")
    for name, param in operation.header.items():
        if name in call.headers:
            if name not in STANDARD_HEADERS:
                problems += validate_text(call.headers[name], param.schema, root, f"the header {name}")
        elif param.required and name not in STANDARD_HEADERS and not signed(name):
            problems.append(f"the header {name} is missing")
    status = 400
    if not problems:
        problems, status = _body(operation, call, allowed, chosen)
    return problems, status


def _body(
    operation: Operation, call: Call, allowed: AbstractSet[str], chosen: AbstractSet[tuple[str, str]]
) -> tuple[list[str], int]:
    root = operation.root
    if not call.raw:
        needed = operation.body_required and bool(operation.body)
        return (["the body is missing"], 422) if needed else ([], 200)
    media = call.media.partition(";")[0].strip().lower()
    if not operation.body:
        return ([f"there is no body of type {media} described"] if media else [], 415)
    schemas = [schema for kind, schema in operation.body.items() if _fits(kind, media)]
    if not schemas:
        return [f"the body is of type {media}, not {' or '.join(operation.body)}"], 415
    if call.fields:
        return _form(call, operation, schemas, allowed, chosen), 422
    if "ndjson" in media or "json" not in media:
        return [], 422
    if call.body is None:
        return ["the body is no JSON"], 400
    tried = [validate(call.body, schema, root) for schema in schemas]
    return _without(fewest(tried), allowed), 422


def _fits(kind: str, media: str) -> bool:
    kind = kind.partition(";")[0].strip().lower()
    same_json = kind.endswith("json") and media.endswith("json") and "ndjson" not in kind + media
    return kind == media or kind in ("*/*", "application/*") or same_json


def _form(
    call: Call,
    operation: Operation,
    schemas: list[Any],
    allowed: AbstractSet[str],
    chosen: AbstractSet[tuple[str, str]],
) -> list[str]:
    problems = []
    for name, value in call.fields:
        if ("form", name) in chosen or name in allowed:
            continue
        level = form_level(schemas, name, operation.root)
        if not level:
            problems.append(f"the form's field {name} is unknown")
        else:
            tried = [
                validate_text(value, schema, operation.root, f"the form's field {name}") for schema in level
            ]
            problems += fewest(tried)
    given = {re.split(r"[\[.]", name)[0] for name, _ in call.fields}
    for schema in schemas[:1]:
        for name in resolve(schema, operation.root).get("required") or ():
            if name not in given:
                problems.append(f"the form's field {name} is missing")
    return problems


def _without(problems: list[str], allowed: AbstractSet[str]) -> list[str]:
    """Unknown members that the allow-list names are no problems."""
    return [
        line
        for line in problems
        if not (
            line.endswith(" is unknown") and line.removesuffix(" is unknown").rpartition(".")[2] in allowed
        )
    ]


def check_answer(operation: Operation, reply: Reply, allowed: AbstractSet[str]) -> list[str]:
    """What the description does not allow in an answer of the scenario."""
    statuses = [name for name in operation.answers if name.startswith("2")]
    status = str(reply.status)
    if statuses and not any(name in (status, f"{status[0]}XX", f"{status[0]}xx") for name in statuses):
        return [f"the status {status} is not one of {', '.join(statuses)}"]
    if reply.json is None:
        return []
    named = operation.answers.get(status, {})
    schemas = [schema for kind, schema in named.items() if "json" in kind or kind == "*/*"]
    schemas = schemas or operation.successes("json")
    if not schemas:
        return []
    tried = [validate(reply.json, schema, operation.root) for schema in schemas]
    return _without(fewest(tried), allowed)[:12]


def parsed_form(raw: bytes) -> list[tuple[str, str]]:
    """The fields of a form in order."""
    return parse_qsl(raw.decode(), keep_blank_values=True)
