"""Looks up what a manifest says of registering webhooks, and of the lists of what was sent."""

from __future__ import annotations

from contract.look_answers import Answers
from contract.looked import Found, Records
from contract.manifests import Data

CHANGES = ("prepare", "pause", "resume", "remove")


class Webhooks(Answers):
    """The requests of `webhooks.subscribe` and `webhooks.missed`, and what is taken from their answers."""

    def webhook_parts(self) -> list[str]:
        """The parts of one manifest, each to be looked up alone."""
        webhooks = self.data["webhooks"] or {}
        return [
            f"webhooks.{word}.{number}"
            for word in ("subscribe", "missed")
            for number in range(len(webhooks.get(word) or ()))
        ]

    def _webhook_part(self, name: str) -> None:
        _, word, number = name.split(".")
        way = self.data["webhooks"][word][int(number)]
        if word == "missed":
            self._missed(name, way)
        elif way["create"]:
            self._subscribe(name, way)

    def _subscribe(self, entry: str, way: Data) -> None:
        made = self._request(f"{entry}.create", way["create"])
        if way["id_from"]:
            self._answer(f"{entry}.id_from", way["id_from"], made)
        for field, path in way["keep"].items():
            self._answer(f"{entry}.keep.{field}", path, made)
        told = made
        if way["secret_request"]:
            told = self._request(f"{entry}.secret_request", way["secret_request"])
        if way["secret_from"]:
            self._answer(f"{entry}.secret_from", way["secret_from"], told)
        answers = [made]
        for word in CHANGES:
            if way[word]:
                answers.append(self._request(f"{entry}.{word}", way[word]))
        for number, path in enumerate(way["error_from"]):
            self._one_of(f"{entry}.error_from.{number}", path, answers)
        for word in ("list", "address"):
            if way[word]:
                self._registered(f"{entry}.{word}", way[word])
        if way["renew"]:
            renewed = self._request(f"{entry}.renew", way["renew"])
            if way["expires_from"]:
                self._answer(f"{entry}.expires_from", way["expires_from"], renewed)

    def _one_of(self, entry: str, path: str, answers: list[Found]) -> None:
        """A path that one of several answers has."""
        known = [found for found in answers if self._at(found, path)]
        self._answer(entry, path, known[0] if known else answers[0])

    def _registered(self, entry: str, listed: Data) -> None:
        found = self._request(f"{entry}.request", listed["request"], listed["format"])
        records: Records | None
        if listed["items"] is None:
            records = Records(found.answers, found, ()) if found.answers else None
        else:
            element = {"records": listed["items"], "format": listed["format"], "_key": "items"}
            records = self._element(entry, element, found)
        self._pages(f"{entry}.page", listed["page"], listed["request"], found, records)
        words = ("id", "url", "types", "expires") if entry.endswith(".list") else ("url",)
        for word in words:
            if listed[word]:
                self._member(f"{entry}.{word}", listed[word], records)
        for word in ("active", "confirmed"):
            if listed[word]:
                self._member(f"{entry}.{word}.path", listed[word]["path"], records)
        if listed["type"] and records is not None:
            self._member(f"{entry}.type", f"{listed['types']}.0.{listed['type']}", records)

    def _missed(self, entry: str, way: Data) -> None:
        if way["request"] is None:
            return
        request = {**way["request"], "query": {**way["request"]["query"], **way["only_failed"]}}
        found = self._request(f"{entry}.request", request)
        records = self._element(entry, {"records": way["items"], "format": "json", "_key": "items"}, found)
        self._pages(f"{entry}.page", way["page"], way["request"], found, records)
        for word in ("event_id", "time", "delivery_id"):
            if way[word]:
                self._member(f"{entry}.{word}", way[word], records)
        if way["body"] and way["body"] != ".":
            self._member(f"{entry}.body", way["body"], records)
        for number, path in enumerate(way["type"]):
            self._member(f"{entry}.type.{number}", path, records)
        if way["delivered"]:
            self._member(f"{entry}.delivered.path", way["delivered"]["path"], records)
        if way["redeliver"]:
            self._request(f"{entry}.redeliver", way["redeliver"])
