"""The page /docs: the OpenAPI description as plain HTML, without a script and without another host.

Belongs here: showing what /openapi.json says. What it says is in `schemas` and at each route.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from html import escape
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse

router = APIRouter(include_in_schema=False)
STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color-scheme:light dark}"
    "pre{overflow-x:auto;border:1px solid #8888;padding:.5rem}summary{cursor:pointer}"
)


@router.get("/docs")
async def documentation(request: Request) -> HTMLResponse:
    """Every path with its parameters, and an example of every status."""
    description = request.app.openapi()
    return HTMLResponse("\n".join(_page(description)))


def _page(description: dict[str, Any]) -> Iterator[str]:
    info = description["info"]
    yield f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(info["title"])}</title>'
    yield f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style>'
    yield f"<h1>{escape(info['title'])} {escape(info['version'])}</h1><p>{escape(info['description'])}</p>"
    yield '<p>For programs: <a href="openapi.json">openapi.json</a></p>'
    for path, methods in description["paths"].items():
        for method, operation in methods.items():
            yield from _operation(method, path, operation)


def _operation(method: str, path: str, operation: dict[str, Any]) -> Iterator[str]:
    yield f"<h2><code>{method.upper()} {escape(path)}</code></h2><p>{escape(operation['description'])}</p><ul>"
    for parameter in operation.get("parameters", ()):
        need = "needed" if parameter.get("required") else "optional"
        text = escape(parameter.get("description", ""))
        yield f"<li><code>{escape(parameter['name'])}</code> ({parameter['in']}, {need}) {text}</li>"
    yield "</ul>"
    for status, answer in operation["responses"].items():
        yield f"<details><summary>{status} {escape(answer['description'])}</summary>"
        for media_type, content in answer.get("content", {}).items():
            example = content.get("example")
            shown = example if isinstance(example, str) else json.dumps(example, indent=2)
            yield f"<p>{escape(media_type)}</p><pre>{escape(shown)}</pre>"
        yield "</details>"
