"""A profile that fits no way to sign in is told so in the words of its form."""

from __future__ import annotations

import pytest

from platint_tui.core.errors import ConfigError
from platint_tui.manifest.addresses import fields_in_host, origins_of
from platint_tui.manifest.form import plain_fields
from platint_tui.manifest.registry import Registry, bundled_dir


def test_the_ways_are_listed_with_the_labels_of_their_fields() -> None:
    github = Registry([bundled_dir("connectors")]).get("github")
    with pytest.raises(ConfigError) as caught:
        origins_of(github, {"base_url": "https://api.github.com"}, [])
    assert "GitHub App (App ID or client ID, App private key, Installation ID)" in caught.value.hint
    assert "app_id" not in caught.value.sentence()


def test_a_value_of_a_wrong_form_is_said_with_its_label_apart() -> None:
    github = Registry([bundled_dir("connectors")]).get("github")
    with pytest.raises(ConfigError) as caught:
        plain_fields(github, {"repositories_of": "acme"})
    assert caught.value.message == "'Repositories of' is not of the form that it must have."
    assert caught.value.where == "repositories_of" and "orgs/NAME" in caught.value.hint


def test_a_host_names_the_fields_that_it_was_made_of() -> None:
    aws = Registry([bundled_dir("connectors")]).get("aws")
    fields = {"region": "eu-nowhere-9", "files_bucket": ""}
    assert fields_in_host(aws, fields, "dynamodb.eu-nowhere-9.amazonaws.com") == ["region"]
    assert fields_in_host(aws, fields, "iam.amazonaws.com") == []
