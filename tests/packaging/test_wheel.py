"""The wheel: what is in it, and that it does the whole job in an empty environment, from another folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from peers.process import ROOT

import platint_tui


def run(
    command: Sequence[str | Path], *, cwd: Path, env: Mapping[str, str] | None = None, seconds: float = 300
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=None if env is None else dict(env),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=seconds,
    )


def succeeded(answer: subprocess.CompletedProcess[str]) -> str:
    assert answer.returncode == 0, answer.stdout[-2000:] + answer.stderr[-4000:]
    return answer.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    succeeded(run([sys.executable, "-m", "build", "--wheel", "--outdir", folder, ROOT], cwd=folder))
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs folder of an environment with the wheel, its dependencies, and nothing else."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder)
    python = folder / "bin" / "python"
    # Compiling all of the libraries would take longer than all that is run of them.
    install = ("-m", "pip", "--python", python, "install", "-q", "--no-compile", wheel)
    succeeded(run([sys.executable, *install], cwd=folder))
    return folder / "bin"


@pytest.fixture
def elsewhere(tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """A folder that has nothing to do with the project, and an environment as a new user has it."""
    folder = tmp_path / "some where else"
    folder.mkdir()
    keep = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ}
    return folder, {**keep, "HOME": str(tmp_path), "PLATINT_HOME": str(tmp_path / "home")}


def test_what_the_wheel_holds(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = [PurePosixPath(name) for name in archive.namelist()]
        entry_points = archive.read(
            f"platint_tui-{platint_tui.__version__}.dist-info/entry_points.txt"
        ).decode()
    top = {name.parts[0] for name in names}
    assert top == {"platint_tui", f"platint_tui-{platint_tui.__version__}.dist-info"}
    bundled = {str(name) for name in names if name.parts[:2] == ("platint_tui", "_bundled")}
    for source in [*(ROOT / "connectors").glob("*.yaml"), *(ROOT / "profiles").glob("*.yaml")]:
        assert f"platint_tui/_bundled/{source.relative_to(ROOT).as_posix()}" in bundled
    assert any(name.startswith("platint_tui/_bundled/connectors/") for name in bundled)
    assert not [name for name in bundled if name.endswith(".py")]
    assert not [name for name in names if "tests" in name.parts or name.suffix == ".pyc"]
    assert PurePosixPath("platint_tui/py.typed") in names
    assert "platint-tui = platint_tui.__main__:main" in entry_points


def test_the_installed_program_knows_its_version(
    installed: Path, elsewhere: tuple[Path, dict[str, str]]
) -> None:
    folder, env = elsewhere
    answer = succeeded(run([installed / "platint-tui", "--version"], cwd=folder, env=env))
    assert platint_tui.__version__ in answer
    assert not list(folder.iterdir())


def test_the_installed_program_finds_its_connectors(
    installed: Path, elsewhere: tuple[Path, dict[str, str]]
) -> None:
    folder, env = elsewhere
    answer = succeeded(run([installed / "platint-tui", "connectors", "list", "--json"], cwd=folder, env=env))
    for source in (ROOT / "connectors").glob("*.yaml"):
        assert f'"{source.stem}"' in answer


def test_the_installed_demo_loses_nothing(installed: Path, elsewhere: tuple[Path, dict[str, str]]) -> None:
    folder, env = elsewhere
    command = [installed / "platint-tui", "demo", "--headless", "--json", "--records", "300"]
    answer = run(command, cwd=folder, env=env)
    assert answer.returncode in (0, 3), answer.stdout[-2000:] + answer.stderr[-4000:]
    assert "Traceback" not in answer.stderr
    document: dict[str, Any] = json.loads(answer.stdout)
    assert set(document) >= {"discovery", "runs", "records", "dead_letters", "metrics", "paths"}
    records = document["records"]
    assert set(records) >= {"read", "written", "dead_lettered", "replayed", "lost"}
    assert records["lost"] == 0
    assert records["read"] == 300 + 75 + 75, "300 charges, and 75 customers by both syncs"
    assert records["dead_lettered"] > 0 and records["replayed"] > 0
    assert document["runs"] and document["dead_letters"]
    percentiles = [document["metrics"][f"api_latency_p{number}_ms"] for number in (50, 95, 99)]
    assert percentiles == sorted(percentiles) and percentiles[0] > 0
    assert set(document["metrics"]) >= {"error_rate", "sync_throughput", "webhook_success_rate"}
    assert not list(folder.iterdir()), "nothing is written into the folder that it is started from"
