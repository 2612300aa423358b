"""The served OpenAPI document: what FastAPI gathers from the routes, put in order."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI


def install(app: FastAPI) -> None:
    """Makes the app serve a document whose bodies that we read ourselves are components like all others."""
    gathered = app.openapi

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            _name_the_bodies(gathered())
        assert app.openapi_schema is not None
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]


def _name_the_bodies(document: dict[str, Any]) -> None:
    components = document.setdefault("components", {}).setdefault("schemas", {})
    for operation in (operation for path in document["paths"].values() for operation in path.values()):
        for content in operation.get("requestBody", {}).get("content", {}).values():
            schema = content.get("schema", {})
            components.update(schema.pop("$defs", {}))
            if "title" in schema and "$ref" not in schema:
                components[schema["title"]] = schema
                content["schema"] = {"$ref": f"#/components/schemas/{schema['title']}"}
