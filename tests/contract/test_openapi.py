"""The gateway against its OpenAPI document: requests that it allows, and many that it does not."""

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode, checks

from tests.fuzz import examples
from tests.gateway import FakeBackend, listening_gateway

checks.load_all_checks()
CHECKS = [
    checks.CHECKS.get_one(name)
    for name in (
        "status_code_conformance", "content_type_conformance", "response_schema_conformance",
        "response_headers_conformance", "unsupported_method",
    )
]  # fmt: skip
"""Checks for all requests. Acceptance is not among them: the document cannot say which bytes are a picture."""
REFUSAL = checks.CHECKS.get_one("negative_data_rejection")
OPERATIONS = [
    ("/predict", "POST"), ("/predict/batch", "POST"), ("/models", "GET"), ("/livez", "GET"), ("/readyz", "GET"),
    ("/metrics", "GET"),
]  # fmt: skip


@pytest.fixture(scope="module")
def document():
    with listening_gateway(FakeBackend()) as urls:
        yield schemathesis.openapi.from_url(f"{urls.http}/openapi.json")


def test_every_operation_of_the_document_is_tested(document):
    assert {(one.ok().path, one.ok().method.upper()) for one in document.get_all_operations()} == set(OPERATIONS)


@pytest.mark.parametrize("mode", GenerationMode)
@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_every_answer_is_one_that_the_document_lists(document, path, method, mode):
    operation = document[path][method]
    if mode is GenerationMode.NEGATIVE and not operation.query and not operation.body:
        pytest.skip(f"{method} {path} takes neither query nor body: nothing can be said wrongly")

    # In a form, a picture and a list of one picture are the same bytes.
    refusal = [REFUSAL] if path == "/predict" else []

    @settings(max_examples=examples(15), deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(operation.as_strategy(generation_mode=mode))
    def ask(case):
        response = case.call_and_validate(checks=[*CHECKS, *refusal])
        assert response.status_code < 500 or response.json()["code"] == "deadline_exceeded", response.text

    ask()
