"""A run that deletes from a production profile is agreed to first."""

from __future__ import annotations

from pathlib import Path

from cli.kit import Cli, one_sentence
from engine.peer import write_manifest

NOBODY = "http://127.0.0.1:9"
FILE = """
integration: clearing
platforms:
  - {name: peer, profile: source, type: api, endpoints: [items]}
  - {name: peer, profile: sink, type: sync}
streams:
  items: {target: crowd, operation: delete}
"""


def prepared(cli: Cli, folder: Path, environment: str) -> Path:
    """Profiles of a platform that does not answer, and the file of a sync that deletes there."""
    write_manifest(cli.home / "config" / "connectors")
    for name, kind in (("source", "sandbox"), ("sink", environment)):
        options = ("--name", name, "--field", f"base_url={NOBODY}", "--environment", kind)
        cli("profiles", "add", "peer", *options)
    path = folder / "clearing.yaml"
    path.write_text(FILE)
    return path


def test_deleting_from_production_is_asked_first(cli: Cli, tmp_path: Path) -> None:
    path = prepared(cli, tmp_path, "production")
    for more in ((), ("items",), ("--detach",)):
        done = cli("syncs", "run", path, *more, code=2)
        one_sentence(done, 2, "'sink' is a production profile", "items", "--yes")
    assert cli.runs() == []
    done = cli("syncs", "run", path, "--yes", code=None)
    assert done.code != 2 and len(cli.runs()) == 1, done.said


def test_deleting_from_a_sandbox_is_not(cli: Cli, tmp_path: Path) -> None:
    path = prepared(cli, tmp_path, "sandbox")
    done = cli("syncs", "run", path, code=None)
    assert done.code != 2 and len(cli.runs()) == 1, done.said
