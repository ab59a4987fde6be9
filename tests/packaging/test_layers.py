"""The rules of the house, checked by machines: layers, cheap imports, data folders that hold data."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from peers.process import ROOT

HEAVY = (
    *("textual", "rich", "httpx", "aiohttp", "authlib", "pydantic", "keyring", "yaml", "aiosqlite"),
    *("sqlite3", "cryptography", "asyncpg", "platint_tui.drivers", "platint_tui.engine", "platint_tui.tui"),
)
REGISTRY = re.compile(r"//[a-z.]*(pypi|pythonhosted|npmjs|debian)[.]")


def project_files() -> list[Path]:
    """The files under version control; in an unpacked archive, those of the named folders."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode == 0 and listed.stdout:
        names = [ROOT / name for name in listed.stdout.split("\0") if name]
        return [path for path in names if path.is_file()]
    folders = ("platint_tui", "connectors", "profiles", "tests")
    return [path for folder in folders for path in (ROOT / folder).rglob("*") if path.is_file()]


def loaded_after(code: str) -> set[str]:
    """Which heavy modules an interpreter has loaded after `code`."""
    report = f"\nimport sys\nprint('loaded:', *[name for name in {HEAVY!r} if name in sys.modules])"
    answer = subprocess.run(
        [sys.executable, "-c", code + report], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert answer.returncode == 0, answer.stderr
    return set(answer.stdout.splitlines()[-1].removeprefix("loaded:").split())


def test_the_layers_import_leftwards_only() -> None:
    program = Path(sys.executable).with_name("lint-imports")
    answer = subprocess.run([program, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stdout[-3000:] + answer.stderr[-1000:]


def test_importing_the_package_loads_nothing_heavy() -> None:
    assert loaded_after("import platint_tui") == set()


@pytest.mark.parametrize("argument", ["--version"])
def test_the_version_loads_nothing_heavy(argument: str) -> None:
    code = f"""
import runpy, sys
sys.argv = ["platint-tui", {argument!r}]
try:
    runpy.run_module("platint_tui", run_name="__main__")
except SystemExit as ended:
    assert not ended.code, ended.code
"""
    assert loaded_after(code) == set()


@pytest.mark.parametrize("folder", ["connectors", "profiles"])
def test_data_folders_hold_no_code(folder: str) -> None:
    wrong = list((ROOT / folder).rglob("*.py*"))
    assert (ROOT / folder).is_dir() and not wrong


def test_no_file_names_a_package_registry() -> None:
    found = []
    for path in project_files():
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        found += [f"{path.relative_to(ROOT)}: {match.group()}" for match in REGISTRY.finditer(text)]
    assert not found, "an installation uses the registry that the user configured"
