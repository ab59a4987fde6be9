"""The forms of answers: lines, CSV, XML and packed files become records, and what is no record is said."""

from __future__ import annotations

import csv
import gzip
import io
import json
import threading
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from platint_tui.core.errors import PlatintError, SystemicError
from platint_tui.core.jsontext import dumps
from platint_tui.core.model import BadElement, Record
from platint_tui.drivers.http.answers import Splitter
from platint_tui.drivers.http.csvtext import split_csv
from platint_tui.drivers.http.encoding import encode_value
from platint_tui.drivers.http.formats import shape_of, split_lines, split_tree
from platint_tui.drivers.http.xmltree import parse_xml
from tests.http.hostile import Build, Hostile, Rig, Whole, answer

TEXT = st.text(st.characters(codec="utf-8"))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


def reads(**read: Any) -> dict[str, Any]:
    """Changes to the manifest: one answer, in another form."""
    return {"resources": {"items": {"read": {"page": Whole({"type": "none"}), "records": "", **read}}}}


def serve(
    hostile: Hostile, body: bytes, kind: str = "application/octet-stream", path: str = "/items"
) -> None:
    hostile.routes[path] = lambda seen, writer: writer.write(answer(200, body, {"Content-Type": kind}))


async def refused(rig: Rig, stream: str = "items") -> SystemicError:
    with pytest.raises(PlatintError) as caught:
        await rig.read(stream=stream)
    assert isinstance(caught.value, SystemicError)
    return caught.value


def bad(rig: Rig) -> list[tuple[str, str]]:
    return [(item.raw, item.reason) for page in rig.pages for item in page.bad]


# --- CSV -------------------------------------------------------------------------------------------------


@given(
    st.lists(TEXT.filter(bool), min_size=2, max_size=4, unique=True),
    st.lists(st.lists(st.none() | TEXT, min_size=4, max_size=4), max_size=5),
    st.sampled_from([",", ";", "\t", "|"]),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.booleans(),
)
def test_csv_round_trips(
    names: list[str], rows: list[list[str | None]], delimiter: str, end: str, mark: bool
) -> None:
    def cell(value: str | None) -> str:
        return "" if value is None else '"' + value.replace('"', '""') + '"'

    rows = [row[: len(names)] for row in rows]
    lines: list[list[str | None]] = [[*names], *rows]
    text = ("\ufeff" if mark else "") + "".join(delimiter.join(map(cell, line)) + end for line in lines)
    for whole in (text, text.removesuffix(end) if rows and rows[-1][-1] is not None else text):
        elements = split_csv(whole, delimiter)
        assert elements == [
            Record(dumps(item.value), item.value) for item in elements if isinstance(item, Record)
        ]
        assert [list(item.value.values()) for item in elements if isinstance(item, Record)] == rows


@given(st.lists(st.lists(TEXT, min_size=3, max_size=3), max_size=5))
def test_csv_of_the_standard_library_is_read(rows: list[list[str]]) -> None:
    stream = io.StringIO()
    csv.writer(stream, quoting=csv.QUOTE_ALL).writerows([["a", "b", "c"], *rows])
    elements = split_csv(stream.getvalue(), ",")
    assert [list(item.value.values()) for item in elements if isinstance(item, Record)] == rows


@given(st.text(alphabet='a",;\r\n \ufeff', max_size=40))
def test_any_csv_is_read_or_refused(text: str) -> None:
    try:
        elements = split_csv(text, ",")
    except SystemicError as error:
        assert error.code == "csv"
        return
    for item in elements:
        assert item.reason if isinstance(item, BadElement) else json.loads(item.raw) == item.value


def test_csv_lines_that_do_not_fit() -> None:
    text = 'id,name\n1,a\n2\n3,b,c\n\n"4"x,d\n5,"say ""hi"",\r\nthere"\n6,\n7,""\n8,a"b'
    elements = split_csv(text, ",")
    assert [item.value for item in elements if isinstance(item, Record)] == [
        {"id": "1", "name": "a"},
        {"id": "5", "name": 'say "hi",\r\nthere'},
        {"id": "6", "name": None},
        {"id": "7", "name": ""},
        {"id": "8", "name": 'a"b'},
    ]
    assert [(item.raw, item.reason) for item in elements if isinstance(item, BadElement)] == [
        ("2", "1 values where the header has 2 names"),
        ("3,b,c", "3 values where the header has 2 names"),
        ('"4"x,d', "there is text behind a closing quote"),
    ]


