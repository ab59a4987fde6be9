"""A GraphQL server of the npm package `graphql-yoga`, with connections, mutations and costs."""

from __future__ import annotations

import os
from pathlib import Path

from peers.process import PEERS, PeerProcess, listening, missing, program, start_on_free_port

TOKEN = "shpat_test"


class GraphqlServer:
    """Seven orders behind `/graphql`; a query costs 10 of 1,000 points. Loopback only."""

    def __init__(self, folder: Path, points: int = 1000) -> None:
        modules = PEERS / "graphql"
        if not (modules / "node_modules" / "graphql-yoga").is_dir():
            raise missing("The GraphQL server `graphql-yoga` (npm)")
        script = Path(__file__).with_name("graphql_server.mjs")
        node = program("node")

        def start(port: int) -> PeerProcess:
            own = {"PORT": str(port), "MODULES": str(modules), "POINTS": str(points)}
            return PeerProcess([node, str(script)], folder=folder, env={**os.environ, **own})

        self.port, self.process = start_on_free_port(start, listening)
        self.url = f"http://127.0.0.1:{self.port}"
        self.token = TOKEN

    def stop(self) -> None:
        """End the server."""
        self.process.stop()
