"""The inbox by the command line: look, edit, replay, discard, export; every record stays accounted for."""

from __future__ import annotations

import csv
import io
import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from cli.kit import (
    Cli,
    Done,
    Platforms,
    add_crm,
    add_payments,
    lost,
    one_sentence,
    platforms,
    rows,
    write_integration,
)

TO_CRM = """\
streams:
  customers:
    target: contacts
    select: [name, email, country, balance, updated_at]
    map: {external_id: id}
"""


class Inbox(NamedTuple):
    cli: Cli
    server: Platforms
    folder: Path


@pytest.fixture(scope="module")
def inbox(make_cli: Callable[..., Cli], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Inbox]:
    """A sync of 500 customers to the CRM that refused some of them."""
    folder = tmp_path_factory.mktemp("inbox")
    cli = make_cli("inbox-home")
    with platforms(folder / "platforms", records=2000) as server:
        add_payments(cli, server)
        add_crm(cli, server)
        path = write_integration(
            folder, "to-crm", ("demo-payments", "payments"), ("demo-crm", "crm"), ["customers"], TO_CRM
        )
        cli("syncs", "run", path, code=3)
        yield Inbox(cli, server, folder)


def open_letters(cli: Cli, **where: str) -> list[dict[str, Any]]:
    options = [part for name, value in where.items() for part in (f"--{name}", value)]
    found: list[dict[str, Any]] = cli.json("dead", "list", "--limit", "1000", *options)
    return found


def one(cli: Cli, code: str, field: str) -> dict[str, Any]:
    """The oldest open dead letter with this cause."""
    return [item for item in open_letters(cli) if (item["code"], item["field"]) == (code, field)][-1]


def key_of(letter: dict[str, Any]) -> str:
    return str(json.loads(letter["record_key"])[0])


def accounted(inbox: Inbox) -> None:
    (found,) = inbox.cli.json("syncs", "account", "to-crm")
    assert found["lost"] == 0 and found["source"] == found["in_target"] + found["in_dead_letters"] == 500


def test_groups_are_the_letters_by_cause(inbox: Inbox) -> None:
    groups = inbox.cli.json("dead", "groups")
    letters = open_letters(inbox.cli)
    assert len(groups) == 3 and sum(group["open"] for group in groups) == len(letters) > 5
    assert {group["code"] for group in groups} == {"missing_field", "wrong_type", "too_long"}
    for group in groups:
        same = open_letters(inbox.cli, fingerprint=group["fingerprint"][:10])
        assert len(same) == group["open"]
        assert {item["code"] for item in same} == {group["code"]}
    assert set(inbox.server.contacts()).isdisjoint(map(key_of, letters))
    accounted(inbox)


def test_show_has_the_record_whole_with_request_and_answer(inbox: Inbox) -> None:
    letter = one(inbox.cli, "wrong_type", "balance")
    whole = inbox.cli.json("dead", "show", str(letter["number"]))
    record = json.loads(whole["payload"])
    assert record["id"] == key_of(letter) and isinstance(record["balance"], str)
    assert whole["size"] == len(whole["payload"].encode())
    assert whole["request"]["method"] == "POST" and whole["response"]["status"] == 422
    assert "authorization" not in {name.lower() for name in whole["request"]["headers"]}
    told = inbox.cli("dead", "show", str(letter["number"])).out
    assert whole["payload"] in told and "balance must be an integer" in told


def test_a_filter_is_typed_as_in_the_console(inbox: Inbox) -> None:
    cli = inbox.cli
    letter = one(cli, "wrong_type", "balance")
    wanted = f"code:wrong_type stream:customers bin:record since:1h key:{key_of(letter)}"
    (found,) = cli.json("dead", "list", "--filter", wanted)
    assert found["id"] == letter["id"] and found["bin"] == "record"
    mail = json.loads(cli.json("dead", "show", letter["id"])["payload"])["email"]
    assert letter["id"] in {item["id"] for item in cli.json("dead", "list", "--filter", f'"{mail}"')}
    assert cli.json("dead", "list", "--filter", "bin:systemic") == []
    one_sentence(cli("dead", "list", "--filter", "strem:x", code=2), 2, "did you mean stream:?")
    one_sentence(
        cli("dead", "list", "--filter", "stream:a", "--stream", "b", code=2), 2, "2 values for stream:"
    )


