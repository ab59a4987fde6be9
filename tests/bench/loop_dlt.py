"""dlt's rest_api source to its SQLite destination, as its documentation has it.

Arguments: base URL, folder. The key comes by the environment. Prints {"records", "seconds"}.
"""

from __future__ import annotations

import json
import os
import sqlite3
import sys
import time
from pathlib import Path

import dlt
from dlt.sources.rest_api import rest_api_source

url, folder = sys.argv[1], Path(sys.argv[2])
file = folder / "dlt.sqlite"
source = rest_api_source(
    {
        "client": {
            "base_url": url,
            "headers": {"X-Api-Key": os.environ["BENCH_KEY"]},
            "paginator": {
                "type": "cursor",
                "cursor_path": "data[-1].id",
                "cursor_param": "starting_after",
                "has_more_path": "has_more",
            },
        },
        "resources": [
            {
                "name": "charges",
                "primary_key": "id",
                "write_disposition": "merge",
                "endpoint": {"path": "v1/charges", "params": {"limit": 100}, "data_selector": "data"},
            }
        ],
    }
)
pipeline = dlt.pipeline(
    pipeline_name="bench",
    pipelines_dir=str(folder / "pipelines"),
    destination=dlt.destinations.sqlalchemy(f"sqlite:///{file}"),
    dataset_name="bench",
)
started = time.perf_counter()
pipeline.run(source)
seconds = time.perf_counter() - started
counts = []
for path in folder.glob("*.sqlite*"):
    database = sqlite3.connect(path)
    if database.execute("SELECT 1 FROM sqlite_master WHERE name = 'charges'").fetchone():
        counts.append(database.execute("SELECT count(*) FROM charges").fetchone()[0])
    database.close()
print(json.dumps({"records": max(counts, default=0), "seconds": seconds}))
