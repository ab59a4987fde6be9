"""How fast a queue of RabbitMQ goes to SQLite, against the loop that somebody would write by hand with the same
client.

    python tests/bench/bench_rabbitmq.py [--records N] [--rounds N]

Both read persistent messages of about 300 bytes with a prefetch of 1,000, upsert them into a table of a file and
commit that to disk before they acknowledge. The product runs as `platint-tui syncs run`, with its dead letters,
positions and progress. Contenders take turns; figures are medians.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

from common import ROOT, measure, median, table

sys.path.insert(0, str(ROOT / "tests"))
import aiormq
from pamqp import commands
from peers.rabbitmq import RabbitmqServer

HERE = Path(__file__).resolve().parent
QUEUE = "orders"
INTEGRATION = """\
integration: bench
integration_type: data_sync
platforms:
  - {name: rabbitmq, profile: bench-rabbitmq, type: sync, endpoints: [orders]}
  - {name: sqlite, profile: bench-file, type: sync}
sync_direction: source_to_target
sync_frequency: on_demand
error_strategy: dead_letter
"""


async def fill(url: str, records: int) -> None:
    """A queue of orders."""
    connection = await aiormq.connect(url)
    channel = await connection.channel()
    await channel.queue_delete(QUEUE)
    await channel.queue_declare(QUEUE, durable=True)

    def send(number: int) -> object:
        body = {
            "order": number,
            "customer": {"id": number % 997, "name": "Ada Lovelace", "city": "London"},
            "lines": [{"sku": f"sku-{number % 31}", "count": 1 + number % 3, "price": 12.5}],
            "note": "n" * 120,
        }
        properties = commands.Basic.Properties(
            delivery_mode=2,
            message_id=f"order-{number}",
            content_type="application/json",
            headers={"trace": number},
        )
        return channel.basic_publish(json.dumps(body).encode(), routing_key=QUEUE, properties=properties)

    for start in range(0, records, 1_000):
        await asyncio.gather(*(send(number) for number in range(start, min(records, start + 1_000))))  # type: ignore[call-overload]
    await connection.close()


def platint(server: RabbitmqServer, folder: Path, records: int) -> tuple[float, float]:
    """Seconds of the work, and of its CPU, of a first run in a new installation."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PLATINT_")}
    home = folder / "home"
    home.mkdir(mode=0o700)
    environ = {**kept, "PLATINT_HOME": str(home), "BENCH_SECRET": server.password, "PYTHONPATH": str(ROOT)}
    file = folder / "bench.yaml"
    file.write_text(INTEGRATION)

    def call(*arguments: str) -> tuple[str, float]:
        measured = measure([sys.executable, "-m", "platint_tui", *arguments], environ)
        return measured.output, measured.cpu

    fields = {"host": server.host, "port": str(server.port), "user": server.user, "tls": "disable"}
    given = [word for name, value in fields.items() for word in ("--field", f"{name}={value}")]
    call(
        "profiles",
        "add",
        "rabbitmq",
        "--name",
        "bench-rabbitmq",
        *given,
        "--secret-from",
        "password=env:BENCH_SECRET",
    )
    call("profiles", "add", "sqlite", "--name", "bench-file", "--field", f"path={folder / 'bench.sqlite'}")
    output, cpu = call("syncs", "run", str(file), "--json")
    document = json.loads(output)
    [stream] = document["streams"]
    if document["state"] != "succeeded" or stream["written"] != records:
        raise SystemExit(f"The run did not bring everything: {document}")
    return (document["ended_ms"] - document["started_ms"]) / 1000, cpu


def by_hand(server: RabbitmqServer, folder: Path, records: int) -> tuple[float, float]:
    """The same of the loop."""
    script = str(HERE / "loop_aiormq.py")
    measured = measure([sys.executable, script, server.url, QUEUE, str(records), str(folder / "hand.sqlite")])
    result = json.loads(measured.output.strip().splitlines()[-1])
    return float(result["seconds"]), measured.cpu


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--records", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    contenders = {"platint": platint, "aiormq + sqlite3 by hand": by_hand}
    results: dict[str, list[tuple[float, float]]] = {name: [] for name in contenders}
    server = RabbitmqServer(Path(tempfile.mkdtemp(prefix="platint-rabbitmq-")))
    try:
        for number in range(options.rounds):
            for name, contender in contenders.items():
                asyncio.run(fill(server.url, options.records))
                folder = Path(tempfile.mkdtemp(prefix="platint-bench-"))
                try:
                    results[name].append(contender(server, folder, options.records))
                finally:
                    shutil.rmtree(folder)
                rate = options.records / results[name][-1][0]
                print(f"round {number + 1}: {name} {rate:,.0f} records/s", file=sys.stderr)
    finally:
        server.stop()
    own, other = results.values()
    rows = [("", "records/s", "seconds", "CPU s")]
    for name, figures in results.items():
        seconds = median([item[0] for item in figures])
        cpu = median([item[1] for item in figures])
        rows.append((name, f"{options.records / seconds:,.0f}", f"{seconds:.2f}", f"{cpu:.2f}"))
    table(rows)
    ratios = [theirs / mine for (mine, _), (theirs, _) in zip(own, other, strict=True)]
    print(f"platint is {median(ratios):.2f} x as fast as the loop (wanted: 0.5)")


if __name__ == "__main__":
    main()
