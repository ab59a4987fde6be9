"""Makes the tables of `derived/` from packages of vendors (or, for Salesforce, of a third party) that say what no
description does. Only names and types are taken.

    pip download --no-deps hubspot-api-client==12.0.0      # Apache-2.0
    pip download --no-deps azure-servicebus==7.15.0        # MIT
    npm pack jsforce@3.10.16                               # MIT
    .venv/bin/python tests/contract/derive.py hubspot FOLDER      # FOLDER: where the package was unpacked
    .venv/bin/python tests/contract/derive.py servicebus FOLDER
    .venv/bin/python tests/contract/derive.py salesforce FOLDER
"""

from __future__ import annotations

import ast
import json
import re
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parents[2])]

from contract.manifests import HERE, SPECS

_PLAIN = ("str", "int", "bool", "list", "object", "float")
_PATHS = (
    "/crm/v3/objects",
    "/crm/v3/lists",
    "/crm/v3/properties",
    "/crm/v3/owners",
    "/crm/v4/objects",
    "/crm-object-schemas",
    "/webhooks/v3",
)


def hubspot(folder: Path) -> dict[str, Any]:
    """The type of the body of each client function, what batches answer besides, and the models of both."""
    table = json.loads((SPECS / "hubspot/hubspot-api-client-operations.json").read_text())
    found = _HubSpot(folder / "hubspot")
    paths: dict[str, dict[str, str]] = {}
    answers: dict[str, dict[str, dict[str, str]]] = {}
    for path, entry in table["paths"].items():
        for method, said in entry.items():
            if not path.startswith(_PATHS) or not said["body"]:
                continue
            file, _, function = said["client"].partition(":")
            prefix = file.partition("/api/")[0]
            types = re.findall(r":type \w+: (\w+)\n", found.function(file, function))
            model = next((kind for kind in types if kind not in _PLAIN), "")
            if model and found.add(prefix, model):
                paths.setdefault(path, {})[method] = found.add(prefix, model)
            partly = re.search(r'207: "(\w+)"', found.function(file, f"{function}_with_http_info"))
            if partly and "/batch/" in path:
                answers.setdefault(path, {})[method] = {"207": found.add(prefix, partly.group(1))}
    return {
        "source": "PyPI hubspot-api-client 12.0.0: the types of bodies and of partly refused batches, and the models",
        "licence": "Apache-2.0",
        "paths": paths,
        "answers": answers,
        "models": found.models,
    }


