"""Bodies as they were meant, or an error: framing, size and the end marker are checked."""

from __future__ import annotations

import zlib

from platint_tui.core.errors import SystemicError, TransientError

WIRE_CAP = 8 * 1024 * 1024
DECODED_CAP = 32 * 1024 * 1024
_PIECE = 64 * 1024
_LINE_TYPES = ("ndjson", "jsonl", "json-seq", "csv", "text/plain", "tab-separated")


def decode_body(data: bytes, coding: str, cap: int, host: str) -> bytes:
    """The body without its content coding. Raises SystemicError for a coding that was not asked for, for more
    than `cap` bytes and for a damaged stream, TransientError for one that ends before its end marker."""
    coding = coding.strip().lower()
    if coding in ("", "identity"):
        if len(data) > cap:
            raise too_large(host, cap, "body")
        return data
    if coding not in ("gzip", "x-gzip"):
        raise SystemicError(
            f"{host} answered with the content coding '{coding[:60]}', which was not asked for.",
            code="coding",
        )
    return gunzip(data, cap, host)


def gunzip(data: bytes, cap: int, host: str) -> bytes:
    """Every member of a gzip stream, at most `cap` bytes in all, each with its end marker and checksum."""
    parts: list[bytes] = []
    size = at = 0
    rest = b""
    while True:
        member = zlib.decompressobj(wbits=31)
        try:
            while not member.eof:
                if not rest:
                    # A piece at a time: what follows a member is copied, and there may be many small ones.
                    rest, at = data[at : at + _PIECE], at + _PIECE
                part = member.decompress(rest, cap + 1 - size)
                size += len(part)
                parts.append(part)
                if size > cap:
                    raise too_large(host, cap, "unpacked body")
                rest = member.unconsumed_tail
                if not rest and not part and at >= len(data) and not member.eof:
                    raise TransientError(
                        f"{host} sent a gzip body that ends before its end marker.", code="truncated"
                    )
        except zlib.error as error:
            raise SystemicError(f"{host} sent a damaged gzip body ({error}).", code="coding") from None
        rest = member.unused_data.lstrip(b"\0")
        while not rest and at < len(data):
            rest, at = data[at : at + _PIECE].lstrip(b"\0"), at + _PIECE
        if not rest:
            return parts[0] if len(parts) == 1 else b"".join(parts)


def too_large(host: str, cap: int, what: str) -> SystemicError:
    """The refusal of an answer that does not end."""
    return SystemicError(
        f"The answer of {host} is larger than {cap // 1024} KiB ({what}).",
        hint="Ask for smaller pages, or raise transport.max_body in the manifest.",
        code="too_large",
    )


def refuse_unframed(content_type: str, framed: bool, host: str) -> None:
    """Refuse a body of lines that only the end of the connection ends: a cut one would look complete."""
    if not framed and any(kind in content_type for kind in _LINE_TYPES):
        raise SystemicError(
            f"{host} sent lines without a length; whether all of them arrived cannot be known.",
            code="unframed",
        )


def expect_json(body: bytes, content_type: str, host: str) -> None:
    """Refuse what is no JSON with a sentence that says what came instead.

    What begins like JSON is taken for it whatever the header says: some servers call everything text/html.
    """
    if not body:
        raise SystemicError(f"{host} answered with an empty body where JSON is expected.", code="empty_body")
    media = content_type.partition(";")[0].strip().lower()
    start = body[:64].lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
    if start == b"<" or (media.endswith("html") and start not in (b"{", b"[")):
        raise SystemicError(
            f"{host} answered with {media or 'markup'} where JSON is expected (a login page?).",
            hint="Check the base URL and whether the credential is accepted.",
            code="not_json",
        )
