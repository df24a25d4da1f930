"""The OpenAPI schema is kept: whatever is sent, no 5xx, and every answer is one that the schema describes."""

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    ignored_auth,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)
from server_testing import BASE, WordEncoder, client, make_store

from polyvec.app.server import create_app
from polyvec.app.server.service import Service
from polyvec.core.registry import systems

# Not among them: `positive_data_acceptance`. That a filter is well-formed, or an id exists, no schema can say.
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    negative_data_rejection,
    unsupported_method,
]
OPERATIONS = [
    "alive", "info", "facets", "search", "similar", "document", "add_documents", "delete_documents", "health", "prices",
    "measure_prices", "map", "map_points", "map_point", "systems", "system", "system_plot",
]  # fmt: skip
bounded = settings(deadline=None, suppress_health_check=list(HealthCheck), database=None)
MODES = [GenerationMode.POSITIVE, GenerationMode.NEGATIVE]


def _schema(folder, **options):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Service, "default_encoder", lambda self: WordEncoder())
        app = create_app(make_store(folder, 20), **options)
    # what is computed in the background has its own tests; here it would only take the time
    app.state.service.background.start = lambda work, name: None
    schema = schemathesis.openapi.from_dict(app.openapi())
    schema.app = app
    schema.config.update(base_url=BASE)
    return schema


@pytest.fixture(scope="module")
def open_schema(tmp_path_factory):
    return _schema(tmp_path_factory.mktemp("open") / "index")


@pytest.fixture(scope="module")
def secured_schema(tmp_path_factory):
    return _schema(tmp_path_factory.mktemp("secured") / "index", token="geheim")


def send(schema, name, mode, count, checks=CHECKS, **more):
    """Send `count` requests to one operation: ones that fit the schema, or ones that do not; how many were sent."""
    operation = schema.find_operation_by_id(name)
    sent = []

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(
        max_examples=count,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        database=None,
        derandomize=count < 50,
    )
    def run(case):
        sent.append(case.call_and_validate(checks=checks, **more).status_code)

    try:
        run()
    except Unsatisfiable:  # an operation without arguments cannot be called wrongly
        assert mode == GenerationMode.NEGATIVE
    return sent


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", OPERATIONS)
def test_whatever_is_sent(open_schema, name, mode):
    sent = send(open_schema, name, mode, 12)
    if mode == GenerationMode.POSITIVE:
        assert sent


@pytest.mark.parametrize("name", OPERATIONS)
def test_the_schema_says_what_the_token_guards(secured_schema, name):
    headers = {"Authorization": "Bearer geheim"}
    assert send(secured_schema, name, GenerationMode.POSITIVE, 2, [*CHECKS, ignored_auth], headers=headers)


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", OPERATIONS)
def test_whatever_is_sent_at_length(open_schema, name, mode):
    send(open_schema, name, mode, 300)


def test_the_schema(tmp_path):
    store = make_store(tmp_path / "index", 5)
    web = client(store)
    schema = web.get("/api/openapi.json").json()
    operations = [operation for path in schema["paths"].values() for operation in path.values()]
    names = [operation["operationId"] for operation in operations]
    assert len(set(names)) == len(names)
    assert set(names) == set(OPERATIONS)
    assert "securitySchemes" not in schema["components"]
    for operation in operations:
        for status, answer in operation["responses"].items():
            if status >= "400":
                assert answer["content"]["application/json"]["schema"]["$ref"].endswith("/ProblemReply")
    secured = client(store, token="x").app.openapi()
    assert secured["paths"]["/api/search"]["get"]["security"] == [{"token": []}]
    assert "security" not in secured["paths"]["/healthz"]["get"]


def test_the_reference_for_people_loads_nothing_from_elsewhere(tmp_path):
    store = make_store(tmp_path / "index", 5)
    assert client(store).get("/api/docs").status_code == 404
    web = client(store, docs=True)
    page = web.get("/api/docs")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    for path in web.app.openapi()["paths"]:
        assert path in page.text
    assert "<script" not in page.text
    assert "http://" not in page.text
    assert "https://" not in page.text
    assert web.get("/api/docs.css").headers["content-type"].startswith("text/css")


def test_examples_of_all_working_systems_are_python(tmp_path):
    web = client(make_store(tmp_path / "index", 5))
    for entry in systems():
        told = web.get(f"/api/systems/{entry.slug}").json()
        assert told["claims"] == list(entry.claims)
        compile("\n".join(told["python"]), entry.slug, "exec")
        assert bool(told["python"]) == (entry.status == "working")