def test_a_long_quote_that_is_never_closed_is_refused_at_once() -> None:
    with pytest.raises(SystemicError) as caught:
        split_csv('a,b\n1,"' + 'x""' * 200_000, ",")
    assert caught.value.code == "csv" and "character 7" in caught.value.message


async def test_csv_over_the_wire(build: Build, hostile: Hostile) -> None:
    serve(hostile, b"\xef\xbb\xbfid;name\r\n1;a\r\n2;\r\n3\r\n", "text/csv")
    rig = build(reads(format="csv", csv={"delimiter": ";"}))
    assert await rig.read() == [{"id": "1", "name": "a"}, {"id": "2", "name": None}]
    assert bad(rig) == [("3", "1 values where the header has 2 names")]
    assert rig.pages[0].records[0].raw == '{"id":"1","name":"a"}'
    assert hostile.seen[0].headers["accept"] == "*/*"
    changes = reads(format="csv", csv={"delimiter": ";"}, request={"headers": {"Accept": "text/csv"}})
    await build(changes).read()
    assert hostile.seen[1].headers["accept"] == "text/csv"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"id,id\n1,2\n", "csv"),
        (b'id,name\n1,"open\n', "csv"),
        (b"id\n\xff\n", "encoding"),
        (b"<!doctype html><title>Sign in</title>", "not_json"),
    ],
)
async def test_what_is_no_csv(build: Build, hostile: Hostile, body: bytes, code: str) -> None:
    serve(hostile, body)
    assert (await refused(build(reads(format="csv")))).code == code


async def test_nothing_is_no_records_in_csv_and_lines(build: Build, hostile: Hostile) -> None:
    serve(hostile, b"")
    assert await build(reads(format="csv")).read() == []
    assert await build(reads(format="ndjson")).read() == []
    hostile.routes["/items"] = lambda seen, writer: writer.write(b"HTTP/1.1 204 X\r\n\r\n")
    assert await build(reads(format="csv")).read() == []


async def test_F8_csv_without_a_length_is_refused(build: Build, hostile: Hostile) -> None:
    hostile.raw("/items", b"HTTP/1.1 200 X\r\nContent-Type: text/csv\r\n\r\nid\n1\n")
    assert (await refused(build(reads(format="csv")))).code == "unframed"


# --- lines -----------------------------------------------------------------------------------------------


@given(st.lists(st.dictionaries(TEXT, JSON, max_size=4), max_size=5), st.sampled_from(["\n", "\r\n", "\n\n"]))
def test_lines_round_trip(documents: list[dict[str, Any]], end: str) -> None:
    texts = [dumps(document) for document in documents]
    elements = split_lines(end.join(texts).encode(), "")
    assert [(item.raw, item.value) for item in elements if isinstance(item, Record)] == list(
        zip(texts, documents, strict=True)
    )


@given(st.binary(max_size=60))
def test_any_bytes_are_lines(data: bytes) -> None:
    for item in split_lines(data, ""):
        assert isinstance(item, Record) or item.reason


async def test_lines_over_the_wire_keep_their_text(build: Build, hostile: Hostile) -> None:
    lines = b'{"id": 1,  "n": 1.0}\r\n\n{"id": 2\n[3]\n{"id":12345678901234567890}'
    serve(hostile, lines, "application/x-ndjson")
    rig = build(reads(format="ndjson"))
    await rig.read()
    assert [record.raw for record in rig.pages[0].records] == [
        '{"id": 1,  "n": 1.0}',
        '{"id":12345678901234567890}',
    ]
    assert [raw for raw, _ in bad(rig)] == ['{"id": 2', "[3]"]


# --- XML -------------------------------------------------------------------------------------------------

NAME = st.from_regex(r"[A-Za-z][A-Za-z0-9]{0,5}", fullmatch=True)
XML_TEXT = st.text(st.characters(min_codepoint=32, codec="utf-8", exclude_characters="\ufffe\uffff"))
LEAF = XML_TEXT.filter(lambda text: bool(text.strip()))
TREE = st.dictionaries(
    NAME,
    LEAF | st.dictionaries(NAME, LEAF, min_size=1, max_size=3) | st.lists(LEAF, min_size=2, max_size=3),
    max_size=3,
)


