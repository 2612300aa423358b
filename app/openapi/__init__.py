"""The served OpenAPI document: what FastAPI gathers from the routes, told as documentation."""

from app.openapi.document import install

__all__ = ["install"]
