"""One record by itself, as the manifest's `one` says: for events that bring some of its fields only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from platint_tui.core.errors import ConfigError, SystemicError
from platint_tui.core.jsontext import dumps
from platint_tui.core.model import BadElement, Json, Record
from platint_tui.drivers.http.answers import Split
from platint_tui.drivers.http.client import Answer
from platint_tui.drivers.http.discover_fields import field_names
from platint_tui.drivers.http.documents import Document
from platint_tui.drivers.http.matching import body_holds
from platint_tui.drivers.http.reader import resource_of
from platint_tui.drivers.http.requests import looked_up
from platint_tui.drivers.http.rules import Verdict
from platint_tui.drivers.http.session import Session
from platint_tui.drivers.http.source import Asking
from platint_tui.manifest import schema


class OneRecord:
    """Reads single records of one stream, each in the form in which a scan of the stream gives it."""

    def __init__(self, session: Session, name: str) -> None:
        """Raises ConfigError when the manifest names no request for one record of `name`."""
        resource = resource_of(session.context.connector, name)
        if resource.one is None or resource.read is None:
            raise ConfigError(
                f"One record of '{name}' cannot be asked for: {session.context.connector.name} names no request."
            )
        self._session = session
        self._name = name
        self._one = resource.one
        self._read = _read_of(resource.read, resource.one)
        self._names: list[str] | None = None

    async def fetch(self, record: Mapping[str, Json]) -> Record | None:
        """The record that `record` tells some fields of, None when the platform has it no more.

        Raises PlatintError: RecordError when the request cannot be made from `record`, SystemicError for an answer
        that is not one record, else what the platform's refusal means.
        """
        scope: dict[str, Json] = {**self._session.scope_of(self._name), "record": record}
        if "resource.fields" in looked_up(self._one.request):
            if self._names is None:
                self._names = await field_names(self._session, self._name)
            scope["resource"] = {**scope["resource"], "fields": self._names}
        asking = Asking(self._session, self._name, self._read, dict(record), scope)
        outgoing = self._session.outgoing(self._one.request, scope)
        found = self._only(await asking.fetch(lambda: outgoing, self._refused))
        return _without(found, self._one.without) if found is not None else None

    def _refused(self, verdict: Verdict, answer: Answer | None) -> Split | None:
        gone = answer is not None and self._gone(answer)
        return Split(None, (), (), answer, 0, ended=True) if gone else None

    def _gone(self, answer: Answer) -> bool:
        test = self._one.missing_when
        if self._one.missing.matches(answer.status):
            return True
        return test is not None and body_holds(test, Document(answer).tree)

    def _only(self, split: Split) -> Record | None:
        host, answer = self._session.caller.host, split.answer
        element = split.given[0] if split.given else None
        if len(split.elements) > 1:
            problem = f"it has {len(split.elements)} records"
        elif isinstance(element, BadElement):
            problem = element.reason
        elif element is None and answer is not None and answer.status >= 400 and not self._gone(answer):
            problem = f"it was answered with {answer.status}"
        else:
            return element
        raise SystemicError(
            f"What {host} answered is not the record that was asked for: {problem}.",
            where=self._name,
            code="not_the_record",
        )


def _without(record: Record, names: Sequence[str]) -> Record:
    """The record without these members; its own text stays as it came where it has none of them."""
    if not any(name in record.value for name in names):
        return record
    value = {name: item for name, item in record.value.items() if name not in names}
    return Record(dumps(value), value)


def _read_of(read: schema.Read, one: schema.One) -> schema.Read:
    """The read of the resource with another request: what becomes of its records stays the same."""
    return read.model_copy(
        update={
            "request": one.request,
            "records": one.record,
            "single": True,
            "optional": True,
            "entries": None,
            "from_parent": one.from_event,
            "page": schema.NoPage(type="none"),
            "cursor": None,
            "total": None,
        }
    )
