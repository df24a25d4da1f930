"""The API described for people: one page without scripts, written from the OpenAPI schema."""

from __future__ import annotations

from html import escape
from typing import Any

from fastapi import APIRouter, FastAPI
from starlette.responses import HTMLResponse, Response

_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h2 { margin-top: 2.5rem; font-size: 1.1rem; }
code, h2 { font-family: ui-monospace, monospace; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .25rem .75rem .25rem 0; border-top: 1px solid #8885; }
"""


def reference_routes(app: FastAPI) -> APIRouter:
    """`/api/docs` and its style sheet."""
    router = APIRouter(prefix="/api", include_in_schema=False)

    @router.get("/docs")
    async def docs() -> HTMLResponse:
        return HTMLResponse(reference_page(app.openapi()))

    @router.get("/docs.css")
    async def style() -> Response:
        return Response(_STYLE, media_type="text/css; charset=utf-8")

    return router


def reference_page(schema: dict[str, Any]) -> str:
    """The page for a schema."""
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{_text(schema['info']['title'])} API</title>",
        '<link rel="stylesheet" href="docs.css"></head><body>',
        f"<h1>{_text(schema['info']['title'])} {_text(schema['info']['version'])}: API</h1>",
        f"<p>{_text(schema['info'].get('description', ''))} For programs: <a href='openapi.json'>openapi.json</a>.</p>",
    ]
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            parts.append(f"<h2>{_text(method.upper())} {_text(path)}</h2>")
            parts.append(f"<p>{_text(operation.get('description') or operation.get('summary', ''))}</p>")
            parts.append(_parameters(operation, schema))
            parts.append(_responses(operation))
    return "\n".join([*parts, "</body></html>"])


def _parameters(operation: dict[str, Any], schema: dict[str, Any]) -> str:
    rows = [
        (one["name"], _kind(one["schema"]), one.get("description", "") + (" Required." if one.get("required") else ""))
        for one in operation.get("parameters", ())
    ]
    if body := operation.get("requestBody"):
        name = _name(body["content"]["application/json"]["schema"])
        fields = schema["components"]["schemas"].get(name, {})
        rows += [
            (f"body: {key}", _kind(one), one.get("description", "") + _required(key, fields))
            for key, one in fields.get("properties", {}).items()
        ]
    return _table(rows)


def _required(key: str, fields: dict[str, Any]) -> str:
    return " Required." if key in fields.get("required", ()) else ""


def _responses(operation: dict[str, Any]) -> str:
    rows = []
    for status, told in operation["responses"].items():
        content = told.get("content", {})
        kinds = ", ".join(_name(one.get("schema", {})) or kind for kind, one in content.items())
        rows.append((status, kinds, told.get("description", "")))
    return _table(rows)


def _kind(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        kind = " | ".join(map(str, schema["enum"]))
    elif "anyOf" in schema:
        kind = " or ".join(_kind(one) for one in schema["anyOf"])
    elif schema.get("type") == "array":
        kind = f"list of {_kind(schema.get('items', {}))}"
    else:
        kind = _name(schema) or str(schema.get("type", "anything"))
    bounds = ("minimum", "maximum", "maxLength", "maxItems", "default")
    told = [f"{name} {schema[name]!r}" for name in bounds if name in schema and schema[name] != ""]
    return f"{kind} ({', '.join(told)})" if told else kind


def _name(schema: dict[str, Any]) -> str:
    return str(schema.get("$ref", "")).rpartition("/")[2]


def _table(rows: list[tuple[str, str, str]]) -> str:
    lines = [
        f"<tr><td><code>{_text(first)}</code></td><td>{_text(second)}</td><td>{_text(third)}</td></tr>"
        for first, second, third in rows
    ]
    return f"<table>{''.join(lines)}</table>" if lines else ""


def _text(value: Any) -> str:
    return escape(str(value), quote=True)
