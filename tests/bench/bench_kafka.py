"""How fast a topic goes to PostgreSQL, against the loop that somebody would write by hand with the same client.

    python tests/bench/bench_kafka.py [--records N] [--rounds N]

Both read messages of about 300 bytes from three partitions of Tansu, and upsert them into a table of a PostgreSQL
server of their own, 2,000 at a time, with the offsets committed after each. The product runs as
`platint-tui syncs run`, with its dead letters, positions and progress. Contenders take turns; figures are medians.
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
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from peers.kafka import KafkaServer
from peers.postgres import PostgresServer

HERE = Path(__file__).resolve().parent
TOPIC = "orders"
INTEGRATION = """\
integration: bench
integration_type: data_sync
platforms:
  - {name: kafka, profile: bench-kafka, type: sync, endpoints: [orders]}
  - {name: postgresql, profile: bench-postgres, type: sync}
sync_direction: source_to_target
sync_frequency: on_demand
error_strategy: dead_letter
"""


async def fill(bootstrap: str, records: int) -> None:
    """A topic of orders."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic(TOPIC, 3, 1)])
    await admin.close()
    async with AIOKafkaProducer(
        bootstrap_servers=bootstrap, linger_ms=20, max_batch_size=256 * 1024
    ) as producer:
        for number in range(records):
            body = {
                "order": number,
                "customer": {"id": number % 997, "name": "Ada Lovelace", "city": "London"},
                "lines": [{"sku": f"sku-{number % 31}", "count": 1 + number % 3, "price": 12.5}],
                "note": "n" * 120,
            }
            waiting = await producer.send(
                TOPIC, json.dumps(body).encode(), key=b"%d" % number, headers=[("trace", b"%d" % number)]
            )
        await waiting


def platint(kafka: KafkaServer, postgres: PostgresServer, records: int) -> tuple[float, float]:
    """Seconds of the work, and of its CPU, of a first run in a new installation."""
    folder = Path(tempfile.mkdtemp(prefix="platint-bench-"))
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PLATINT_")}
    home = folder / "home"
    home.mkdir(mode=0o700)
    environ = {**kept, "PLATINT_HOME": str(home), "BENCH_PG": postgres.password, "PYTHONPATH": str(ROOT)}
    file = folder / "bench.yaml"
    file.write_text(INTEGRATION)
    postgres.psql("DROP SCHEMA IF EXISTS bench CASCADE; CREATE SCHEMA bench")

    def call(*arguments: str) -> tuple[str, float]:
        measured = measure([sys.executable, "-m", "platint_tui", *arguments], environ)
        return measured.output, measured.cpu

    try:
        call("profiles", "add", "kafka", "--name", "bench-kafka", "--field", f"bootstrap_servers={kafka.bootstrap}",
             "--field", "security_protocol=PLAINTEXT")  # fmt: skip
        fields = {"host": postgres.host, "port": str(postgres.port), "database": postgres.database,
                  "user": postgres.user, "tls": "disable", "schema": "bench"}  # fmt: skip
        given = [word for name, value in fields.items() for word in ("--field", f"{name}={value}")]
        call("profiles", "add", "postgresql", "--name", "bench-postgres", *given,
             "--secret-from", "password=env:BENCH_PG")  # fmt: skip
        output, cpu = call("syncs", "run", str(file), "--json")
    finally:
        shutil.rmtree(folder)
    document = json.loads(output)
    [stream] = document["streams"]
    if document["state"] != "succeeded" or stream["written"] != records:
        raise SystemExit(f"The run did not bring everything: {document}")
    return (document["ended_ms"] - document["started_ms"]) / 1000, cpu


def by_hand(kafka: KafkaServer, postgres: PostgresServer, records: int) -> tuple[float, float]:
    """The same of the loop."""
    script = str(HERE / "loop_kafka.py")
    measured = measure([sys.executable, script, kafka.bootstrap, TOPIC, str(records), postgres.dsn])
    result = json.loads(measured.output.strip().splitlines()[-1])
    if result["records"] != records:
        raise SystemExit(f"The loop has {result['records']} of {records} records.")
    return float(result["seconds"]), measured.cpu


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    contenders = {"platint": platint, "aiokafka + asyncpg by hand": by_hand}
    results: dict[str, list[tuple[float, float]]] = {name: [] for name in contenders}
    folder = Path(tempfile.mkdtemp(prefix="platint-kafka-"))
    kafka, postgres = KafkaServer(folder), PostgresServer()
    try:
        asyncio.run(fill(kafka.bootstrap, options.records))
        for number in range(options.rounds):
            for name, contender in contenders.items():
                results[name].append(contender(kafka, postgres, options.records))
                rate = options.records / results[name][-1][0]
                print(f"round {number + 1}: {name} {rate:,.0f} records/s", file=sys.stderr)
    finally:
        postgres.stop()
        kafka.stop()
    ratios = [
        other / own
        for (own, _), (other, _) in zip(
            results["platint"], results["aiokafka + asyncpg by hand"], strict=True
        )
    ]
    rows = [("", "records/s", "seconds", "CPU s")]
    for name, figures in results.items():
        seconds = median([item[0] for item in figures])
        rows.append(
            (
                name,
                f"{options.records / seconds:,.0f}",
                f"{seconds:.2f}",
                f"{median([item[1] for item in figures]):.2f}",
            )
        )
    table(rows)
    print(f"platint is {median(ratios):.2f} x as fast as the loop (wanted: 0.5)")


if __name__ == "__main__":
    main()
