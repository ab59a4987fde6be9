"""Each format of descriptions gives the common view: with small descriptions of their own."""

from __future__ import annotations

from typing import Any

import pytest
from contract.schema import find, prune, sample, validate, validate_text
from contract.specs import botocore, discovery, openapi
from contract.specs.graphql_sdl import Pruner, answer_schema, schema_of
from contract.specs.view import HOLE, HOLES, View, param_schemas
from graphql import parse

SWAGGER: dict[str, Any] = {
    "swagger": "2.0",
    "host": "api.example.com",
    "basePath": "/v1",
    "parameters": {"limit": {"name": "limit", "in": "query", "type": "integer", "maximum": 100}},
    "paths": {
        "/things/{id}": {
            "get": {
                "parameters": [
                    {"$ref": "#/parameters/limit"},
                    {"name": "id", "in": "path", "required": True, "type": "string"},
                ],
                "responses": {"200": {"schema": {"$ref": "#/definitions/Thing"}}},
            },
            "post": {
                "consumes": ["application/x-www-form-urlencoded"],
                "parameters": [{"name": "name", "in": "formData", "type": "string", "required": True}],
                "responses": {"201": {"schema": {"$ref": "#/definitions/Thing"}}},
            },
        }
    },
    "x-ms-paths": {
        "/?comp=list&flat": {
            "get": {
                "responses": {"200": {"schema": {"$ref": "#/definitions/List"}}},
                "produces": ["application/xml"],
            }
        }
    },
    "definitions": {
        "Thing": {
            "type": "object",
            "required": ["id"],
            "properties": {
                "id": {"type": "string"},
                "size": {"type": "integer", "x-nullable": True},
            },
        },
        "List": {
            "properties": {
                "Things": {"type": "array", "xml": {"wrapped": True}, "items": {"$ref": "#/definitions/Row"}},
                "Kind": {"type": "string", "xml": {"attribute": True}},
            }
        },
        "Row": {"xml": {"name": "Thing"}, "properties": {"Name": {"type": "string"}}},
    },
}


def test_openapi_2() -> None:
    get, post, listing = openapi.operations(SWAGGER, "swagger.json")
    assert (get.name, get.hosts) == ("GET /v1/things/{id}", ("api.example.com",))
    assert param_schemas(get.query, "limit", SWAGGER)[0]["maximum"] == 100
    assert find(get.successes("json"), SWAGGER, ("size",))
    assert not find(get.successes("json"), SWAGGER, ("sizes",))
    assert (post.body_of("form") or [{}])[0]["required"] == ["name"]
    assert post.body_of("json") is None
    assert listing.selectors == (("query", "comp", "list"),)
    assert find(listing.successes("xml"), SWAGGER, ("Things", "Thing", "0", "Name"))
    assert find(listing.successes("xml"), SWAGGER, ("@Kind",))


def test_openapi_3_brackets_and_examples() -> None:
    document = {
        "openapi": "3.0.0",
        "servers": [{"url": "https://api.example.com/base"}],
        "paths": {
            "/things": {
                "get": {
                    "parameters": [
                        {
                            "name": "created",
                            "in": "query",
                            "style": "deepObject",
                            "schema": {"properties": {"gte": {"type": "integer"}}},
                        },
                        {
                            "name": "expand[]",
                            "in": "query",
                            "schema": {"type": "array", "items": {"type": "string"}},
                        },
                    ],
                    "responses": {
                        "200": {
                            "content": {"application/json": {"example": '{"values": [{"id": 1}]}'}},
                            "headers": {"Link": {}},
                        }
                    },
                }
            }
        },
    }
    (operation,) = openapi.operations(document, "openapi.json")
    assert operation.paths == ("/base/things",)
    assert param_schemas(operation.query, "created[gte]", document)
    assert not param_schemas(operation.query, "created[since]", document)
    assert param_schemas(operation.query, "expand[]", document)
    assert find(operation.successes(), document, ("values", "0", "id"))
    assert operation.answer_headers == ("link",)


