"""The pages for people, a try-it page and the API's documentation, each with its content security policy."""

import base64
import hashlib
import re
from importlib.resources import files
from typing import Final

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.responses import HTMLResponse, Response

_POLICY: Final = "Content-Security-Policy"
_INLINE: Final = re.compile(r"<(script|style)>(.*?)</\1>", re.DOTALL)
_DOCS_POLICY: Final = (
    "default-src 'none'; connect-src 'self'; img-src data: https://fastapi.tiangolo.com; "
    "script-src https://cdn.jsdelivr.net 'unsafe-inline'; style-src https://cdn.jsdelivr.net 'unsafe-inline'; "
    "frame-ancestors 'none'"
)


def add_pages(app: FastAPI) -> None:
    """Add the routes ``/`` (the try-it page) and ``/docs`` to the application."""
    page = files(__package__).joinpath("try_it.html").read_text("utf-8")
    policy = _policy(page)

    @app.get("/", include_in_schema=False)
    async def try_it() -> Response:
        return HTMLResponse(page, headers={_POLICY: policy})

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        document = get_swagger_ui_html(openapi_url="openapi.json", title=f"{app.title}: API")
        document.headers[_POLICY] = _DOCS_POLICY
        return document


def _policy(page: str) -> str:
    """Return the policy by which a page may run its own script and style and call this gateway, and nothing else."""
    hashes = {kind: _hash(content) for kind, content in _INLINE.findall(page)}
    return (
        f"default-src 'none'; script-src '{hashes['script']}'; style-src '{hashes['style']}'; connect-src 'self'; "
        "img-src blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def _hash(content: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}"
