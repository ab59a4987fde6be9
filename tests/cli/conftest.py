"""An installation for the command line, and demo platforms that tests of one module share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cli.kit import SECRETS, Cli


@pytest.fixture
def cli(tmp_path: Path) -> Iterator[Cli]:
    """The command line on an empty installation; the secrets of the demo platforms are in the environment."""
    made = Cli(tmp_path / "home", SECRETS)
    yield made
    made.close()


@pytest.fixture(scope="module")
def make_cli(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Cli]]:
    """`make_cli("name")`: command lines that live as long as the tests of a module."""
    made: list[Cli] = []

    def make(name: str, **env: str) -> Cli:
        made.append(Cli(tmp_path_factory.mktemp(name) / "home", {**SECRETS, **env}))
        return made[-1]

    yield make
    for cli in made:
        cli.close()
