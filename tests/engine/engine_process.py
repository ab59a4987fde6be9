"""An engine process: `python engine_process.py [--takeover] [--forever]`, its home by PLATINT_HOME."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from pathlib import Path

from platint_tui.core.errors import PlatintError
from platint_tui.core.paths import find_paths
from platint_tui.engine.serve import serve
from platint_tui.manifest.registry import Registry, default_dirs
from platint_tui.vault import Vault


def main() -> int:
    logging.basicConfig(stream=sys.stderr, level=logging.INFO)
    paths = find_paths(os.environ)
    extra = os.environ.get("TEST_CONNECTORS")
    registry = Registry(default_dirs(Path(extra) if extra else None, paths.connectors, os.environ))
    try:
        return asyncio.run(
            serve(
                paths,
                registry,
                Vault(paths.config, os.environ),
                until_idle="--forever" not in sys.argv,
                linger=0.2,
                takeover="--takeover" in sys.argv,
            )
        )
    except PlatintError as error:
        print(error.sentence(), file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