@given(st.lists(TREE.filter(bool), max_size=4), st.dictionaries(NAME, XML_TEXT, max_size=2))
def test_xml_round_trips(trees: list[dict[str, Any]], attributes: dict[str, str]) -> None:
    """What is written as XML is read as the same tree, one element or many."""
    body = {
        "Root": {
            "List": {"Item": trees, "@of": "x"},
            **{f"@{name}": text for name, text in attributes.items()},
        }
    }
    tree = parse_xml(encode_value(body, "xml")[0], "test")
    assert {name[1:]: text for name, text in tree.items() if name.startswith("@")} == attributes
    elements = split_tree(tree, ("List", "Item"))
    assert [item.value for item in elements if isinstance(item, Record)] == trees


LISTING = b"""<?xml version="1.0" encoding="utf-8"?>
<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><IsTruncated>%s</IsTruncated>%s
<NextContinuationToken>%s</NextContinuationToken></ListBucketResult>"""


def listing(keys: list[str], token: str) -> bytes:
    items = "".join(f"<Contents><Key>{key}</Key><Size>1</Size></Contents>" for key in keys)
    return LISTING % (b"true" if token else b"false", items.encode(), token.encode())


async def test_xml_pages_with_one_with_many_and_with_none(build: Build, hostile: Hostile) -> None:
    pages = {"": listing(["a", "b"], "t1"), "t1": listing(["c"], "t2"), "t2": listing([], "")}
    hostile.routes["/items"] = lambda seen, writer: writer.write(
        answer(200, pages[seen.query.get("token", "")], {"Content-Type": "application/xml"})
    )
    page = {"type": "cursor", "from": "NextContinuationToken", "param": "token", "more": "IsTruncated"}
    rig = build(reads(format="xml", records="Contents", page=Whole(page)))
    assert [item["Key"] for item in await rig.read()] == ["a", "b", "c"]
    assert rig.pages[0].records[0].raw == '{"Key":"a","Size":"1"}'


async def test_xml_attributes_and_links_of_atom(build: Build, hostile: Hostile) -> None:
    entry = "<entry><title>{0}</title><content type='x'><Q Size='{0}'>t</Q></content></entry>"
    first = (
        f'<feed><link rel="self" href="/x"/><link rel="next" href="/items?skip=1"/>{entry.format(1)}</feed>'
    )
    last = f'<feed><link rel="self" href="/x"/>{entry.format(2)}</feed>'
    hostile.routes["/items"] = lambda seen, writer: writer.write(
        answer(
            200, (last if "skip" in seen.query else first).encode(), {"Content-Type": "application/atom+xml"}
        )
    )
    page = {"type": "link_body", "path": "link", "rel": "next"}
    rig = build(reads(format="xml", records="entry.content.Q", page=Whole(page)))
    assert await rig.read() == [{"@Size": "1", "#text": "t"}, {"@Size": "2", "#text": "t"}]


@pytest.mark.parametrize(
    "body",
    [
        b'<!DOCTYPE a [<!ENTITY x "y">]><a>&x;</a>',
        b"<a><b></a>",
        b"<a>" * 300 + b"</a>" * 300,
        b"",
        b"<!doctype html><html><title>Sign in</title></html>",
    ],
)
async def test_what_is_no_xml(build: Build, hostile: Hostile, body: bytes) -> None:
    serve(hostile, body, "application/xml")
    assert (await refused(build(reads(format="xml", records="b")))).code


# --- files -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "form", "packed"),
    [
        ("https://h/b/x.json", "json", False),
        ("https://h/b/x.JSONL?versionId=1.csv", "ndjson", False),
        ("https://h/b/x%2Ey.ndjson.gz", "ndjson", True),
        ("https://h/b/x.csv.GZ#", "csv", True),
        ("https://h/b.d/x.xml", "xml", False),
        ("https://h/b.csv/x", "", False),
        ("https://h/b/x.png", "", False),
        ("https://h/b/", "", False),
    ],
)
def test_the_ending_says_the_form(url: str, form: str, packed: bool) -> None:
    assert shape_of("file", None, url) == ((form, packed) if form else None)


OBJECTS = {
    "a.csv.gz": gzip.compress(b"id\n1\n"),
    "dir/": b"",
    "dir/b.jsonl": b'{"id": 2}\n{"id": 3}\n',
    "c.png": b"\x89PNG",
    "d.json": b'[{"id": 4}]',
    "empty.csv": b"",
    "unpacked.csv.gz": b"id\n5\n",
}


