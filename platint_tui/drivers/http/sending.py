"""What is sent for rows: one request for one row, or one for many, and what the answer says of each."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from platint_tui.core.errors import ErrorClass, RecordError
from platint_tui.core.jsontext import dumps
from platint_tui.core.model import Fault, Json, JsonObject, Row, TargetPlan
from platint_tui.drivers.http.calls import UNKNOWN, Outgoing, Trace
from platint_tui.drivers.http.client import Answer
from platint_tui.drivers.http.documents import fields_of, is_page, tree_of, words
from platint_tui.drivers.http.matching import body_holds, stays
from platint_tui.drivers.http.requests import address, body_value, encoded, lookups, lower, with_query
from platint_tui.drivers.http.rules import Verdict
from platint_tui.drivers.http.session import Session
from platint_tui.drivers.http.shown import excerpt, shown_answer, shown_request
from platint_tui.drivers.http.xmltree import is_xml
from platint_tui.manifest import schema
from platint_tui.manifest.template import lookup, render, render_body, render_map
from platint_tui.manifest.writes import ChosenWrite

_ABSENT: list[Json] = []  # this very list: there is nothing at a path, not even null
_OF_ROWS = frozenset({"record", "run", "item", "items"})
Outcome = Fault | JsonObject
"""What became of a row: why it was refused, or what the answer returned for it."""


@dataclass(frozen=True, slots=True)
class Item:
    """A row that is ready to be sent. `number` is its place in the batch, `content` its part of a bulk body."""

    number: int
    row: Row
    id: str
    content: Json = None


class Sender:
    """Makes the requests of one write of one target, and reads their answers."""

    def __init__(self, session: Session, plan: TargetPlan, write: ChosenWrite) -> None:
        self._session = session
        self._plan = plan
        self._write = write
        self._scope = session.scope_of(plan.target)
        self.operation = write.operation
        self.bulk = write.operation.bulk
        self._steady = _Steady(write.operation)
        self._made: tuple[str, str, dict[str, str]] | None = None

    def prepare(self, number: int, row: Row) -> Item | Fault:
        """A row ready to be sent, or why it cannot be."""
        if self.bulk is None and not self._steady.item:
            return Item(number, row, "")
        short = hashlib.blake2b(row.idempotency_key.encode(), digest_size=8).hexdigest()
        item = Item(number, row, short)
        if self.bulk is None:
            return item
        try:
            content = render_body(self.bulk.item, self._of_row(item))
            dumps(content).encode()
        except RecordError as error:
            return Fault(ErrorClass.RECORD, error.code, error.message, hint=error.hint)
        except UnicodeEncodeError:
            return Fault(
                ErrorClass.RECORD, "body", "A text holds half of a surrogate pair, which is no character."
            )
        return replace(item, content=content)

    def units(self, items: Sequence[Item]) -> Iterator[list[Item]]:
        """The items in the portions that go out with one request each, in order."""
        if self.bulk is None:
            yield from ([item] for item in items)
            return
        unit: list[Item] = []
        size = 0
        for item in items:
            length = len(dumps(item.content).encode()) + 1
            full = len(unit) >= self.bulk.size or (
                self.bulk.max_bytes and size + length > self.bulk.max_bytes
            )
            if unit and full:
                yield unit
                unit, size = [], 0
            unit.append(item)
            size += length
        if unit:
            yield unit

    def request(self, unit: Sequence[Item], trace: Trace) -> Outgoing:
        """The request for a unit. Raises RecordError when its only row does not fit."""
        operation = self.operation
        scope = self._of_row(unit[0]) if self.bulk is None else self._of_unit(unit)
        url, headers = self._envelope(scope)
        if operation.idempotency is not None:
            key = render(operation.idempotency.value, scope, "header")
            headers[operation.idempotency.header.lower()] = key
        content, headers = encoded(operation, self._body(scope), headers)
        return Outgoing(
            operation.method,
            url,
            headers,
            content,
            self._write.idempotent,
            trace,
            endpoint=operation.endpoint,
            resource=self._plan.target,
            weight=operation.weight,
            graphql=operation.graphql is not None,
            ends=operation.gone,
        )

    def _envelope(self, scope: Mapping[str, Json]) -> tuple[str, dict[str, str]]:
        """Address and headers; made once where they look up nothing of a row."""
        operation, session = self.operation, self._session
        base = session.address_for(operation.endpoint)
        if self._made is not None and self._made[0] == base:
            return self._made[1], dict(self._made[2])
        url = with_query(address(base, operation.path, scope), render_map(operation.query, scope, "query"))
        headers = {
            **session.headers_for(operation.endpoint),
            **lower(render_map(operation.headers, scope, "header")),
        }
        if self._steady.envelope:
            self._made = (base, url, dict(headers))
        return url, headers

    def outcomes(self, unit: Sequence[Item], answer: Answer, request: Outgoing) -> list[Outcome | None]:
        """What a successful answer says of each row of its unit. None: a failure is told, but not of which row;
        the row may be sent again, with fewer others."""
        if self.bulk is None or self.bulk.results is None:
            document = tree_of(answer) if self.operation.returns else None
            return [self._returned(document) for _ in unit]
        return self._told(unit, self.bulk.results, tree_of(answer), answer, request)

    def is_gone(self, answer: Answer) -> bool:
        """Whether an answer says that what was to be deleted is not there any more: no page for people, and no
        redirect to another platform or to a login."""
        if self.operation.gone is None or not self.operation.gone.matches(answer.status):
            return False
        if 300 <= answer.status < 400:
            return stays(answer.url, answer.headers.get("location", ""))
        return not is_page(answer)

    def unclear(self, answer: Answer, request: Outgoing) -> Fault:
        """What became of a row of several that were answered with one status for all of them."""
        told = f"{self._session.caller.host} answered {answer.status} for all rows of a request."
        return _unknown(told, request, answer)

    def fault(self, verdict: Verdict, answer: Answer | None, request: Outgoing, trouble: str = "") -> Fault:
        """A refusal of a whole request as what became of a row in it."""
        path = self.operation.error_field
        named = lookup(tree_of(answer), path) if answer is not None and path else None
        return Fault(
            verdict.error_class,
            verdict.code,
            trouble or verdict.message,
            words(named, 128),
            verdict.hint,
            shown_request(request),
            shown_answer(answer) if answer is not None else None,
        )

    def _body(self, scope: Mapping[str, Json]) -> Json:
        value = body_value(self.operation, scope)
        if self.operation.encode == "ndjson" and isinstance(value, list):
            # What a row needs several lines for stands as a list in the list.
            return [line for entry in value for line in (entry if isinstance(entry, list) else [entry])]
        return value

    def _of_row(self, item: Item) -> dict[str, Json]:
        return {
            **self._scope,
            "record": item.row.value,
            "run": {"item_key": item.row.idempotency_key, "sync": self._plan.sync, "id": self._plan.run},
            "item": {"id": item.id, "index": item.number, "key": item.row.key},
        }

    def _of_unit(self, unit: Sequence[Item]) -> dict[str, Json]:
        digest = hashlib.blake2b(digest_size=16)
        for item in unit:
            digest.update(item.row.idempotency_key.encode() + b"\n")
        return {
            **self._scope,
            "items": [item.content for item in unit],
            "run": {"item_key": digest.hexdigest(), "sync": self._plan.sync, "id": self._plan.run},
        }

    def _returned(self, document: Json) -> JsonObject:
        return (
            {name: lookup(document, path) for name, path in self.operation.returns.items()}
            if document
            else {}
        )

    def _told(
        self,
        unit: Sequence[Item],
        results: schema.BulkResults,
        document: Json,
        answer: Answer,
        request: Outgoing,
    ) -> list[Outcome | None]:
        elements = self._elements(results, document, answer, len(unit))
        if elements is None:
            told = f"The answer does not hold what was expected at '{results.path}'."
            return [_unknown(told, request, answer) for _ in unit]
        by_id = self._by_id(results, elements)
        if by_id is None and results.only_failures:
            by_id = {f"failure {number}": item for number, item in enumerate(elements)}  # of no known row
        if by_id is None and not results.only_failures and len(elements) != len(unit):
            told = f"The answer tells of {len(elements)} rows, {len(unit)} were sent."
            return [_unknown(told, request, answer) for _ in unit]
        ids = [self._id_of(results, item, place) for place, item in enumerate(unit)]
        strays = [item for name, item in by_id.items() if name not in ids] if by_id is not None else []
        if strays and len(unit) == 1:
            by_id = {ids[0]: strays[0]}  # there is only one row that it can be about
        outcomes: list[Outcome | None] = []
        for place, name in enumerate(ids):
            element = elements[place] if by_id is None else by_id.get(name)
            if element is not None and self._failed(results, element):
                outcomes.append(self._refusal(results, element, answer, request))
            elif element is not None and _untold(results, element):
                outcomes.append(_unknown("The answer has no status of this row.", request, answer))
            elif element is not None or (
                results.only_failures and not (strays and by_id and name not in by_id)
            ):
                outcomes.append(self._returned(element))
            elif results.only_failures and self._write.idempotent:
                outcomes.append(None)
            elif results.only_failures:
                outcomes.append(_unknown("The answer names a failure of none of its rows.", request, answer))
            else:
                outcomes.append(_unknown("The answer tells nothing of this row.", request, answer))
        return outcomes

    def _elements(
        self, results: schema.BulkResults, document: Json, answer: Answer, count: int
    ) -> list[Json] | None:
        """What the answer has for each row, or for each that failed; None when that cannot be told. Where only
        failures are named, none at all are believed of an answer that is empty (204) or names `count` rows
        that were taken."""
        found = lookup(document, results.path, _ABSENT) if results.path else document
        if found is _ABSENT and results.only_failures:
            taken = _listed(lookup(document, results.taken)) if results.taken else None
            nothing = answer.status == 204 and not answer.body
            return [] if nothing or (taken is not None and len(taken) == count) else None
        if isinstance(found, list):
            elements = found
        elif isinstance(found, Mapping):
            # In XML a list of one cannot be told from an object; a failure in another form is one all the same.
            single = results.only_failures or is_xml(answer.headers.get("content-type", ""), answer.body)
            elements = [found] if single else []
        elif found is None:
            elements = []
        else:
            return None
        if results.unwrap:
            return [
                next(iter(item.values()), None) if isinstance(item, Mapping) else item for item in elements
            ]
        return elements

    def _by_id(self, results: schema.BulkResults, elements: Sequence[Json]) -> dict[str, Json] | None:
        path = results.id or results.index
        if path is None:
            return None
        return {_plain(lookup(item, path)): item for item in elements}

    def _id_of(self, results: schema.BulkResults, item: Item, place: int) -> str:
        if results.id is None:
            return str(place)
        return _plain(lookup(item.row.value, results.row_id)) if results.row_id else item.id

    def _failed(self, results: schema.BulkResults, element: Json) -> bool:
        if results.only_failures or (results.failed is not None and body_holds(results.failed, element)):
            return True
        status = _status(results, element)
        return status is not None and status >= 400

    def _refusal(
        self, results: schema.BulkResults, element: Json, answer: Answer, request: Outgoing
    ) -> Outcome:
        """A row's own refusal, judged by the manifest's rules as if it had been an answer of its own."""
        status = _status(results, element)
        known = status if status is not None and 400 <= status <= 599 else 400
        alone = Answer(known, answer.headers, dumps(element).encode(), answer.url, 0)
        if known == status and self.is_gone(alone):
            return {}
        caller, clock = self._session.caller, self._session.context.clock
        verdict = caller.rules.judge(alone, "write", caller.host, clock.now_ms())
        if verdict is not None and verdict.action == "ignore":
            return {}
        code = words(lookup(element, results.code)) if results.code else ""
        told = lookup(element, results.message) if results.message else None
        said = words(told, 300) or fields_of(told)
        message = f"{caller.host} refused this row: {said or code or 'it does not say why'}"
        kind = ErrorClass.RECORD if verdict is None or known != status else verdict.error_class
        if kind is ErrorClass.TRANSIENT and not self._write.idempotent:
            return _unknown(f"{message.rstrip('.')}.", request, answer)
        return Fault(
            kind,
            code or (verdict.code if verdict else str(known)),
            message,
            words(lookup(element, results.field), 128) if results.field else "",
            verdict.hint if verdict else "",
            shown_request(request),
            {"status": answer.status, "body": excerpt(dumps(element).encode())},
        )


class _Steady:
    """What of a write is the same for every row. `envelope`: its address and headers are; `item`: it looks up the
    number or the id of a row in its batch."""

    def __init__(self, operation: schema.WriteOp) -> None:
        envelope = set(lookups([operation.path, operation.query, operation.headers]))
        key = operation.idempotency.value if operation.idempotency is not None else None
        variables = operation.graphql.variables if operation.graphql is not None else None
        every = envelope | set(lookups([key, operation.body, variables]))
        self.envelope = not any(name.partition(".")[0] in _OF_ROWS for name in envelope)
        self.item = any(name.startswith("item.") or name == "item" for name in every)


def _unknown(told: str, request: Outgoing, answer: Answer) -> Fault:
    return Fault(
        ErrorClass.TRANSIENT,
        UNKNOWN,
        f"{told} Whether it was carried out is not known.",
        hint="Look on the platform before replaying.",
        request=shown_request(request),
        response=shown_answer(answer),
    )


def _listed(value: Json) -> list[Json] | None:
    if isinstance(value, Mapping):
        return [value]
    return value if isinstance(value, list) else None


def _status(results: schema.BulkResults, element: Json) -> int | None:
    """The status of a row, as a number or as a text of digits."""
    value = lookup(element, results.status) if results.status else None
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) == 3:
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _untold(results: schema.BulkResults, element: Json) -> bool:
    """Whether nothing but a status would tell of a row, and there is none."""
    return results.status is not None and results.failed is None and _status(results, element) is None


def _plain(value: Json) -> str:
    return value if isinstance(value, str) else dumps(value)
