"""The served OpenAPI document: what FastAPI gathers from the routes, told as documentation."""

from app.openapi.document import install, operation_id

__all__ = ["install", "operation_id"]
