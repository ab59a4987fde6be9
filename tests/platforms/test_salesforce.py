"""Salesforce through its manifest, against an org in Salesforce's shapes (the vendor publishes no description): signing
in names the org's address, objects are described before they are read.
"""

from __future__ import annotations

import base64
import csv
import io
import json
import re
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qs

import pytest
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from platforms.vendor import Account, Asked, Reply, Vendor, account, running

from platint_tui.core.errors import ConfigError, CredentialError, RateLimited

DATA = "/services/data/v67.0"
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PEM = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
QUERY = re.compile(r"SELECT ([\w,]+) FROM (\w+) WHERE SystemModstamp >= (\S+)( ORDER BY SystemModstamp, Id)?")


def described(name: str, kind: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "label": name, "type": kind, "nillable": True, "length": 80, **more}


FIELDS = [
    described("Id", "id", nillable=False),
    described("Name", "string"),
    described("Region__c", "picklist"),
    described("Photo", "base64"),
    described("BillingAddress", "address"),
    described("SystemModstamp", "datetime", nillable=False),
]


def claims_of(assertion: str) -> dict[str, Any]:
    """The claims of a JWT whose signature is the certificate's."""
    head, body, signature = (base64.urlsafe_b64decode(part + "==") for part in assertion.split("."))
    signed = assertion.rpartition(".")[0].encode()
    KEY.public_key().verify(signature, signed, padding.PKCS1v15(), SHA256())
    assert json.loads(head)["alg"] == "RS256"
    return dict(json.loads(body))


def account_record(number: int, day: int = 0) -> dict[str, Any]:
    at = f"2026-09-{day or number:02}T10:00:00.000+0000"
    return {
        "Id": f"001{number:012}AAA",
        "Name": f"Account, {number}",
        "Region__c": "EU",
        "SystemModstamp": at,
    }


def error(status: int, code: str, message: str, **more: Any) -> Reply:
    return Reply([{"errorCode": code, "message": message, **more}], status)