def test_an_issue_is_shown_acknowledged_ignored_and_opened_again(inbox: Inbox) -> None:
    cli = inbox.cli
    group = next(item for item in cli.json("dead", "groups") if item["code"] == "too_long")
    assert (group["bin"], group["blame"], sum(group["hours"])) == ("record", "data", group["total"])
    name = group["fingerprint"][:10]
    (acknowledged,) = cli.json("dead", "ack", name, "--note", "Kim asks the shop")
    assert (acknowledged["state"], acknowledged["note"]) == ("acknowledged", "Kim asks the shop")
    shown = cli("dead", "issue", name).out
    assert (
        "Kim asks the shop" in shown and "the target refused" in shown and f"{group['open']} records" in shown
    )
    (ignored,) = cli.json("dead", "ignore", name, "--times", "5", "--for", "2h")
    assert ignored["ignored_until_total"] == group["total"] + 5 and ignored["ignored_until_ms"]
    for span in ("99999999999d", "-1h", "0s"):
        refused = cli("dead", "ignore", name, f"--for={span}", code=2)
        one_sentence(refused, 2, "not between now and ten years")
    assert cli.json("dead", "groups", "--state", "ignored")[0]["fingerprint"] == group["fingerprint"]
    (again,) = cli.json("dead", "reopen-issue", name)
    assert (again["state"], again["ignored_until_ms"]) == ("open", None)
    assert "BIN" in cli("dead", "groups", "--bin", "record").out
    one_sentence(cli("dead", "resolve", "zzzz", code=4), 4, "zzzz", "dead groups")
    one_sentence(cli("dead", "groups", "--state", "gone", code=2), 2, "no state", "ignored")


def test_exported_as_a_table_and_as_requests(inbox: Inbox, tmp_path: Path) -> None:
    """The requests of the script arrive as they were sent: the secret is a variable that the shell fills in."""
    cli = inbox.cli
    letter = one(cli, "wrong_type", "balance")
    which = ("--filter", f"key:{key_of(letter)}")
    assert "1 dead letter would" in cli("dead", "export", *which, "--dry-run").err
    (row,) = csv.DictReader(io.StringIO(cli("dead", "export", *which, "--format", "csv").out))
    assert row["id"] == letter["id"] and row["payload"] == cli.json("dead", "show", letter["id"])["payload"]
    script = cli("dead", "export", *which, "--format", "curl").out
    assert "Set ACCESS_TOKEN first." in script and inbox.server.urls["crm"] in script
    shell = "curl() { for a; do printf '%s\\0' \"$a\"; done; }; "
    said = subprocess.run(
        ["/bin/sh", "-c", shell + script], capture_output=True, check=True, env={"ACCESS_TOKEN": "t0"}
    ).stdout.decode()
    words = said.split("\0")
    assert "Authorization: Bearer t0" in words and json.loads(words[-2])["external_id"] == key_of(letter)
    http = cli("dead", "export", *which, "--format", "http").out
    assert http.startswith("###\n# dead letter") and "Authorization: Bearer {{ACCESS_TOKEN}}" in http


def test_bytes_are_shown_as_bytes(inbox: Inbox) -> None:
    letter = one(inbox.cli, "wrong_type", "balance")
    told = inbox.cli("dead", "show", letter["id"], "--hex").out
    assert f"00000000  {' '.join(f'{byte:02x}' for byte in b'{' + bytes([34]))}" in told
    assert "config  version 1 of its integration, manifest " in told and "sent    POST" in told


