"""Makes the extracts: of each manifest's platform just the operations that the manifest uses.

    .venv/bin/python tests/contract/extract.py            # every platform whose manifest is there
    .venv/bin/python tests/contract/extract.py github     # one; prints what the look-ups do not find

Run it again after a manifest has changed what it uses. It needs the vendors' full descriptions, which are not part
of this project (`../shared/vendors/specs`; SOURCES.md there says where each came from). What cannot be found goes to
`allowed/<platform>.yaml` with a reason and a source, when it is the description that is behind.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parents[2])]

from contract.allowlist import allowed, matched
from contract.lookups import Checker, Lookup, Touched
from contract.manifests import HERE, SPECS, manifest, platforms
from contract.schema import prune
from contract.specs.load import documents, full_view
from contract.specs.view import Operation, Param, View

EXTRACTS = HERE / "extracts"


def make(platform: str) -> tuple[dict[str, Any], str, list[Lookup]]:
    """The extract of a platform, its GraphQL schema ('' without one), and the look-ups in the full view."""
    view = full_view(platform)
    data = manifest(platform)
    checker = Checker(data, view, documents(platform))
    lookups = checker.all()
    schemas: dict[str, Any] = {}
    operations = [
        _operation(item, schemas) for _, item in sorted(checker.touched.items(), key=lambda pair: pair[0])
    ]
    extract = {
        "platform": platform,
        "sources": [
            {key: entry[key] for key in ("file", "source", "licence")}
            for entry in view.sources
            if entry["format"] == "graphql" or any(item["document"] == entry["file"] for item in operations)
        ],
        "operations": operations,
    }
    sdl = ""
    if view.graphql:
        from contract.specs.graphql_sdl import pruned

        sdl = pruned(view, data)
    return extract, sdl, lookups


def _operation(item: Touched, schemas: dict[str, Any]) -> dict[str, Any]:
    operation = item.operation
    root = operation.root
    # A part of the path that is not a record's is kept too, so that a mock can make whole answers.
    made: dict[str, Any] = {
        "document": operation.document,
        "method": operation.method,
        "paths": list(operation.paths),
        "hosts": list(operation.hosts),
    }
    if operation.selectors:
        made["selectors"] = [list(selector) for selector in operation.selectors]
    for place in ("path", "query", "header"):
        params: Mapping[str, Param] = getattr(operation, place)
        if params:
            made[place] = {name: _param(param, root) for name, param in sorted(params.items())}
    if operation.body:
        made["body"] = {kind: prune(schema, root, item.body, 2) for kind, schema in operation.body.items()}
        made["body_required"] = operation.body_required
    good = [status for status in operation.answers if status.startswith("2")] or ["default"]
    made["answers"] = {
        status: {kind: prune(schema, root, item.answer, 1) for kind, schema in _media(answer).items()}
        for status, answer in operation.answers.items()
        if status in good
    }
    if operation.answer_headers is not None:
        made["answer_headers"] = list(operation.answer_headers)
    return made


def _media(answer: Mapping[str, Any]) -> Mapping[str, Any]:
    """The media types of an answer; of several JSON ones only the first."""
    plain = [kind for kind in answer if "json" in kind]
    return {kind: schema for kind, schema in answer.items() if kind not in plain[1:]}


def _param(param: Param, root: Mapping[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {"schema": prune(param.schema, root, set(), 2)}
    if param.required:
        made["required"] = True
    if param.deep:
        made["deep"] = True
    return made


def dumped(extract: Mapping[str, Any]) -> str:
    """The text of an extract: an operation a line."""
    head = {key: value for key, value in extract.items() if key != "operations"}
    lines = json.dumps(head, ensure_ascii=False)[:-1]
    operations = ",\n".join(
        json.dumps(item, ensure_ascii=False, separators=(",", ":")) for item in extract["operations"]
    )
    return f'{lines}, "operations": [\n{operations}\n]}}\n'


def load(platform: str) -> View:
    """The view that the committed extract of a platform gives."""
    extract = json.loads((EXTRACTS / f"{platform}.json").read_text())
    sdl = EXTRACTS / f"{platform}.graphql"
    return View(
        platform,
        tuple(_loaded(item) for item in extract["operations"]),
        tuple(extract["sources"]),
        sdl.read_text() if sdl.is_file() else "",
    )


def _loaded(item: Mapping[str, Any]) -> Operation:
    places = {
        place: {
            name: Param(param["schema"], param.get("required", False), param.get("deep", False))
            for name, param in item.get(place, {}).items()
        }
        for place in ("path", "query", "header")
    }
    headers = item.get("answer_headers")
    return Operation(
        document=item["document"],
        method=item["method"],
        paths=tuple(item["paths"]),
        hosts=tuple(item["hosts"]),
        body=item.get("body", {}),
        body_required=item.get("body_required", False),
        answers=item["answers"],
        answer_headers=tuple(headers) if headers is not None else None,
        selectors=tuple((place, name, value) for place, name, value in item.get("selectors", ())),
        **places,
    )


def main(names: list[str]) -> int:
    """Write extracts and say what the look-ups do not find. Returns the exit code."""
    if not SPECS.is_dir():
        print(f"The vendors' descriptions are not there: {SPECS}", file=sys.stderr)
        return 1
    problems = 0
    for platform in names or platforms():
        extract, sdl, lookups = make(platform)
        text = dumped(extract)
        (EXTRACTS / f"{platform}.json").write_text(text)
        if sdl:
            (EXTRACTS / f"{platform}.graphql").write_text(sdl)
        rules = allowed(platform)
        unknown = [item for item in lookups if item.problem and not matched(rules, item)]
        unused = [rule for rule in rules if not any(item.problem and rule.covers(item) for item in lookups)]
        size = (len(text) + len(sdl)) / 1000
        print(
            f"{platform}: {len(lookups)} entries, {len(extract['operations'])} operations, {size:.0f} kB, "
            f"{len(rules)} allowed, {len(unknown)} unknown"
        )
        for item in unknown:
            print(f"  {item.entry} ({item.value}): {item.problem}")
        for rule in unused:
            print(f"  allowed, but not needed: {rule.entry} ({rule.value})")
        problems += len(unknown) + len(unused)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