MODEL: dict[str, Any] = {
    "metadata": {
        "endpointPrefix": "things",
        "protocol": "query",
        "apiVersion": "2010-03-31",
        "targetPrefix": "Things_1",
        "jsonVersion": "1.0",
    },
    "operations": {
        "ListThings": {
            "name": "ListThings",
            "http": {"method": "POST", "requestUri": "/{Bucket}/{Key+}?list-type=2"},
            "input": {"shape": "Request"},
            "output": {"shape": "Result", "resultWrapper": "ListThingsResult"},
        }
    },
    "shapes": {
        "Request": {
            "type": "structure",
            "required": ["Names"],
            "members": {
                "Bucket": {"shape": "Text", "location": "uri", "locationName": "Bucket"},
                "Key": {"shape": "Text", "location": "uri", "locationName": "Key"},
                "Max": {"shape": "Count", "location": "querystring", "locationName": "max-things"},
                "Names": {"shape": "Names"},
                "Tags": {"shape": "Tags"},
            },
        },
        "Result": {
            "type": "structure",
            "members": {"Things": {"shape": "Things"}, "Flat": {"shape": "Flat"}},
        },
        "Names": {"type": "list", "member": {"shape": "Text"}},
        "Flat": {"type": "list", "member": {"shape": "Text", "locationName": "Row"}, "flattened": True},
        "Things": {"type": "list", "member": {"shape": "Thing"}},
        "Thing": {"type": "structure", "members": {"Arn": {"shape": "Text"}}},
        "Tags": {"type": "map", "key": {"shape": "TagName"}, "value": {"shape": "Text"}},
        "TagName": {"type": "string", "enum": ["Team"]},
        "Text": {"type": "string"},
        "Count": {"type": "integer", "max": 1000},
    },
}


def _model(protocol: str) -> dict[str, Any]:
    return {**MODEL, "metadata": {**MODEL["metadata"], "protocol": protocol}}


def test_botocore_query() -> None:
    (operation,) = botocore.operations(_model("query"), "things.json")
    assert operation.name == "POST / Action=ListThings Version=2010-03-31"
    answer = operation.successes("xml")
    assert find(answer, {}, ("ListThingsResult", "Things", "member", "0", "Arn"))
    assert find(answer, {}, ("ListThingsResult", "Row", "0"))
    from contract.looked import form_level

    form = operation.body_of("form") or []
    assert form_level(form, "Names.member.1", {})
    assert form_level(form, "Tags.entry.1.key", {})
    assert not form_level(form, "Names.element.1", {})


def test_botocore_json_and_rest() -> None:
    (operation,) = botocore.operations(_model("json"), "things.json")
    assert operation.selectors == (("header", "X-Amz-Target", "Things_1.ListThings"),)
    assert find(operation.body_of("json") or [], operation.root, ("Tags", "Team"))
    assert not find(operation.body_of("json") or [], operation.root, ("Tags", "Teams"))
    (rest,) = botocore.operations(_model("rest-xml"), "things.json")
    assert rest.selectors == (("query", "list-type", "2"),)
    assert rest.query["max-things"].schema
    assert rest.match(f"/{HOLE}/a/b") is not None


def test_google_discovery() -> None:
    document = {
        "rootUrl": "https://things.googleapis.com/",
        "servicePath": "",
        "parameters": {"fields": {"location": "query", "type": "string"}},
        "schemas": {
            "Topic": {
                "id": "Topic",
                "properties": {
                    "name": {"type": "string"},
                    "labels": {"additionalProperties": {"type": "string"}},
                },
            }
        },
        "resources": {
            "topics": {
                "methods": {
                    "get": {
                        "httpMethod": "GET",
                        "path": "v1/{+topic}",
                        "flatPath": "v1/projects/{projectsId}/topics/{topicsId}",
                        "parameters": {
                            "topic": {
                                "location": "path",
                                "pattern": "^projects/[^/]+/topics/[^/]+$",
                                "required": True,
                            }
                        },
                        "response": {"$ref": "Topic"},
                    }
                }
            }
        },
    }
    view = View("things", tuple(discovery.operations(document, "things.json")))
    assert list(view.candidates("GET", f"/v1/projects/{HOLE}/topics/{HOLE}"))
    assert list(view.candidates("GET", f"/v1/{HOLES}"))
    assert not list(view.candidates("GET", f"/v1/projects/{HOLE}/topicz/{HOLE}"))
    operation = view.operations[0]
    assert "fields" in operation.query
    assert find(operation.successes(), operation.root, ("name",))
    assert not find(operation.successes(), operation.root, ("labels", "a"), named=True)


