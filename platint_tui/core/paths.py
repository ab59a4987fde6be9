"""Where the files of the program are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from platint_tui.core.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Paths:
    """The folders of one installation; everything else is named relative to them."""

    config: Path
    data: Path
    state: Path

    @property
    def database(self) -> Path:
        """The store."""
        return self.data / "platint.sqlite"

    @property
    def connectors(self) -> Path:
        """The user's own manifests."""
        return self.config / "connectors"

    @property
    def engine_lock(self) -> Path:
        """Held by the one engine of this store."""
        return self.state / "engine.lock"

    @property
    def engine_log(self) -> Path:
        """What a background engine has to say."""
        return self.state / "engine.log"

    @property
    def crash_reports(self) -> Path:
        """Redacted tracebacks."""
        return self.state / "crashes"


def find_paths(environ: Mapping[str, str]) -> Paths:
    """The folders by `PLATINT_HOME` (everything under it) or the platform's own places."""
    home = environ.get("PLATINT_HOME", "")
    if home:
        root = Path(home).expanduser().absolute()
        return Paths(root / "config", root / "data", root / "state")
    import platformdirs

    dirs = platformdirs.PlatformDirs("platint", appauthor=False)
    return Paths(dirs.user_config_path, dirs.user_data_path, dirs.user_state_path)


def make_private(folder: Path) -> None:
    """Create `folder` (0700, as are the parents that are missing). Raises ConfigError when it cannot be written."""
    try:
        # One by one: mkdir gives the mode to the last folder only.
        for missing in reversed([place for place in folder.parents if not place.exists()]):
            missing.mkdir(mode=0o700, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        if folder.stat().st_mode & 0o022:
            folder.chmod(0o700)
    except OSError as error:
        raise ConfigError(
            f"The folder {folder} cannot be created: {error.strerror}.",
            hint="Point PLATINT_HOME at a folder that you may write.",
        ) from None
