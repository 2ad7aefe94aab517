"""The page at `/docs`: the routes of the server with their bodies and statuses, from its OpenAPI document."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from itertools import groupby
from operator import itemgetter
from typing import Any

from fastapi import APIRouter, FastAPI
from jinja2 import Environment, StrictUndefined
from starlette.responses import HTMLResponse, Response

from trimer.serving.page_routes import digest, read

METHODS = ("get", "post", "delete")


def router(app: FastAPI) -> APIRouter:
    """The route of the page."""
    routes = APIRouter()

    @cache
    def page_and_policy() -> tuple[str, str]:
        style = read("page.css")
        template = Environment(autoescape=True, undefined=StrictUndefined).from_string(read("docs.html"))
        document = app.openapi()
        page = template.render(title=document["info"]["title"], about=document["info"]["description"],
                               version=document["info"]["version"], groups=groups_of(document))  # fmt: skip
        policy = (
            f"default-src 'none'; style-src '{digest(style)}'; img-src data:; base-uri 'none'; frame-ancestors 'none'"
        )
        return page.replace("/* styles */", style), policy

    @routes.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        page, policy = page_and_policy()
        return HTMLResponse(page, headers={"Content-Security-Policy": policy, "Referrer-Policy": "no-referrer"})

    return routes


def groups_of(document: Mapping[str, Any]) -> list[tuple[str, list[dict[str, Any]]]]:
    """(heading, routes) of an OpenAPI document; a route: method, path, summary, query, bodies, statuses."""
    listed = [
        {
            "group": operation["tags"][0],
            "method": method.upper(),
            "path": path,
            "summary": operation["summary"],
            "query": [given["name"] for given in operation.get("parameters", ()) if given["in"] == "query"],
            "bodies": list(operation.get("requestBody", {}).get("content", ())),
            "statuses": {code: answer.get("description", "") for code, answer in operation["responses"].items()},
        }
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
        if method in METHODS
    ]
    groups = groupby(sorted(listed, key=itemgetter("group")), key=itemgetter("group"))
    return sorted(((name, list(members)) for name, members in groups), key=lambda group: group[0] != "models")
