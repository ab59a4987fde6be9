"""Turns pydantic's validation errors into problems with a line, a column and a sentence."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from platint_tui.manifest.problems import Problem, did_you_mean, listing, shown
from platint_tui.manifest.yamltext import Document, PathKey, step

Locate = Callable[[PathKey], PathKey]

_EXPECTED = {
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "dict_type": "a map",
    "mapping_type": "a map",
    "model_type": "a map",
    "model_attributes_type": "a map",
    "tuple_type": "a list",
    "list_type": "a list",
}


def keys_of(model: type[BaseModel]) -> list[str]:
    """The keys of a model as they are written in the file."""
    return [item.alias or name for name, item in model.model_fields.items()]


def from_validation(
    document: Document,
    data: Any,
    model: type[BaseModel],
    error: ValidationError,
    locate: Locate | None = None,
) -> list[Problem]:
    """The problems of `error`. `data` was validated; `locate` maps a path in it to one in the file."""
    problems: dict[tuple[PathKey, str], Problem] = {}
    for item in error.errors(include_url=False, include_context=True):
        path = _file_path(data, item["loc"])
        known = _models_at(model, path[:-1], data)
        kind = item["type"]
        text = _say(kind, item, path, known)
        if kind in ("union_tag_not_found", "union_tag_invalid"):
            path = (*path, "type")
        place = locate(path) if locate else path
        problem = document.problem(place, text, key=kind == "extra_forbidden")
        problems.setdefault((place, text), problem)
    return list(_without_echoes(problems))


def _without_echoes(problems: Mapping[tuple[PathKey, str], Problem]) -> Iterable[Problem]:
    """Drop what a plain union says of its other branches: one problem for each place is enough."""
    seen: dict[tuple[int, int, str], Problem] = {}
    for problem in problems.values():
        key = (problem.line, problem.column, problem.field)
        if key in seen and "unknown key" not in problem.text and "is missing" not in problem.text:
            continue
        seen.setdefault(key, problem)
        yield problem


def _file_path(data: Any, loc: tuple[int | str, ...]) -> PathKey:
    """Pydantic's location without the tags of unions, which are no part of the file."""
    path: list[int | str] = []
    for number, part in enumerate(loc):
        last = number == len(loc) - 1
        found, value = step(data, part)
        if found:
            data = value
            path.append(part)
        elif last and isinstance(data, Mapping) and isinstance(part, str) and not _is_tag(part):
            path.append(part)
    return tuple(path)


def _is_tag(part: str) -> bool:
    return (
        "[" in part
        or part in ("str", "int", "float", "bool", "[key]")
        or part.startswith(("function-", "literal"))
    )


def _models_at(annotation: Any, path: PathKey, data: Any) -> list[type[BaseModel]]:
    """The models that the object at `path` may be."""
    options = _options(annotation, data)
    if not path:
        return [item for item in options if isinstance(item, type) and issubclass(item, BaseModel)]
    part, rest = path[0], path[1:]
    _, below = step(data, part)
    found: list[type[BaseModel]] = []
    for option in options:
        if isinstance(option, type) and issubclass(option, BaseModel):
            for name, item in option.model_fields.items():
                if (item.alias or name) == part:
                    found += _models_at(item.annotation, rest, below)
        elif get_origin(option) in (dict, tuple, list):
            arguments = get_args(option)
            if arguments:
                found += _models_at(arguments[1] if get_origin(option) is dict else arguments[0], rest, below)
    return found


def _options(annotation: Any, data: Any) -> list[Any]:
    """The branches of an annotation, narrowed by `type` where the data says which one is meant."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _options(get_args(annotation)[0], data)
    if origin in (Union, UnionType):
        options = [option for branch in get_args(annotation) for option in _options(branch, data)]
        tag = data.get("type") if isinstance(data, Mapping) else None
        tagged = [item for item in options if tag is not None and _tag_of(item) == tag]
        return tagged or options
    return [annotation]


def _tag_of(option: Any) -> Any:
    if isinstance(option, type) and issubclass(option, BaseModel) and "type" in option.model_fields:
        arguments = get_args(option.model_fields["type"].annotation)
        return arguments[0] if len(arguments) == 1 else None
    return None


def _say(kind: str, item: Any, path: PathKey, models: list[type[BaseModel]]) -> str:
    """One sentence for one of pydantic's errors; the input is repeated only where it cannot be a secret."""
    context = item.get("ctx", {})
    given = item.get("input")
    if kind == "extra_forbidden":
        name = str(path[-1]) if path else ""
        known = sorted({key for model in models for key in keys_of(model)})
        hint = did_you_mean(name, known)
        return (
            f"unknown key{hint}"
            if hint
            else f"unknown key (known here: {', '.join(known)})"
            if known
            else "unknown key"
        )
    if kind in ("missing", "union_tag_not_found"):
        return "is missing"
    if kind in ("literal_error", "enum"):
        return _choice(given, str(context.get("expected", "")))
    if kind == "union_tag_invalid":
        return _choice(context.get("tag", given), str(context.get("expected_tags", "")))
    if kind == "string_type":
        extra = f"; write it in quotes: '{given}'" if isinstance(given, (int, float)) else ""
        return f"must be text, not {_kind(given)}{extra}"
    if kind in ("value_error", "assertion_error"):
        return str(context.get("error", item["msg"]))
    if kind == "string_pattern_mismatch":
        return f"{shown(given)} is not allowed here (it must match {context.get('pattern')})"
    if kind in ("too_short", "string_too_short"):
        return "is empty" if not given else f"must hold at least {context.get('min_length')}"
    if kind in ("too_long", "string_too_long"):
        return f"is longer than {context.get('max_length')}"
    if kind in ("greater_than_equal", "less_than_equal"):
        least = kind == "greater_than_equal"
        return f"must be at {'least' if least else 'most'} {context.get('ge' if least else 'le')}"
    if kind in _EXPECTED:
        return f"must be {_EXPECTED[kind]}, not {_kind(given)}"
    text = str(item["msg"])
    return text[:1].lower() + text[1:]


def _choice(given: Any, expected: str) -> str:
    words = [word.strip().strip("'") for word in expected.replace(" or ", ", ").split(",") if word.strip()]
    if words in (["True"], ["False"]):
        return f"must be {words[0].lower()}"
    if not isinstance(given, str):
        return f"must be {listing(words)}, not {_kind(given)}"
    return f"{shown(given)} is not {listing(words)}{did_you_mean(given, words)}"


def _kind(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return f"the number {value!r}"
    if isinstance(value, str):
        return f"the text {shown(value)}"
    return "a map" if isinstance(value, Mapping) else "a list"
