"""The OpenAPI schema: FastAPI's, with what the guards answer and the token."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

_UNUSED = ("HTTPValidationError", "ValidationError")


def complete_schema(app: FastAPI, *, secured: bool) -> None:
    """Let `app.openapi()` give the complete schema."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            made = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
            components = made.setdefault("components", {})
            for name in _UNUSED:  # errors have one model, ours
                components.get("schemas", {}).pop(name, None)
            if secured:
                components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
                for path, operations in made["paths"].items():
                    if path.startswith("/api"):
                        for operation in operations.values():
                            operation["security"] = [{"token": []}]
            app.openapi_schema = made
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]
