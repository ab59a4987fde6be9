"""Each manifest says what its vendor's own description says: paths, methods, parameters, bodies, records, keys,
cursors, pages. Looked up in the extracts, which are the same as the full descriptions wherever those are there.

`python tests/contract/extract.py PLATFORM` makes an extract anew and says what is not found.
"""

from __future__ import annotations

from functools import cache

import pytest
from contract.allowlist import allowed, forgotten, matched
from contract.extract import EXTRACTS, dumped, load, make
from contract.lookups import Checker, Lookup
from contract.manifests import HERE, SPECS, Data, manifest, platforms
from contract.mutations import mutations
from contract.specs.load import documents, full_view
from contract.specs.view import View

PLATFORMS = platforms()
FULL = PLATFORMS if SPECS.is_dir() else []


@cache
def _known(platform: str) -> tuple[Data, View, tuple[Lookup, ...]]:
    data, view = manifest(platform), load(platform)
    return data, view, tuple(Checker(data, view, documents(platform)).all())


@pytest.mark.parametrize("platform", PLATFORMS)
def test_every_entry_is_in_the_description(platform: str) -> None:
    """What is not found is on the allow-list, and everything there is needed."""
    _, _, lookups = _known(platform)
    rules = allowed(platform)
    unknown = [
        f"{item.entry} ({item.value}): {item.problem}"
        for item in lookups
        if item.problem and not matched(rules, item)
    ]
    unused = [
        f"{rule.entry} ({rule.value}) is allowed, but not needed"
        for rule in rules
        if not any(item.problem and rule.covers(item) for item in lookups)
    ]
    assert not unknown + unused, "\n".join(unknown + unused)
    assert len(lookups) > 20


@pytest.mark.parametrize("platform", PLATFORMS)
def test_a_wrong_entry_is_caught(platform: str) -> None:
    """Each entry is made wrong in turn, and the look-ups find something that they did not find before."""
    data, view, _ = _known(platform)
    rules = allowed(platform)
    endpoints = documents(platform)
    count, missed = 0, []
    before: dict[str, set[tuple[str, str]]] = {}
    for part, what, wrong in mutations(data):
        count += 1
        if part not in before:
            before[part] = _problems(Checker(data, view, endpoints), part)
        after = Checker(wrong, view, endpoints)
        new = {
            item
            for item in _part(after, part)
            if item.problem and (item.entry, item.value) not in before[part]
        }
        if not any(not matched(rules, item) for item in new):
            missed.append(what)
    assert not missed, f"{len(missed)} of {count} are not caught:\n" + "\n".join(missed)
    assert count > 20


def _part(checker: Checker, part: str) -> list[Lookup]:
    return checker.part(part) if part else checker.all()


def _problems(checker: Checker, part: str) -> set[tuple[str, str]]:
    return {(item.entry, item.value) for item in _part(checker, part) if item.problem}


@pytest.mark.parametrize("platform", PLATFORMS)
def test_what_is_allowed_has_a_reason_and_is_used(platform: str) -> None:
    used = {operation.name for operation in load(platform).operations}
    for item in forgotten(platform):
        assert item.operation in used, f"{item.operation} is allowed, but not used"
    said = [(entry.reason, entry.source) for entry in allowed(platform)]
    said += [(item.reason, item.source) for item in forgotten(platform)]
    assert all(len(text) > 10 for pair in said for text in pair)


def test_each_http_manifest_has_a_description() -> None:
    """A new manifest needs its description in sources.yaml."""
    missing = []
    for path in sorted((HERE.parents[1] / "connectors").glob("*.yaml")):
        text = path.read_text()
        described = path.stem in PLATFORMS or path.stem == "webhook"  # any endpoint, so nobody's API
        if "\ndriver: http" in text and not path.name.startswith("demo-") and not described:
            missing.append(path.stem)
    assert not missing


# What follows needs the full descriptions: where they are not, it is not there either.
if FULL:

    @pytest.mark.parametrize("platform", FULL, ids=[f"{name}-with-the-full-descriptions" for name in FULL])
    def test_the_extract_is_what_the_full_description_says(platform: str) -> None:
        extract, sdl, lookups = make(platform)
        assert dumped(extract) == (EXTRACTS / f"{platform}.json").read_text(), (
            f"run tests/contract/extract.py {platform}"
        )
        committed = EXTRACTS / f"{platform}.graphql"
        assert sdl == (committed.read_text() if committed.is_file() else "")
        assert list(lookups) == list(_known(platform)[2])

    FORGOTTEN = [(name, item.operation) for name in FULL for item in forgotten(name)]

    @pytest.mark.parametrize(
        ("platform", "operation"),
        FORGOTTEN,
        ids=[f"{name}-with-the-full-descriptions-without-{item}" for name, item in FORGOTTEN],
    )
    def test_what_a_description_forgot_is_not_in_it(platform: str, operation: str) -> None:
        view = full_view(platform, without=operation)
        rules = allowed(platform)
        lookups = Checker(manifest(platform), view, documents(platform)).all()
        assert any(item.problem and not matched(rules, item) for item in lookups), (
            f"{operation} need not be allowed"
        )