async def test_objects_of_a_bucket_are_read_by_their_ending(build: Build, hostile: Hostile) -> None:
    hostile.json("/items", {"data": [{"key": key} for key in OBJECTS]})
    for key, body in OBJECTS.items():
        serve(hostile, body, "binary/octet-stream", f"/o/{key}")
    changes = reads(records="data")
    changes["resources"]["items"]["key"] = ["key"]
    changes["resources"]["rows"] = {
        "key": [],
        "parent": {"resource": "items"},
        "read": {
            "request": {"path": "/o/${parent.key | segments}"},
            "format": "file",
            "records": "",
            "from_parent": {"_file": "key"},
            "page": {"type": "none"},
        },
    }
    rig = build(changes)
    assert await rig.read(stream="rows") == [
        {"id": "1", "_file": "a.csv.gz"},
        {"id": 2, "_file": "dir/b.jsonl"},
        {"id": 3, "_file": "dir/b.jsonl"},
        {"id": 4, "_file": "d.json"},
        {"id": "5", "_file": "unpacked.csv.gz"},
    ]
    assert [raw for raw, _ in bad(rig)] == ['{"file":"c.png"}']
    # A picture is not even asked for.
    assert "/o/c.png" not in [seen.path for seen in hostile.seen]
    assert rig.pages[1].records == () or rig.pages[1].records == []


async def test_G8_a_packed_body_is_bounded(build: Build, hostile: Hostile) -> None:
    packer = zlib.compressobj(9, wbits=31)
    bomb = b"".join(packer.compress(b" " * (1 << 20)) for _ in range(40)) + packer.flush()
    serve(hostile, bomb)
    error = await refused(build(reads(format="ndjson", compression="gzip")))
    assert error.code == "too_large" and len(bomb) < 100_000


async def test_a_packed_body_that_is_cut_is_an_error(build: Build, hostile: Hostile) -> None:
    serve(hostile, gzip.compress(b'{"id": 1}\n' * 1000)[:-9])
    assert (await refused(build(reads(format="ndjson", compression="gzip")))).code == "truncated"


async def test_a_manifest_may_expect_large_bodies(build: Build, hostile: Hostile) -> None:
    body = b'[{"id": 1, "x": "' + b"x" * (9 << 20) + b'"}]'
    serve(hostile, body, "application/json")
    assert (await refused(build(reads()))).code == "too_large"
    rig = build({**reads(), "transport": {"max_body": "40MiB"}})
    assert len((await rig.read())[0]["x"]) == 9 << 20


# --- what elements become --------------------------------------------------------------------------------


async def test_plain_values_become_records(build: Build, hostile: Hostile) -> None:
    hostile.raw("/items", answer(200, b'{"data": ["a", 1.10, null, [1], {"id": 2}, true]}'), close=False)
    rig = build(reads(records="data", scalar="id"))
    assert [record.raw for record in (await rig.read()) and rig.pages[0].records] == [
        '{"id":"a"}',
        '{"id":1.10}',
        '{"id": 2}',
        '{"id":true}',
    ]
    assert [raw for raw, _ in bad(rig)] == ["null", "[1]"]


async def test_the_last_plain_value_is_a_cursor(build: Build, hostile: Hostile) -> None:
    hostile.json("/items", {"data": ["a", "b"]}, {"data": []})
    page = {"type": "cursor", "from": "last_record.name", "param": "after", "size": 2}
    rig = build(reads(records="data", scalar="name", page=Whole(page)))
    assert await rig.read() == [{"name": "a"}, {"name": "b"}]
    assert hostile.seen[1].query["after"] == "b"


async def test_members_become_records(build: Build, hostile: Hostile) -> None:
    hostile.json("/items", {"indices": {"b": {"docs": 1}, "a": {"docs": 2}, "c": 5, "d": None}})
    rig = build(reads(records="indices", entries="name"))
    assert await rig.read() == [{"docs": 1, "name": "b"}, {"docs": 2, "name": "a"}]
    assert len(bad(rig)) == 2
    rig = build(reads(records="indices", entries="name", scalar="value"))
    assert {"name": "c", "value": 5} in await rig.read()
    hostile.json("/items", {"indices": []})
    assert (await refused(build(reads(records="indices", entries="name")))).code == "records_path"


