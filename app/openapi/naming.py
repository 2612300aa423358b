"""Names as readers of the document and generated clients see them, instead of those of our classes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

SECURITY_SCHEME = "gatewayKey"

_SPECIAL = {"CanceledView": "CanceledJob", "ErrorView": "JobError", "ProblemBody": "Problem", "ErrorAnswer": "UpstreamError"}
_REFERENCE = "#/components/schemas/"
_VALUES = ("example", "examples", "default", "const", "enum")  #: of these keys what is inside is data


def name_all(document: dict[str, Any]) -> None:
    """`JobView` becomes `Job` wherever it is named; titles that only repeat a name are left out."""
    components = document["components"]
    names = _public_names(components["schemas"])
    components["schemas"] = {names[name]: components["schemas"][name] for name in sorted(names, key=names.__getitem__)}
    for node in list(_nodes(document)):
        if isinstance(node.get("$ref"), str) and node["$ref"].startswith(_REFERENCE):
            name = node["$ref"].removeprefix(_REFERENCE)
            node["$ref"] = _REFERENCE + names.get(name, name)
        if isinstance(node.get("title"), str) and node is not document["info"]:
            del node["title"]
    _name_the_scheme(document)


def _public_names(schemas: Iterable[str]) -> dict[str, str]:
    """Of the classes of the schemas; where two would be called the same, they keep the names of their classes."""
    names = {name: _SPECIAL.get(name, name.removesuffix("View")) for name in schemas}
    count = Counter(names.values())
    return {name: public if count[public] == 1 else name for name, public in names.items()}


def _name_the_scheme(document: dict[str, Any]) -> None:
    schemes = document["components"].get("securitySchemes", {})
    for scheme in schemes.values():
        document["components"]["securitySchemes"] = {SECURITY_SCHEME: scheme}
    for methods in document["paths"].values():
        for operation in methods.values():
            if "security" in operation:
                operation["security"] = [{SECURITY_SCHEME: []}]


def _nodes(value: Any) -> Iterator[dict[str, Any]]:
    """Every object of the document that is no data."""
    if isinstance(value, list):
        for item in value:
            yield from _nodes(item)
    elif isinstance(value, dict):
        yield value
        for key, inner in value.items():
            if key not in _VALUES:
                yield from _nodes(inner)
