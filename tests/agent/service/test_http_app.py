"""The HTTP service: answers, refusals that never are server errors, batching, limits."""

import asyncio
import html
import json
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlasdi.agent.service import Limits, application
from mlasdi.agent.service.batching import Batcher, Busy, Probe
from mlasdi.surrogate import Probes, Surrogate

POINT = {"a": 0.78, "w": 1.04}
MU = np.array([[0.78, 1.04]])


@pytest.fixture(scope="module")
def client(burgers_surrogate: Surrogate) -> Iterator[TestClient]:
    limits = Limits(body_bytes=2000, values=20_000)
    with TestClient(application(burgers_surrogate, "small", limits), raise_server_exceptions=False) as client:
        yield client


def test_it_tells_of_itself(client: TestClient, burgers_surrogate: Surrogate) -> None:
    assert client.get("/health").json() == {"status": "ok", "model": "small"}
    model = client.get("/model").json()
    assert model["parameters"][0] == {"name": "a", "low": 0.7, "high": 0.9, "unit": ""}
    assert model["coordinates"] == [{"name": "x", "low": -3.0, "high": 3.0, "unit": ""}]
    assert (model["error_estimate"], model["values"]) == (burgers_surrogate.error_estimate, 101)
    assert {"/predict", "/probe", "/model", "/health"} <= set(client.get("/openapi.json").json()["paths"])


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_a_page_that_needs_no_network_says_what_it_is(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert answer.headers["content-type"].startswith("text/html")
    for said in ("A surrogate model of a simulation", "POST /predict", "POST /probe", "<td>w</td>", "20,000", "small"):
        assert said in answer.text
    assert not re.findall(r"""(?:src|href|url)\s*[=(]\s*["']?(?:https?:)?//""", answer.text)
    assert "<script" not in answer.text
    for example in re.findall(r"<pre>curl http://testserver(/\w+) --json &#39;(.*?)&#39;</pre>", answer.text):
        assert client.post(example[0], json=json.loads(html.unescape(example[1]))).status_code == 200


def test_names_on_the_page_are_text(burgers_surrogate: Surrogate) -> None:
    with TestClient(application(burgers_surrogate, "<script>alert(1)</script>")) as client:
        assert "<script>" not in client.get("/").text


def test_other_addresses_are_refused_in_the_same_form(client: TestClient) -> None:
    assert client.get("/nothing").json() == {"error": "GET /nothing: not found; see /docs"}
    answer = client.get("/predict")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    assert answer.json()["error"].startswith("GET /predict: method not allowed")


@pytest.mark.parametrize(
    "body",
    [
        {"points": [POINT] * 500, "times": [0.5], "sensors": [{"x": 0.0}]},
        {"points": [POINT], "times": np.linspace(0, 1, 200).tolist()},
        {"points": [POINT], "times": [1e5], "sensors": [{"x": 0.0}], "extrapolate": True},
        {"points": [POINT], "quantiles": np.linspace(0.01, 0.99, 90).tolist()},
    ],
    ids=["points", "times", "far", "quantiles"],
)
def test_too_much_work_is_refused_before_any_is_done(
    burgers_surrogate: Surrogate, monkeypatch: pytest.MonkeyPatch, body: dict[str, Any]
) -> None:
    def refuse(*given: object, **more: object) -> None:
        raise AssertionError("predicted")

    for name in ("predict", "relative_std", "probe"):
        monkeypatch.setattr(Surrogate, name, refuse)
    with TestClient(application(burgers_surrogate, "small", Limits(work_s=0.01))) as client:
        answer = client.post("/predict", json=body)
        assert answer.status_code == 413
        assert "s; at most 0.01 s are allowed: ask for fewer points or times" in answer.json()["error"]
        far = {"point": POINT, "time": 1e5, "place": {"x": 0.0}, "extrapolate": True}
        assert client.post("/probe", json=far).status_code == 413


def test_it_predicts_what_the_surrogate_predicts(client: TestClient, burgers_surrogate: Surrogate) -> None:
    body = {"points": [POINT], "times": [0.0, 0.5], "quantiles": [0.05, 0.95]}
    answer = client.post("/predict", json=body).json()
    expected = burgers_surrogate.predict(MU, [0.0, 0.5])
    np.testing.assert_allclose(answer["mean"], expected.mean)
    np.testing.assert_allclose(answer["std"], expected.std)
    np.testing.assert_allclose(answer["quantiles"], expected.quantiles([0.05, 0.95]))
    assert answer["estimated_relative_error"] == pytest.approx(burgers_surrogate.relative_std(MU)[0])
    answer = client.post("/predict", json={"points": [POINT], "sensors": [{"x": 0.1}, {"x": 1.0}], "std": False}).json()
    probes = Probes.at_points(burgers_surrogate.layout, {"x": [0.1, 1.0]})
    np.testing.assert_allclose(answer["mean"], burgers_surrogate.predict(MU, std=False, probes=probes).mean)
    assert (answer["std"], answer["quantiles"], answer["times"]) == (None, None, burgers_surrogate.t.tolist())


def test_it_probes(client: TestClient, burgers_surrogate: Surrogate) -> None:
    answer = client.post("/probe", json={"point": POINT, "time": 0.3, "place": {"x": 0.77}}).json()
    expected = burgers_surrogate.probe(MU, [0.3], Probes.at_points(burgers_surrogate.layout, {"x": 0.77}))
    assert expected.std is not None
    assert answer["mean"] == pytest.approx(expected.mean[0, 0])
    assert answer["std"] == pytest.approx(expected.std[0, 0], rel=1e-6)


def test_outside_the_box_one_must_ask_for_it(client: TestClient) -> None:
    body = {"points": [{"a": 0.95, "w": 1.0}], "times": [0.5], "sensors": [{"x": 0.0}]}
    refused = client.post("/predict", json=body)
    assert refused.status_code == 422
    assert "outside the trained box" in refused.json()["error"]
    allowed = client.post("/predict", json=body | {"extrapolate": True}).json()
    assert len(allowed["warnings"]) == 1
    far = {"point": {"a": 1e300, "w": 1e-300}, "time": 1.0, "place": {"x": 0.0}, "extrapolate": True}
    assert client.post("/probe", json=far).status_code == 422
    assert client.post("/probe", json=far | {"time": 1e300}).status_code == 413
    beyond = {"points": [far["point"]], "times": [far["time"]], "extrapolate": True}
    assert client.post("/predict", json=beyond).status_code == 422


@pytest.mark.parametrize(
    ("path", "body", "status", "message"),
    [
        ("/predict", "{", 400, "the body is not JSON"),
        ("/predict", "[" * 1900, 400, ""),
        ("/predict", "x" * 2001, 413, "the body has more than 2000 bytes"),
        ("/predict", "[]", 422, "body: "),
        ("/predict", '{"points": [{"a": 0.8, "w": NaN}]}', 422, "points.0.w: Input should be a finite number"),
        ("/predict", '{"points": [{"a": 0.8, "w": 1e999}]}', 422, "points.0.w: "),
        ("/predict", '{"points": [{"a": 0.8}]}', 422, "parameters ['a'] given; the model has ['a', 'w']"),
        ("/predict", '{"points": []}', 422, "points: "),
        ("/predict", '{"points": [{"a": 0.8, "w": 1}], "tmes": [1]}', 422, "tmes: Extra inputs"),
        ("/predict", '{"points": [{"a": 0.8, "w": 1}], "quantiles": [1]}', 422, "quantiles.0: "),
        ("/predict", '{"points": [{"a": 0.8, "w": 1}], "fields": ["\\ud800"]}', 422, "field '\\ud800' is not known"),
        ("/predict", '{"points": [{"a": 0.8, "w": 1}], "sensors": [{"x": 9}]}', 422, "x=9 lies outside the grid"),
        (
            "/predict",
            '{"points": [{"a": 0.8, "w": 1}], "sensors": [{"x": 1}, {"y": 1}]}',
            422,
            "sensors have different",
        ),
        (
            "/predict",
            json.dumps({"points": [POINT] * 20}),
            413,
            "values requested; at most 20000 are allowed in one answer",
        ),
        ("/probe", '{"point": {"a": 0.8, "w": 1}, "time": 2, "place": {"x": 1}}', 422, "times reach outside"),
        ("/probe", '{"point": {"a": 0.8, "w": 1}, "time": 1, "place": {"z": 1}}', 422, "coordinates ['z'] given"),
    ],
)
def test_what_cannot_be_answered_is_refused(
    client: TestClient, path: str, body: str, status: int, message: str
) -> None:
    answer = client.post(path, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == status
    assert message in answer.text.replace("\\\\", "\\")


def test_a_body_is_cut_off_whatever_size_it_announces(client: TestClient) -> None:
    pieces = (b"x" * 100 for _ in range(1000))  # sent in chunks, without a length
    assert client.post("/predict", content=pieces).status_code == 413


def test_probes_that_wait_are_answered_together(burgers_surrogate: Surrogate, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    probe = Surrogate.probe

    def counted(self: Surrogate, mu: np.ndarray, *rest: object, **more: object) -> object:
        sizes.append(len(mu))
        return probe(self, mu, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(Surrogate, "probe", counted)
    rng = np.random.default_rng(0)
    x, t, a = rng.uniform(-3, 3, 30), rng.uniform(0, 1, 30), rng.uniform(0.7, 0.9, 30)
    asked = [
        Probe(np.array([a[k], 1.0]), t[k], Probes.at_points(burgers_surrogate.layout, {"x": x[k]}), k % 2 == 0)
        for k in range(30)
    ]

    async def all_at_once() -> list[tuple[float, float | None]]:
        async with Batcher(burgers_surrogate, waiting=100) as batcher:
            return await asyncio.gather(*(batcher.probe(one) for one in asked))

    found = asyncio.run(all_at_once())
    assert sorted(sizes) == [15, 15]
    for one, (mean, std) in zip(asked, found, strict=True):
        alone = probe(burgers_surrogate, one.point[None], [one.time], one.probes)
        assert mean == pytest.approx(alone.mean[0, 0], abs=1e-12)
        assert (std is not None) == one.std
        assert std is None or alone.std is None or std == pytest.approx(alone.std[0, 0], rel=1e-6)


def test_too_many_that_wait_are_sent_away(burgers_surrogate: Surrogate) -> None:
    probes = Probes.at_points(burgers_surrogate.layout, {"x": 0.0})

    async def crowd() -> list[object]:
        async with Batcher(burgers_surrogate, waiting=2) as batcher:
            asked = (batcher.probe(Probe(MU[0], 0.5, probes, False)) for _ in range(5))
            return await asyncio.gather(*asked, return_exceptions=True)

    found = asyncio.run(crowd())
    assert [isinstance(one, Busy) for one in found] == [False, False, True, True, True]
    assert "2 requests are waiting" in str(found[-1])


@given(
    a=st.floats(allow_nan=False, allow_infinity=False),
    w=st.floats(0.8, 1.2),
    t=st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=3),
    x=st.floats(-4, 4),
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_wild_numbers_are_answered_or_refused(client: TestClient, a: float, w: float, t: list[float], x: float) -> None:
    body = {"points": [{"a": a, "w": w}], "times": t, "sensors": [{"x": x}], "extrapolate": True}
    assert client.post("/predict", json=body).status_code in (200, 413, 422)
    one = {"point": {"a": a, "w": w}, "time": t[0], "place": {"x": x}, "extrapolate": True}
    assert client.post("/probe", json=one).status_code in (200, 413, 422)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # those of the fuzzer are no concern of ours
def test_no_request_makes_it_fail(burgers_surrogate: Surrogate) -> None:
    """Generated from its own OpenAPI description, well-formed and not."""
    schemathesis = pytest.importorskip("schemathesis")
    schema = schemathesis.openapi.from_asgi("/openapi.json", application(burgers_surrogate, "small"))
    statuses: set[int] = set()
    for operation in schema.get_all_operations():
        # Nothing can be wrong with a request that has neither parameters nor a body.
        modes = list(schemathesis.GenerationMode) if operation.ok().method == "post" else [None]
        for mode in modes:
            chosen = {} if mode is None else {"generation_mode": mode}

            @given(case=operation.ok().as_strategy(**chosen))
            @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
            def fuzz(case: Any) -> None:
                status = case.call().status_code
                statuses.add(status)
                assert status < 500, case.as_curl_command()

            fuzz()
    assert {200, 422} <= statuses
