"""A real Elasticsearch 7.0.0 core with one node (see `elastic_build`); without security, data streams and PIT."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from peers.process import PEERS, PeerProcess, expect, listening, missing, program, request, start_on_free_port

ELASTIC = PEERS / "elastic"
_LOGGING = """status=error
appender.c.type=Console
appender.c.name=c
appender.c.layout.type=PatternLayout
appender.c.layout.pattern=%d %p %c{1} %m%n
rootLogger.level=warn
rootLogger.appenderRef.c.ref=c
"""


class ElasticServer:
    """The server: `url`."""

    def __init__(self, folder: Path) -> None:
        if not (ELASTIC / "EsPeer.class").is_file():
            raise missing("the Elasticsearch peer")
        logging = folder / "log4j2.properties"
        logging.write_text(_LOGGING)
        paths = ":".join(str(item) for item in (ELASTIC / "patch", ELASTIC / "es.jar", ELASTIC))

        def start(port: int) -> PeerProcess:
            options = ["-Xms256m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto"]
            options += [f"-Dlog4j.configurationFile={logging}", f"-Dlog4j2.configurationFile={logging}"]
            data = folder / f"data-{port}"
            command = [program("java"), *options, "-cp", paths, "EsPeer", str(port), str(data)]
            return PeerProcess(command, folder=folder)

        port, self._process = start_on_free_port(start, listening)
        self.url = f"http://127.0.0.1:{port}"

    def refresh(self, index: str) -> Any:
        """Make what was written visible to searches."""
        return expect(200, request("POST", f"{self.url}/{index}/_refresh"))

    def stop(self) -> None:
        """End the server."""
        self._process.stop()
