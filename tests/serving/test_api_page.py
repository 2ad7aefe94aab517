"""The page at `/docs`: all routes, nothing from other servers."""

from __future__ import annotations

import re

from starlette.testclient import TestClient

from trimer.serving.app import create_app


def test_the_page_lists_all_routes_without_scripts_or_outside_sources(service):
    client = TestClient(create_app(service, token="secret"))  # it names no model, so it needs no token
    response = client.get("/docs")
    assert response.status_code == 200
    for path, operations in create_app(service).openapi()["paths"].items():
        for method in operations:
            assert f"<code>{method.upper()} {path}</code>" in response.text
    assert "multipart/form-data" in response.text and "Too large" in response.text
    assert not re.search(r"https?:|<script| style=| on\w+=", response.text)
    assert response.headers["content-security-policy"].startswith("default-src 'none'; style-src 'sha256-")
