"""`defaults` and resources become one: maps merge deep, lists replace."""

from __future__ import annotations

from collections.abc import Mapping

from platint_tui.core.model import Json

OPERATIONS = ("read", "one", "write", "parent")


def merge(base: Json, over: Json) -> Json:
    """`over` on top of `base`; a null in `over` takes away what `base` has.

    A tagged map (with `type`) of another type replaces instead of merging.
    """
    if not isinstance(base, Mapping) or not isinstance(over, Mapping):
        return over
    if "type" in base and "type" in over and base["type"] != over["type"]:
        return over
    result = dict(base)
    for name, value in over.items():
        if value is None and name in base:
            del result[name]
        else:
            result[name] = merge(base[name], value) if name in base else value
    return result


def merge_resource(defaults: Json, resource: Json) -> Json:
    """A resource with the defaults under it.

    `read`, `one`, `write` and `parent` of the defaults count only for resources that have that part themselves, so
    that a default for reading makes no resource readable.
    """
    if not isinstance(defaults, Mapping) or not isinstance(resource, Mapping):
        return resource
    usable = {name: value for name, value in defaults.items() if name not in OPERATIONS or name in resource}
    write = resource.get("write")
    if isinstance(usable.get("write"), Mapping) and isinstance(write, Mapping):
        usable["write"] = {name: value for name, value in usable["write"].items() if name in write}
    return merge(usable, resource)