class Org(Vendor):
    """Accounts by SOQL in pages of two and by query jobs in parts of two; `session` is the token that counts."""

    def __init__(self) -> None:
        super().__init__(guard=self.signed_in)
        self.session = 0
        self.accounts = [account_record(number) for number in range(1, 6)]
        self.contacts: dict[str, Any] = {}
        self.jobs: dict[str, list[dict[str, Any]]] = {}
        self.states = ["UploadComplete", "InProgress", "JobComplete"]
        self.aborted: list[str] = []
        self.on("POST /services/oauth2/token", self.token)
        self.on("GET /services/oauth2/userinfo", {"user_id": "005", "preferred_username": "ada@example.com"})
        self.on(f"GET {DATA}/limits", {"DailyApiRequests": {"Max": 15000, "Remaining": 14998}})
        self.on(f"GET {DATA}/sobjects", self.objects)
        self.on(
            f"GET {DATA}/sobjects/{{name}}/describe", lambda asked, name: {"name": name, "fields": FIELDS}
        )
        self.on(f"GET {DATA}/query", self.query)
        self.on(f"GET {DATA}/query/{{locator}}", self.more)
        self.on(f"POST {DATA}/jobs/query", self.start_job)
        self.on(f"GET {DATA}/jobs/query/{{id}}", self.job)
        self.on(f"GET {DATA}/jobs/query/{{id}}/results", self.results)
        self.on(f"PATCH {DATA}/composite/sobjects/{{name}}/{{field}}", self.upsert)
        self.on(f"DELETE {DATA}/composite/sobjects", self.delete)

    def signed_in(self, asked: Asked) -> Reply | None:
        if asked.path.startswith("/services/oauth2/token"):
            return None
        if asked.headers.get("authorization") == f"Bearer 00D-{self.session}":
            return None
        return error(401, "INVALID_SESSION_ID", "Session expired or invalid")

    def token(self, asked: Asked) -> Reply:
        form = {name: values[0] for name, values in parse_qs(asked.body.decode()).items()}
        if form["grant_type"] == "client_credentials":
            good = (form["client_id"], form["client_secret"]) == ("consumer-1", "s3cret")
        else:
            assert form["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"
            claims = claims_of(form["assertion"])
            good = claims["iss"] == "consumer-1" and claims["sub"] == "ada@example.com"
            assert claims["aud"] == self.url and claims["exp"] - claims.get("iat", claims["exp"] - 180) <= 300
        if not good:
            return Reply(
                {"error": "invalid_client_id", "error_description": "client identifier invalid"}, 400
            )
        self.session += 1
        token = {"access_token": f"00D-{self.session}", "token_type": "Bearer", "scope": "api"}
        return Reply({**token, "instance_url": self.url, "id": f"{self.url}/id/00D/005"})

    def objects(self, asked: Asked) -> Any:
        kinds = {"Account": True, "Invoice__c": True, "AccountHistory": False}
        made = [{"name": n, "label": n, "queryable": True, "replicateable": r} for n, r in kinds.items()]
        return {"sobjects": made}

    def found(self, text: str) -> tuple[list[str], list[dict[str, Any]]]:
        match = QUERY.fullmatch(text)
        assert match, text
        names, since = match.group(1).split(","), match.group(3)
        rows = [item for item in self.accounts if item["SystemModstamp"] >= since.removesuffix("Z")]
        return names, rows

    def query(self, asked: Asked, start: int = 0) -> Any:
        if asked.query["q"].startswith(("SELECT Id FROM Account LIMIT", "SELECT Name FROM Org")):
            return {"totalSize": 1, "done": True, "records": [{"Name": "Example"}]}
        self.asked_for = asked.query["q"]
        return self.page(0)

    def more(self, asked: Asked, locator: str) -> Any:
        return self.page(int(locator.rpartition("-")[2]))

    def page(self, start: int) -> Any:
        names, rows = self.found(self.asked_for)
        assert names == ["Id", "Name", "Region__c", "BillingAddress", "SystemModstamp"]
        shown = [
            {"attributes": {"type": "Account"}, **{name: item.get(name) for name in names}}
            for item in rows[start : start + 2]
        ]
        more = {"nextRecordsUrl": f"{DATA}/query/0r8-{start + 2}"} if rows[start + 2 :] else {}
        return {"totalSize": len(rows), "done": not more, "records": shown, **more}

    def start_job(self, asked: Asked) -> Any:
        names, rows = self.found(asked.json["query"])
        assert asked.json["operation"] == "query" and names == ["Id", "Name", "Region__c", "SystemModstamp"]
        self.jobs["750-1"] = [{name: item[name] for name in names} for item in rows]
        return {"id": "750-1", "state": "UploadComplete", "object": "Account"}

    def job(self, asked: Asked, id: str) -> Any:
        state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        return {"id": id, "state": state, "numberRecordsProcessed": len(self.jobs[id])}

    def results(self, asked: Asked, id: str) -> Reply:
        start = int(asked.query.get("locator", "0"))
        text = io.StringIO()
        writer = csv.DictWriter(text, list(self.jobs[id][0]), quoting=csv.QUOTE_ALL, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.jobs[id][start : start + 2])
        locator = str(start + 2) if self.jobs[id][start + 2 :] else "null"
        return Reply(text.getvalue(), 200, {"Content-Type": "text/csv", "Sforce-Locator": locator})

    def upsert(self, asked: Asked, name: str, field: str) -> Any:
        assert asked.json["allOrNone"] is False and field == "External_Id__c"
        outcome: list[Any] = []
        for record in asked.json["records"]:
            assert record.pop("attributes") == {"type": name}
            if "LastName" not in record:
                said = "Required fields are missing: [LastName]"
                problem = {"statusCode": "REQUIRED_FIELD_MISSING", "message": said, "fields": ["LastName"]}
                outcome.append({"success": False, "errors": [problem]})
                continue
            self.contacts[record[field]] = record
            outcome.append(
                {"id": f"003{len(self.contacts):012}AAA", "success": True, "errors": [], "created": True}
            )
        return outcome

    def delete(self, asked: Asked) -> Any:
        assert asked.query["allOrNone"] == "false"
        return [{"id": name, "success": True, "errors": []} for name in asked.query["ids"].split(",")]


@pytest.fixture
async def org() -> AsyncIterator[Org]:
    async with running(Org()) as vendor:
        assert isinstance(vendor, Org)
        yield vendor


def client(org: Org) -> dict[str, str]:
    return {"sign_in": "client", "client_id": "consumer-1", "login_url": org.url}


@pytest.fixture
async def ada(org: Org) -> AsyncIterator[Account]:
    async with account("salesforce", client(org), {"client_secret": "s3cret"}) as opened:
        yield opened


async def test_check_and_discovery(org: Org, ada: Account) -> None:
    found = await ada.check()
    assert all(item.ok for item in found.values())
    assert "ada@example.com" in found["user"].detail and "Example" in found["organization"].detail
    streams = {item.name: item for item in await ada.driver.discover()}
    assert {"Account", "Invoice__c", "bulk.Account", "bulk.Invoice__c"} <= streams.keys()
    assert "AccountHistory" not in streams
    fields = {item.name: item.type for item in streams["Invoice__c"].fields}
    assert (
        fields["SystemModstamp"] == "timestamp"
        and fields["BillingAddress"] == "object"
        and "Photo" not in fields
    )
    assert org.session == 1


async def test_accounts_full_then_what_changed(org: Org, ada: Account) -> None:
    found = await ada.read(stream="Account")
    assert [item["Name"] for item in found] == [f"Account, {number}" for number in range(1, 6)]
    assert len(ada.pages) == 3
    position = ada.position
    assert await ada.read(position, "Account") == []
    org.accounts = [*org.accounts[1:], account_record(1, 20)]
    assert [item["Name"] for item in await ada.read(position, "Account")] == ["Account, 1"]
    assert "SystemModstamp >= 2026-09-05T09:55:00Z ORDER BY" in org.asked_for


async def test_a_custom_object_through_the_family(ada: Account) -> None:
    assert len(await ada.read(stream="Invoice__c")) == 5


async def test_a_bulk_query_in_parts(org: Org, ada: Account) -> None:
    found = await ada.read(stream="bulk.Account")
    assert [item["Name"] for item in found] == [f"Account, {number}" for number in range(1, 6)]
    assert len(org.asked(f"GET {DATA}/jobs/query/750-1/results")) == 3 and ada.waited(5.0)
    org.states = ["JobComplete"]
    position = ada.position
    org.accounts = [*org.accounts, account_record(6, 20)]
    assert [item["Name"] for item in await ada.read(position, "bulk.Account")] == ["Account, 6"]


async def test_a_bulk_query_that_fails(org: Org, ada: Account) -> None:
    org.states = ["Failed"]
    assert "Failed" in (await ada.refused("bulk.Account")).message


async def test_contacts_are_upserted_and_leads_deleted_together(org: Org, ada: Account) -> None:
    rows = [{"LastName": "Lovelace", "External_Id__c": "1"}, {"External_Id__c": "2"}]
    result = await ada.write("Contact", "upsert", *rows, {"LastName": "Hopper", "External_Id__c": "3"})
    assert result.written == 2 and set(org.contacts) == {"1", "3"}
    ((index, fault),) = result.faults
    assert index == 1 and fault.code == "REQUIRED_FIELD_MISSING" and fault.field == "LastName"
    assert len(org.asked(f"PATCH {DATA}/composite/sobjects/Contact/External_Id__c")) == 1
    assert (await ada.write("Lead", "delete", {"Id": "00Q1"}, {"Id": "00Q2"})).written == 2
    assert org.asked(f"DELETE {DATA}/composite/sobjects")[0].query["ids"] == "00Q1,00Q2"


async def test_by_a_certificate(org: Org) -> None:
    fields = {
        "sign_in": "jwt",
        "client_id": "consumer-1",
        "username": "ada@example.com",
        "login_url": org.url,
    }
    async with account("salesforce", fields, {"private_key": PEM}) as signed:
        assert len(await signed.read(stream="Account")) == 5


async def test_a_wrong_secret(org: Org) -> None:
    async with account("salesforce", client(org), {"client_secret": "wrong"}) as wrong:
        assert not (await wrong.check())["user"].ok
        assert isinstance(await wrong.refused("Account"), CredentialError)


async def test_a_session_that_ended_is_renewed(org: Org, ada: Account) -> None:
    assert len(await ada.read(stream="Account")) == 5
    org.session = 7
    assert len(await ada.read(stream="Account")) == 5 and org.session == 8


async def test_no_access_and_a_renamed_field(org: Org, ada: Account) -> None:
    org.refuse(f"{DATA}/query", error(403, "INSUFFICIENT_ACCESS", "insufficient access rights"))
    refused = await ada.refused("Account")
    assert isinstance(refused, CredentialError) and "insufficient access rights" in refused.message
    org.refuse(f"{DATA}/query", error(400, "INVALID_FIELD", "No such column 'Old__c' on entity 'Account'."))
    refused = await ada.refused("Account")
    assert isinstance(refused, ConfigError) and "Old__c" in refused.message


async def test_the_calls_of_the_day_are_used_up(org: Org, ada: Account) -> None:
    org.refuse(f"{DATA}/query", error(403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded."))
    refused = await ada.refused("Account")
    assert isinstance(refused, RateLimited) and "24 hours" in refused.hint
