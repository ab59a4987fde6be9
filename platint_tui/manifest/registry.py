"""Finds connectors: which folders are looked at, and which file answers for a platform.

The current folder is never looked at: a cloned repository must not redirect credentials.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from platint_tui.core.errors import ConfigError, NotFound
from platint_tui.manifest.loader import SHARED, load_connector, resource
from platint_tui.manifest.problems import did_you_mean, listing, shown

if TYPE_CHECKING:
    from platint_tui.manifest.schema import Connector

Stamp: TypeAlias = tuple[tuple[int, int], ...]
_PLATFORM = re.compile(r"[a-z][a-z0-9_-]{0,63}")


def default_dirs(
    extra: Path | None = None, user: Path | None = None, environ: Mapping[str, str] | None = None
) -> tuple[Path, ...]:
    """The folders in look-up order: `extra` (--connectors), $PLATINT_CONNECTORS, the user's, the bundled one.

    `user` is the user's own folder of manifests. Raises ConfigError when a folder that was asked for is not
    there.
    """
    environ = os.environ if environ is None else environ
    folders = []
    if extra is not None:
        folders.append(_must_exist(extra, "--connectors"))
    if environ.get("PLATINT_CONNECTORS"):
        folders.append(_must_exist(Path(environ["PLATINT_CONNECTORS"]).expanduser(), "PLATINT_CONNECTORS"))
    if user is None:
        from platint_tui.core.paths import find_paths

        user = find_paths(environ).connectors
    folders += [user, bundled_dir("connectors")]
    return tuple(folders)


def bundled_dir(kind: str) -> Path:
    """The folder `connectors` or `profiles` that ships with the program, or the checkout's when run from
    source.
    """
    package = Path(__file__).resolve().parents[1]
    inside = package / "_bundled" / kind
    # Beside an installed package (site-packages) a folder of this name belongs to somebody else.
    if not inside.is_dir() and (package.parent / "pyproject.toml").is_file():
        return package.parent / kind
    return inside


def _must_exist(folder: Path, what: str) -> Path:
    if not folder.is_dir():
        raise ConfigError(f"The folder given by {what} is not there.", where=str(folder))
    return folder.absolute()


class Registry:
    """The connectors of some folders; the first folder that has a platform answers for it.

    Loaded manifests are kept until their file changes.
    """

    def __init__(self, dirs: Iterable[Path]) -> None:
        self.dirs = tuple(dirs)
        self._loaded: dict[Path, tuple[Stamp, Connector]] = {}

    def list(self) -> tuple[str, ...]:
        """The platforms that have a manifest, sorted; nothing is parsed."""
        found = set()
        for folder in self.dirs:
            try:
                found |= {item.name[:-5] for item in folder.iterdir() if item.name.endswith(".yaml")}
            except OSError:
                continue
        return tuple(sorted(name for name in found if _PLATFORM.fullmatch(name)))

    def path(self, platform: str) -> Path:
        """The file that describes `platform`. Raises NotFound with a suggestion."""
        if _PLATFORM.fullmatch(platform):
            for folder in self.dirs:
                path = folder / f"{platform}.yaml"
                if path.is_file():
                    return path
        known = self.list()
        raise NotFound(
            f"There is no connector for {shown(platform)}{did_you_mean(platform, known) or '.'}",
            hint=f"There are connectors for {listing(known)}.",
        )

    def get(self, platform: str) -> Connector:
        """The connector of `platform`. Raises NotFound, or ConfigError with every problem of its file."""
        path = self.path(platform)
        stamp = _stamp(path)
        known = self._loaded.get(path)
        if known and known[0] == stamp:
            return known[1]
        connector = load_connector(path)
        if connector.platform != platform:
            raise ConfigError(
                f"This file says that it is for the platform '{connector.platform}'.",
                hint=f"Rename it to {connector.platform}.yaml, or correct `platform`.",
                where=str(path),
            )
        self._loaded[path] = (stamp, connector)
        return connector

    def vectors(self, platform: str) -> Path:
        """The folder of recorded exchanges that belongs to the manifest in use. Raises NotFound."""
        return self.path(platform).parent / "_vectors" / platform


def _stamp(path: Path) -> Stamp:
    """What changes when a manifest, or a part that manifests share, is written. Raises ConfigError."""
    try:
        files = [path, *sorted((path.parent / SHARED).glob("*.yaml"))]
        return tuple((status.st_mtime_ns, status.st_size) for status in (item.stat() for item in files))
    except OSError as error:
        raise ConfigError(f"The file cannot be read: {error.strerror}.", where=str(path)) from None


__all__ = ["Registry", "bundled_dir", "default_dirs", "resource"]