def test_edit_replay_and_the_original_is_kept(inbox: Inbox) -> None:
    cli = inbox.cli
    letter = one(cli, "missing_field", "email")
    number = str(letter["number"])
    before = cli.json("dead", "show", number)
    child = cli.json("dead", "edit", number, "--set", "email=corrected@example.com")
    assert child["parent"] == letter["id"] and child["number"] != letter["number"]

    original = cli.json("dead", "show", number)
    assert original["payload"] == before["payload"] and original["state"] == "edited"
    edited = cli.json("dead", "show", str(child["number"]))
    assert json.loads(edited["payload"]) == {
        **json.loads(before["payload"]),
        "email": "corrected@example.com",
    }
    keys = {
        row["id"]: row["idempotency_key"]
        for row in rows(cli.database, "SELECT id, idempotency_key FROM dead_letters")
    }
    assert keys[child["id"]] != keys[letter["id"]]

    plan = cli("dead", "replay", str(child["number"]), "--plan", "--json")
    (target,) = plan.json["targets"]
    assert target["profile"] == "crm" and target["address"] == inbox.server.urls["crm"]
    assert json.loads(plan.json["first"][0]["request"]["body"])["email"] == "corrected@example.com"
    assert key_of(letter) not in inbox.server.contacts()  # a plan sends nothing
    one_sentence(_after_plan(cli("dead", "replay", str(child["number"]), code=2)), 2, "--yes")
    assert key_of(letter) not in inbox.server.contacts()

    job = cli.json("dead", "replay", str(child["number"]), "--yes")
    assert (job["succeeded"], job["total"]) == (1, 1)
    assert inbox.server.contacts()[key_of(letter)]["email"] == "corrected@example.com"
    (attempt,) = cli.json("dead", "show", str(child["number"]))["attempts"]
    assert attempt["trigger"] == "manual" and attempt["outcome"] == "succeeded"
    accounted(inbox)

    for settled in (number, str(child["number"])):
        one_sentence(cli("dead", "replay", settled, "--yes", code=4), 4, f"dead letter {settled} is")
        one_sentence(cli("dead", "edit", settled, "--set", "email=x@example.com", code=4), 4, settled)
        one_sentence(cli("dead", "discard", settled, "--yes", code=4), 4, "nothing was discarded")


def _after_plan(done: Done) -> Done:
    """What is said after the plan."""
    head, *_, last = done.err.splitlines()
    assert head.startswith("Plan: send 1 dead letter to crm")
    return Done(done.args, done.code, done.out, last + "\n")


def test_a_replay_that_fails_again_stays_in_the_inbox(inbox: Inbox) -> None:
    cli = inbox.cli
    letter = one(cli, "too_long", "name")
    job = cli.json("dead", "replay", str(letter["number"]), "--yes", code=3)
    assert (job["failed"], job["succeeded"], job["total"]) == (1, 0, 1)
    again = cli.json("dead", "show", str(letter["number"]))
    assert again["state"] == "open" and len(again["attempts"]) == 1
    assert again["attempts"][0]["outcome"] == "failed"
    accounted(inbox)


def test_all_of_a_cause_in_one_replay(inbox: Inbox) -> None:
    """Each is edited (one by one, the whole text from stdin too); then the fingerprint is replayed."""
    cli = inbox.cli
    group = next(item for item in cli.json("dead", "groups") if item["code"] == "wrong_type" and item["open"])
    letters = open_letters(cli, fingerprint=group["fingerprint"])
    for letter in letters:
        record = json.loads(cli.json("dead", "show", letter["id"])["payload"])
        record["balance"] = 4200
        cli("dead", "edit", letter["id"], "--stdin", input=json.dumps(record))
    job = cli.json("dead", "replay", "--fingerprint", group["fingerprint"][:8], "--yes")
    assert (job["succeeded"], job["total"], job["trigger"]) == (len(letters), len(letters), "bulk")
    held = inbox.server.contacts()
    assert all(held[key_of(letter)]["balance"] == 4200 for letter in letters)
    (now,) = [item for item in cli.json("dead", "groups") if item["fingerprint"] == group["fingerprint"]]
    assert now["open"] == 0 and now["state"] == "resolved"
    accounted(inbox)


def test_discard_and_reopen(inbox: Inbox) -> None:
    cli = inbox.cli
    first, second = (str(item["number"]) for item in open_letters(cli)[:2])
    one_sentence(cli("dead", "discard", first, code=2), 2, "--yes")
    assert cli.json("dead", "discard", first, "--yes") == {"discarded": 1}
    assert first not in {str(item["number"]) for item in open_letters(cli)}
    accounted(inbox)  # discarded, and still there
    one_sentence(cli("dead", "replay", first, "--yes", code=4), 4, f"dead reopen {first}")
    one_sentence(cli("dead", "reopen", second, code=4), 4, "nothing was reopened")
    done = cli("dead", "reopen", first, second, "--json")
    assert done.json == {"reopened": 1} and "1 of 2" in done.err
    assert cli.json("dead", "show", first)["state"] == "open"
    accounted(inbox)


