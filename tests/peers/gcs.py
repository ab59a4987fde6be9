"""Google Cloud Storage's JSON API as the emulator gcp-storage-emulator has it; it checks no credential."""

from __future__ import annotations

from pathlib import Path

from peers.process import PEERS, PeerProcess, listening, program, start_on_free_port

GCS = PEERS / "gcs-venv" / "bin"


class GcsServer:
    """The server, empty: `url`."""

    def __init__(self, folder: Path) -> None:
        def start(port: int) -> PeerProcess:
            command = [program("gcp-storage-emulator", str(GCS)), "start", "--host", "127.0.0.1"]
            return PeerProcess([*command, "--port", str(port), "--in-memory"], folder=folder)

        port, self._process = start_on_free_port(start, listening)
        self.url = f"http://127.0.0.1:{port}"

    def stop(self) -> None:
        """End the server."""
        self._process.stop()