SDL = """
schema { query: QueryRoot }
directive @once(key: String!) on FIELD
"A thing"
type QueryRoot { things(first: Int, after: String): Things! node(id: ID!): Node }
type Things { nodes: [Thing!]! pageInfo: PageInfo! }
type PageInfo { endCursor: String hasNextPage: Boolean! }
interface Node { id: ID! }
type Thing implements Node { id: ID! size: Int kind: Kind unused: Other }
type Other { a: Int }
enum Kind { A B }
"""


def test_graphql_is_cut_to_what_a_document_uses() -> None:
    text = "{ things(first: 1) { nodes { id size } pageInfo { endCursor } } node(id: 1) { ... on Thing { kind } } }"
    pruner = Pruner(SDL)
    pruner.document(text)
    cut = pruner.text()
    assert "unused" not in cut
    assert "after" not in cut
    assert "hasNextPage" not in cut
    answer = answer_schema(schema_of(cut), parse(text))
    assert find([answer], answer, ("data", "things", "nodes", "0", "size"))
    assert find([answer], answer, ("data", "node", "kind"))


THING: dict[str, Any] = {
    "type": "object",
    "required": ["id"],
    "properties": {
        "id": {"type": "string", "minLength": 2},
        "when": {"type": "string", "format": "date-time"},
        "kind": {"enum": ["a", "b"]},
        "parts": {
            "type": "array",
            "items": {"type": "object", "properties": {"n": {"type": "integer", "maximum": 5}}},
        },
        "either": {
            "oneOf": [{"type": "string"}, {"type": "object", "properties": {"x": {"type": "integer"}}}]
        },
    },
}


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (
            {
                "id": "ab",
                "when": "2026-01-01T00:00:00Z",
                "kind": "a",
                "parts": [{"n": 5}],
                "either": {"x": 1},
            },
            "",
        ),
        ({}, "id is missing"),
        ({"id": 5}, "id is of type integer, not string"),
        ({"id": "ab", "colour": 1}, "colour is unknown"),
        ({"id": "ab", "kind": "c"}, "kind is 'c', not one of"),
        ({"id": "ab", "when": "yesterday"}, "no date and time"),
        ({"id": "ab", "parts": [{"n": 6}]}, "parts[0].n is 6, outside ..5"),
        ({"id": "ab", "either": {"x": "1"}}, "either is of type object"),
        ({"id": None}, "id is of type null"),
    ],
)
def test_values_are_held_against_schemas(value: Any, problem: str) -> None:
    problems = validate(value, THING, {})
    assert (problem in problems[0]) if problem else not problems


def test_texts_samples_and_cuts() -> None:
    assert not validate_text("5", {"type": "integer"}, {}, "n")
    assert validate_text("five", {"type": "integer"}, {}, "n")
    assert not validate_text("a,b", {"type": "array", "items": {"enum": ["a", "b"]}}, {}, "n")
    assert validate_text("a,c", {"type": "array", "items": {"enum": ["a", "b"]}}, {}, "n")
    assert not validate(sample(THING, {}), THING, {})
    cut = prune(THING, {}, {("parts", "0", "n")}, 0)
    assert set(cut["properties"]) == {"parts"}
    assert not validate({"id": "ab", "when": 5}, cut, {})
    assert validate({"parts": [{"n": "1"}]}, cut, {})