def test_many_are_discarded_by_a_filter(inbox: Inbox) -> None:
    cli = inbox.cli
    which = ("--filter", "code:too_long")
    count = len(cli.json("dead", "list", *which, "--limit", "1000"))
    told = cli("dead", "discard", *which, "--dry-run", "--json")
    assert told.json == {"discarded": 0, "would": count, "removed_at_their_platform": 0}
    assert cli.json("dead", "discard", *which, "--yes") == {"discarded": count}
    gone = cli.json("dead", "list", "--filter", "code:too_long state:discarded", "--limit", "1000")
    assert len(gone) >= count > 0
    cli("dead", "reopen", *(item["id"] for item in gone))
    one_sentence(cli("dead", "discard", "1", *which, code=2), 2, "not both")
    one_sentence(
        cli("dead", "discard", "--filter", "code:none", "--yes", code=4), 4, "no open dead letter matches"
    )
    one_sentence(cli("dead", "simulate", "--filter", "strem:x", code=2), 2, "did you mean stream:?")
    accounted(inbox)


def test_export(inbox: Inbox, tmp_path: Path) -> None:
    cli = inbox.cli
    settled, *letters = open_letters(cli)
    cli("dead", "discard", settled["id"], "--yes")
    path = tmp_path / "letters.jsonl"
    cli("dead", "export", "--output", path)
    assert path.stat().st_mode & 0o777 == 0o600
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["id"] for line in lines] == [item["id"] for item in reversed(letters)]
    for line in lines:
        assert line["payload"] == cli.json("dead", "show", line["id"])["payload"]
    before = path.read_bytes()
    one_sentence(cli("dead", "export", "--output", path, code=4), 4, str(path), "exists")
    assert path.read_bytes() == before
    one_sentence(cli("dead", "export", "--output", tmp_path / "no" / "x", code=4), 4, "cannot write")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    one_sentence(cli("dead", "export", "--output", tmp_path / "link", code=4), 4, "cannot write")
    assert not (tmp_path / "elsewhere").exists()
    assert [json.loads(line) for line in cli("dead", "export").out.splitlines()] == lines
    everything = cli("dead", "export", "--state", "any").out.splitlines()
    assert len(everything) == len(cli.json("dead", "list", "--state", "any", "--limit", "1000")) > len(lines)
    cli("dead", "reopen", settled["id"])


def test_wrong_edits_change_nothing(inbox: Inbox) -> None:
    cli = inbox.cli
    number = str(one(cli, "too_long", "name")["number"])
    count = len(cli.json("dead", "list", "--state", "any", "--limit", "1000"))
    payload = cli.json("dead", "show", number)["payload"]
    for code, arguments, text, needle in (
        (2, (), "", "--set"),
        (2, ("--set", "name"), "", "FIELD=JSON"),
        (2, ("--set", "name={"), "", "not valid JSON"),
        (4, ("--stdin",), "{", "not valid JSON"),
        (4, ("--stdin",), "[1, 2]", "not a JSON object"),
        (4, ("--stdin",), '{"name": "no key"}', "key field 'id'"),
        (4, ("--stdin",), payload, "nothing was changed"),
        (4, ("--set", "name.first=x"), "", "not an object"),
    ):
        one_sentence(cli("dead", "edit", number, *arguments, input=text, code=code), code, needle)
    assert cli.json("dead", "show", number)["payload"] == payload
    assert len(cli.json("dead", "list", "--state", "any", "--limit", "1000")) == count