class _HubSpot:
    """The client's functions and models; a model that several clients have alike counts once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.models: dict[str, Any] = {}
        self.known: dict[str, dict[str, tuple[dict[str, str], list[str]]]] = {}

    def function(self, file: str, name: str) -> str:
        found = re.search(rf"    def {name}\(self.*?(?=\n    def |\Z)", _text(self.folder / file), re.DOTALL)
        return found.group(0) if found else ""

    def add(self, prefix: str, name: str) -> str:
        """The key of a model, put into `models` with those that it leads to; '' for none."""
        if prefix not in self.known:
            self.known[prefix] = dict(self._models(prefix))
        if name not in self.known[prefix]:
            return ""
        properties, required = self.known[prefix][name]
        model = {"properties": properties, "required": required}
        key, number = name, 0
        while key in self.models and self.models[key] != model:
            number += 1
            key = f"{name}_{number}"
        if key not in self.models:
            self.models[key] = model
            for kind in properties.values():
                for inner in re.findall(r"[A-Z]\w+", kind):
                    self.add(prefix, inner)
        return key

    def _models(self, prefix: str) -> Iterator[tuple[str, tuple[dict[str, str], list[str]]]]:
        for path in sorted((self.folder / prefix / "models").glob("*.py")):
            text = _text(path)
            name = re.search(r"^class (\w+)\(object\)", text, re.MULTILINE)
            types = re.search(r"openapi_types = (\{.*?\})\n", text, re.DOTALL)
            names = re.search(r"attribute_map = (\{.*?\})\n", text, re.DOTALL)
            if name and types and names:
                labels = ast.literal_eval(names.group(1))
                needed = re.findall(r"client_side_validation and (\w+) is None", text)
                properties = {labels[key]: kind for key, kind in ast.literal_eval(types.group(1)).items()}
                yield name.group(1), (properties, sorted(labels[key] for key in needed if key in labels))


@cache
def _text(path: Path) -> str:
    return path.read_text()


_OBJECTS = (
    "Account Contact Lead Opportunity Case Task Event Campaign CampaignMember User Product2 PricebookEntry Pricebook2 "
    "OpportunityLineItem Order OrderItem Contract Asset Organization Group UserRole Profile RecordType"
)


def salesforce(folder: Path) -> dict[str, Any]:
    """The fields of standard objects, and the members of descriptions of fields and objects."""
    types = _text(folder / "package/lib/types/standard-schema.d.ts")
    common = _text(folder / "package/lib/types/common.d.ts")
    kinds = {"string": "string", "boolean": "boolean", "number": "number"}

    def members(text: str, name: str) -> dict[str, str]:
        block = re.search(rf"^(?:export )?type {name} = [^{{]*\{{\n(.*?)^\}}", text, re.DOTALL | re.MULTILINE)
        found = re.findall(r"^    (\w+)\??: (.+)$", block.group(1), re.MULTILINE) if block else []
        return {field: kind.rstrip(";").partition("|")[0].strip() for field, kind in found}

    objects = {name: members(types, rf"Fields\${name}") for name in _OBJECTS.split()}
    return {
        "source": "npm jsforce 3.10.16 (MIT): lib/types/standard-schema.d.ts and common.d.ts",
        "licence": "MIT",
        "objects": {
            name: {
                field: "string" if kind == "DateString" else kinds.get(kind, "object")
                for field, kind in item.items()
            }
            for name, item in objects.items()
        },
        "describe_field": list(members(common, "Field")),
        "describe_sobject": list(members(common, "DescribeSObjectResult")),
        "describe_global_sobject": list(members(common, "DescribeGlobalSObjectResult")),
    }


def servicebus(folder: Path) -> dict[str, Any]:
    """The names in XML of the models of the management client."""
    tree = ast.parse(_text(folder / "azure/servicebus/management/_generated/models/_models.py"))
    models: dict[str, Any] = {}
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            said = dict(_assigned(node))
            if said.get("_attribute_map"):
                models[node.name] = {"members": dict(_members(said["_attribute_map"]))}
                if said.get("_xml_map", {}).get("name"):
                    models[node.name]["xml"] = said["_xml_map"]["name"]
    return {
        "source": "PyPI azure-servicebus 7.15.0 management/_generated/models/_models.py: the XML names of the models",
        "licence": "MIT",
        "models": models,
    }


def _assigned(node: ast.ClassDef) -> Iterator[tuple[str, Any]]:
    for item in node.body:
        if (
            isinstance(item, ast.Assign)
            and isinstance(item.targets[0], ast.Name)
            and isinstance(item.value, ast.Dict)
        ):
            yield item.targets[0].id, ast.literal_eval(item.value)


def _members(attributes: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for said in attributes.values():
        xml = said.get("xml", {})
        name = ("@" if xml.get("attr") else "") + (xml.get("name") or said["key"])
        member: dict[str, Any] = {"type": said["type"].strip("[]")}
        if said["type"].startswith("["):
            member |= {"many": xml.get("itemsName") or name, "wrapped": bool(xml.get("wrapped"))}
        yield name, member


_TABLES = {
    "hubspot": (hubspot, "hubspot-bodies.json"),
    "salesforce": (salesforce, "salesforce-fields.json"),
    "servicebus": (servicebus, "servicebus-atom.json"),
}

if __name__ == "__main__":
    make, file = _TABLES[sys.argv[1]]
    text = json.dumps(make(Path(sys.argv[2])), separators=(",", ":"))
    (HERE / "derived" / file).write_text(text.replace('},"', '},\n"').replace('],"', '],\n"') + "\n")
