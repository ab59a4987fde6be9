"""The README is true: its key table is the program's, its commands exist, its files are there."""

from __future__ import annotations

import re
from pathlib import Path

from docs import platforms

from platint_tui.cli.parser import build_parser
from platint_tui.tui.actions import Registry, keys_markdown
from platint_tui.tui.sections import SECTIONS

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "README.md").read_text()


def test_the_key_table_is_the_one_of_the_console() -> None:
    registry = Registry()
    for info in SECTIONS.values():
        registry.add(info.load().ACTIONS)
    written = TEXT.split("generated from the action registry -->\n")[1].split("<!-- /keys -->")[0]
    assert written == keys_markdown(registry)


def test_the_table_of_platforms_is_made_from_the_manifests() -> None:
    written = TEXT.split(platforms.BEGIN)[1].split(platforms.END)[0]
    assert written == platforms.table(), "run: python tests/docs/platforms.py"


def test_every_command_of_the_table_exists() -> None:
    table = TEXT.split("| command | does |")[1].split("\n\n")[0]
    rows = re.findall(r"^\| `([a-z]+)([a-z /]*)` \| ", table, flags=re.M)
    assert len(rows) >= 11
    for command, verbs in rows:
        for verb in [word for word in verbs.split("/") if word.strip()] or [""]:
            arguments = [command, *verb.split()]
            usage = _help(arguments)
            assert usage.startswith(f"usage: platint-tui {' '.join(arguments)}"), arguments


def _help(arguments: list[str]) -> str:
    parser = build_parser()
    for word in arguments:
        [choices] = [action.choices for action in parser._actions if isinstance(action.choices, dict)]
        parser = choices[word]
    return parser.format_usage()


def test_every_file_that_is_named_is_there() -> None:
    for path in re.findall(r"\]\((\.[^)#]+)\)", TEXT):
        assert (ROOT / path).is_file(), path
    for path in re.findall(r"`((?:connectors|profiles|tests|platint_tui)/[\w./_-]+\.\w+)`", TEXT):
        assert (ROOT / path).is_file(), path


def test_the_yaml_of_the_tour_is_a_sound_integration() -> None:
    from platint_tui.manifest.integration import load_integration
    from platint_tui.manifest.registry import Registry as Connectors
    from platint_tui.manifest.registry import default_dirs

    text, part, events = re.findall(r"```yaml\n(.*?)```", TEXT, flags=re.S)
    connectors = Connectors(default_dirs(environ={}))
    assert load_integration(text, connectors).name == "github-to-sqlite"
    ends = "[{name: postgresql, profile: a, type: sync, endpoints: [orders]}, {name: sqlite, profile: b}]"
    made = load_integration(f"integration: live\nplatforms: {ends}\n{part}", connectors)
    assert made.sync_frequency == "real_time" and made.streams[0].mode == "cdc"
    fed = load_integration(events, connectors)
    assert fed.receives and fed.fallback_profile == "spare"