def test_what_is_not_there(inbox: Inbox) -> None:
    cli = inbox.cli
    for command in (("show", "9999"), ("edit", "9999", "--set", "a=1"), ("replay", "9999", "--yes")):
        one_sentence(cli("dead", *command, code=4), 4, "no dead letter '9999'", "dead list")
    one_sentence(cli("dead", "replay", "--yes", code=2), 2, "which dead letters", "--fingerprint")
    one_sentence(cli("dead", "job", "show", "job_x", code=4), 4, "no replay 'job_x'", "dead jobs")
    one_sentence(cli("dead", "fix", "revoke", "9", code=4), 4, "no fix rule '9'", "dead fix list")
    one_sentence(cli("dead", "replay", "--fingerprint", "zzzz", "--yes", code=4), 4, "zzzz", "dead groups")
    one_sentence(cli("dead", "list", "--state", "lost", code=2), 2, "no state", "discarded")


def test_the_next_run_supersedes_what_it_brings(inbox: Inbox) -> None:
    """The same records are read again: what is refused again is the same dead letter, seen once more."""
    cli = inbox.cli
    letters = {item["id"]: item["occurrences"] for item in open_letters(cli)}
    assert letters
    cli("syncs", "reset", "to-crm", "customers", "--yes")
    cli("syncs", "run", "to-crm", code=3)
    again = {item["id"]: item["occurrences"] for item in open_letters(cli)}
    assert all(again.get(letter, 0) == seen + 1 for letter, seen in letters.items()), (letters, again)
    assert lost(cli, "to-crm") == 0
    accounted(inbox)


def test_a_correction_is_simulated_kept_as_a_rule_and_sent(inbox: Inbox) -> None:
    """Without a correction the answers say no; with it all but none pass, and that is what then happens."""
    cli = inbox.cli
    group = next(
        item for item in cli.json("dead", "groups") if item["code"] == "missing_field" and item["open"]
    )
    fingerprint, count = group["fingerprint"][:10], group["open"]
    before = cli.json("dead", "simulate", "--fingerprint", fingerprint, code=3)
    assert (before["checked"], before["passing"]) == (count, 0)
    fix = ("--default", "email=unknown@example.com")
    foreseen = cli("dead", "simulate", "--fingerprint", fingerprint, *fix, "--bodies")
    assert f"{count} of {count} would pass" in foreseen.out and "unknown@example.com" in foreseen.out
    (rule,) = cli.json("dead", "fix", "add", fingerprint, *fix, "--note", "the shop may leave it out")
    assert rule["patch"] == [{"op": "default", "path": "email", "value": "unknown@example.com"}]
    number = str(rule["number"])
    other = next(item for item in open_letters(cli) if not item["fingerprint"].startswith(fingerprint))
    refused = cli("dead", "fix", "apply", number, str(other["number"]), "--yes", code=4)
    one_sentence(refused, 4, "failed in another way", "Nothing was changed")
    applied = cli.json("dead", "fix", "apply", number, "--yes")
    assert (applied["edited"], applied["misfits"]) == (count, 0)
    accounted(inbox)
    job = cli.json("dead", "replay", "--fingerprint", fingerprint, "--canary", "1", "--yes", code=3)
    assert (job["state"], job["succeeded"], job["pending"]) == ("waiting", 1, count - 1)
    ended = cli.json("dead", "job", "continue", job["id"])
    assert (ended["state"], ended["succeeded"]) == ("done", count)
    report = cli.json("dead", "job", "show", job["id"])
    assert report["outcomes"]["succeeded"] == count and report["causes"] == []
    (revoked,) = cli.json("dead", "fix", "revoke", number)
    assert revoked["revoked_ms"] and revoked["note"] == "the shop may leave it out"
    accounted(inbox)


def test_an_edit_that_the_target_would_refuse_is_refused(inbox: Inbox) -> None:
    cli = inbox.cli
    number = str(one(cli, "too_long", "name")["number"])
    one_sentence(cli("dead", "edit", number, "--set", "email=null", code=4), 4, "would refuse", "--force")
    kept = cli("dead", "edit", number, "--set", "email=null", "--force", "--json")
    assert "email" in kept.err and kept.json["parent"]
    simulated = cli.json("dead", "simulate", str(kept.json["number"]), code=3)
    assert simulated["passing"] == 0 and simulated["forecasts"][0]["reasons"][0]["step"] == "target"
    cli("dead", "discard", str(kept.json["number"]), "--yes")
