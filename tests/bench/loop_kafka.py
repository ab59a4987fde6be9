"""The loop that somebody would write by hand: aiokafka's consumer, and asyncpg with a staging table.

Arguments: bootstrap servers, topic, number of messages, address of the database. A batch is decoded, copied into the
staging table, upserted and committed; then its offsets are committed. Prints {"records", "seconds"}.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from datetime import UTC, datetime
from typing import Any

import asyncpg
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

BATCH = 2_000
COLUMNS = ("id", "key", "body", "headers", "topic", "partition", "offset", "timestamp", "_raw")
TYPES = ("text", "text", "jsonb", "jsonb", "text", "bigint", "bigint", "timestamptz", "text")
UPSERT = "INSERT INTO {table} SELECT * FROM staging ON CONFLICT (id) DO UPDATE SET " + ", ".join(
    f'"{name}" = excluded."{name}"' for name in COLUMNS[1:]
)


def row(message: ConsumerRecord) -> tuple[Any, ...]:
    body = json.loads(message.value)
    headers = {name: data.decode() for name, data in message.headers}
    moment = datetime.fromtimestamp(message.timestamp / 1000, UTC)
    place = (message.topic, message.partition, message.offset)
    record = {
        "id": "/".join(map(str, place)),
        "key": message.key.decode(),
        "body": body,
        "headers": headers,
        "topic": place[0],
        "partition": place[1],
        "offset": place[2],
        "timestamp": moment.isoformat(),
    }
    return (
        record["id"],
        record["key"],
        json.dumps(body),
        json.dumps(headers),
        *place,
        moment,
        json.dumps(record),
    )


async def main(bootstrap: str, topic: str, count: int, dsn: str) -> None:
    database = await asyncpg.connect(dsn)
    columns = ", ".join(f'"{name}" {kind}' for name, kind in zip(COLUMNS, TYPES, strict=True))
    await database.execute(
        f"DROP TABLE IF EXISTS by_hand; CREATE TABLE by_hand ({columns}, PRIMARY KEY (id))"
    )
    await database.execute(f"CREATE TEMPORARY TABLE staging ({columns}) ON COMMIT DELETE ROWS")
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        group_id=f"by-hand-{time.time_ns()}",
        enable_auto_commit=False,
        isolation_level="read_committed",
    )
    await consumer.start()
    numbers = (await consumer._client.fetch_all_metadata()).partitions_for_topic(topic) or set()
    places = [TopicPartition(topic, number) for number in numbers]
    started = time.perf_counter()
    consumer.assign(places)
    for place in places:
        consumer.seek(place, 0)
    done = 0
    while done < count:
        batch = await consumer.getmany(timeout_ms=1000, max_records=BATCH)
        rows = [row(message) for messages in batch.values() for message in messages]
        if not rows:
            continue
        async with database.transaction():
            await database.copy_records_to_table("staging", records=rows, columns=list(COLUMNS))
            await database.execute(UPSERT.format(table="by_hand"))
        await consumer.commit({place: messages[-1].offset + 1 for place, messages in batch.items()})
        done += len(rows)
    seconds = time.perf_counter() - started
    await consumer.stop()
    await database.close()
    print(json.dumps({"records": done, "seconds": seconds}))


asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]))