async def test_a_name_overwrites_no_member_of_its_record(build: Build, hostile: Hostile) -> None:
    hostile.json("/items", {"a": {"name": "Alpha"}, "b": {"name": "b", "x": 1}, "c": {"x": 2}})
    rig = build(reads(records="", entries="name"))
    assert await rig.read() == [{"name": "b", "x": 1}, {"name": "c", "x": 2}]
    bad = [item for page in rig.pages for item in page.bad]
    assert [json.loads(item.raw) for item in bad] == [{"a": {"name": "Alpha"}}] and "'name'" in bad[0].reason


async def test_elements_may_be_left_out(build: Build, hostile: Hostile) -> None:
    data = [{"id": 1, "type": "a"}, {"id": 2, "type": "b"}, {"id": 3}, {"id": 4, "gone": True}]
    hostile.json("/items", {"data": data})
    skip = [{"path": "type", "equals": "b"}, {"path": "gone", "exists": True}]
    assert [item["id"] for item in await build(reads(records="data", skip=skip)).read()] == [1, 3]


async def test_pages_are_counted_before_elements_are_left_out(build: Build, hostile: Hostile) -> None:
    hostile.json("/items", {"data": [{"id": 1}, {"id": 2}]}, {"data": [{"id": 3}]})
    page = {"type": "offset", "limit_param": None, "size": 2, "total": "none"}
    rig = build(reads(records="data", page=Whole(page), skip=[{"path": "id", "in": [1, 2]}], optional=True))
    hostile.json("/items", {"data": [{"id": 1}, {"id": 2}]}, {"data": [{"id": 3}]}, {"data": []})
    assert [item["id"] for item in await rig.read()] == [3]
    assert [seen.query["offset"] for seen in hostile.seen] == ["0", "2", "3"]


async def test_values_of_the_parent_are_copied(build: Build, hostile: Hostile) -> None:
    hostile.json("/items", {"data": [{"id": 7, "org": {"name": "o"}}]})
    hostile.raw("/sub/7", answer(200, b'[{"id":  1.0}, {}, {"org": "own"}]'), close=False)
    changes = reads(records="data")
    changes["resources"]["subs"] = {
        "key": [],
        "parent": {"resource": "items"},
        "read": {
            "request": {"path": "/sub/${parent.id}"},
            "records": "",
            "from_parent": {"org": "org.name", "parent_id": "id", "none": "x.y"},
            "page": {"type": "none"},
        },
    }
    rig = build(changes)
    await rig.read(stream="subs")
    added = '"org":"o","parent_id":7,"none":null}'
    assert [record.raw for record in rig.pages[0].records] == [
        '{"id":  1.0,' + added,
        "{" + added,
        "{" + added,
    ]
    assert rig.pages[0].records[0].value == json.loads(rig.pages[0].records[0].raw)


async def test_a_list_that_is_left_out_when_it_is_empty(build: Build, hostile: Hostile) -> None:
    hostile.json("/items", {"kind": "list"})
    assert (await refused(build(reads(records="items")))).code == "records_path"
    assert await build(reads(records="items", optional=True)).read() == []
    hostile.json("/items", {"items": None})
    assert await build(reads(records="items", optional=True)).read() == []
    hostile.json("/items", {"items": {"id": 1}})
    assert (await refused(build(reads(records="items", optional=True)))).code == "records_path"


@pytest.mark.parametrize("packed", [True, False])
async def test_what_is_or_may_become_large_is_taken_apart_beside_the_loop(
    build: Build, hostile: Hostile, monkeypatch: pytest.MonkeyPatch, packed: bool
) -> None:
    threads: list[int] = []
    split = Splitter.split

    def noted(self: Splitter, *arguments: Any) -> Any:
        threads.append(threading.get_ident())
        return split(self, *arguments)

    monkeypatch.setattr(Splitter, "split", noted)
    lines = b'{"id": 1}\n' * (3 if packed else 150_000)
    hostile.routes["/items"] = lambda seen, writer: writer.write(
        answer(200, gzip.compress(lines) if packed else lines)
    )
    rig = build(reads(format="ndjson", compression="gzip" if packed else None))
    assert len(await rig.read()) == lines.count(b"\n")
    assert threads and threading.get_ident() not in threads
