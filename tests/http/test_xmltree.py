"""XML as trees: what manifests' paths lead through, and what is refused."""

from __future__ import annotations

import pytest

from platint_tui.core.errors import SystemicError
from platint_tui.drivers.http import xmltree
from platint_tui.drivers.http.xmltree import is_html, is_xml, parse_xml


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("<a/>", None),
        ("<a>x &amp; y</a>", "x & y"),
        ("<Error><Code>NoSuchKey</Code><Empty/></Error>", {"Code": "NoSuchKey", "Empty": None}),
        ("<L><C><K>1</K></C><C><K>2</K></C></L>", {"C": [{"K": "1"}, {"K": "2"}]}),
        ("<L>\n  <C>1</C>\n  <C>2</C>\n  <C>3</C>\n</L>", {"C": ["1", "2", "3"]}),
        ('<a x="1">t</a>', {"@x": "1", "#text": "t"}),
        ('<a x="1"/>', {"@x": "1"}),
        ("<a>one<b>2</b> three</a>", {"b": "2", "#text": "one three"}),
        ('<s:a xmlns:s="u" xmlns="v" s:k="1"><s:b>2</s:b></s:a>', {"@k": "1", "b": "2"}),
        ("<a><![CDATA[<b>]]></a>", "<b>"),
        ("<a>  </a>", "  "),
        ("<?xml version='1.0' encoding='ISO-8859-1'?><a>\u00e9</a>", "\u00e9"),
    ],
)
def test_elements_become_objects(text: str, tree: object) -> None:
    data = text.encode("latin1" if "8859" in text else "utf-8")
    assert parse_xml(data, "peer") == tree


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<a>",
        "<a></b>",
        "no xml",
        "<!DOCTYPE a><a/>",
        '<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>',
        '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>',
        '<!DOCTYPE a SYSTEM "http://127.0.0.1/x.dtd"><a/>',
        "<a>&undefined;</a>",
        "<a>" * 201 + "</a>" * 201,
        "<?xml version='1.0' encoding='no-such-coding'?><a/>",
    ],
)
def test_what_is_no_plain_xml_is_a_typed_error(text: str) -> None:
    with pytest.raises(SystemicError) as caught:
        parse_xml(text.encode(), "peer")
    assert caught.value.code == "xml" and caught.value.message.startswith("peer answered with ")


def test_pages_for_people_are_told_from_documents() -> None:
    assert is_xml("application/xml", b"<a/>") and is_xml("text/xml; charset=utf-8", b"<a/>")
    assert is_xml("application/atom+xml", b"<feed/>") and is_xml("", b"\xef\xbb\xbf<?xml version='1.0'?><a/>")
    assert not is_xml("application/json", b"{}") and not is_xml("text/html", b"<?xml?><html>")
    assert is_html("text/html", b"") and is_html("", b" <!DOCTYPE HTML>") and is_html("", b"<html lang=en>")
    assert is_html("text/plain", b"<?xml version='1.0'?>\n<html xmlns='x'>") and not is_html("", b"<a/>")


@pytest.mark.parametrize("element", [b"<a/>", b'<a b="" c=""/>'])
def test_a_document_of_very_many_elements_or_attributes_is_refused(
    element: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(xmltree, "MAX_NODES", 1 + 30)
    held = 30 if element == b"<a/>" else 10
    assert parse_xml(b"<r>" + element * held + b"</r>", "peer")
    with pytest.raises(SystemicError, match="more than 31 elements and attributes"):
        parse_xml(b"<r>" + element * (held + 1) + b"</r>", "peer")
