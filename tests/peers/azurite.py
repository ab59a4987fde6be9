"""Azure Blob Storage as Microsoft's emulator Azurite has it; signatures are checked."""

from __future__ import annotations

import base64
import hashlib
import hmac
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote, urlencode

from peers.process import PEERS, PeerProcess, listening, missing, program, start_on_free_port

AZURITE = PEERS / "azurite" / "node_modules"
ACCOUNT = "devstoreaccount1"
# Published by Microsoft for its emulator.
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
VERSION = "2021-12-02"


class AzuriteServer:
    """The blob service of one account: `url` is its address with the account's name."""

    def __init__(self, folder: Path) -> None:
        script = AZURITE / "azurite" / "dist" / "src" / "blob" / "main.js"
        if not script.is_file():
            raise missing("azurite")

        def start(port: int) -> PeerProcess:
            command = [
                program("node"),
                str(script),
                "--silent",
                "--skipApiVersionCheck",
                "--disableTelemetry",
                "--inMemoryPersistence",
                "--blobHost",
                "127.0.0.1",
                "--blobPort",
                str(port),
            ]
            return PeerProcess(command, folder=folder)

        port, self._process = start_on_free_port(start, listening)
        self.url = f"http://127.0.0.1:{port}/{ACCOUNT}"
        self.account, self.key = ACCOUNT, KEY

    def sas(self, permissions: str = "rwdlc", hours: float = 1.0) -> str:
        """An account SAS for containers and blobs (Microsoft, "Create an account SAS")."""
        end = (datetime.now(UTC) + timedelta(hours=hours)).strftime("%Y-%m-%dT%H:%M:%SZ")
        parts = (ACCOUNT, permissions, "b", "sco", "", end, "", "https,http", VERSION, "", "")
        digest = hmac.new(base64.b64decode(KEY), "\n".join(parts).encode(), hashlib.sha256).digest()
        query = {"sv": VERSION, "ss": "b", "srt": "sco", "sp": permissions, "se": end, "spr": "https,http"}
        return f"{urlencode(query)}&sig={quote(base64.b64encode(digest), safe='')}"

    def stop(self) -> None:
        """End the server."""
        self._process.stop()
