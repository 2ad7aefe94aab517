"""Requests drawn from the OpenAPI document: no 5xx, and only documented statuses and media types.

benchmarks/README.md has the command for many more examples, against a running server.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

pytest.importorskip("schemathesis")

import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import content_type_conformance, status_code_conformance

from trimer.resuming import plain_dict
from trimer.serving.app import create_app
from trimer.serving.jobs import Jobs
from trimer.serving.limits import JobLimits, limits_of

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance]
EXAMPLES = 4  # of each operation
SECONDS = 50  # of a request


@asynccontextmanager
async def lifespan(app) -> AsyncIterator[None]:
    yield


@pytest.fixture
def schema(service, serve_config, tmp_path):
    jobs = Jobs(service, tmp_path / "jobs", limits_of(JobLimits, plain_dict(serve_config.jobs), "jobs"))
    app = create_app(service, jobs=jobs)
    app.router.lifespan_context = lifespan  # the service is that of other tests too
    yield schemathesis.openapi.from_asgi("/openapi.json", app)
    jobs.close()


def test_each_name_in_a_path_is_a_parameter_of_the_openapi_document(schema):
    for path, operations in schema.raw_schema["paths"].items():
        for operation in operations.values():
            named = [one["name"] for one in operation.get("parameters", ()) if one["in"] == "path"]
            assert sorted(named) == sorted(re.findall(r"{(\w+)}", path)), path


def test_drawn_requests_get_documented_responses(schema):
    names = iter(["peptide-rt", "kinds", "peptide-ms2"] * 10_000)
    for operation in schema.get_all_operations():
        operation = operation.ok()

        @given(case=operation.as_strategy())
        @settings(
            max_examples=EXAMPLES, deadline=None, derandomize=True, database=None, phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        def ask(case) -> None:
            if "model" in (case.path_parameters or {}):
                case.path_parameters["model"] = next(names)  # a drawn name is never that of a model
            case.call_and_validate(checks=CHECKS)

        ask()
