"""The server on a socket: clients that are slow, leave, or ask for much."""

import json
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from mlasdi.agent.service import Limits, application, http_server, listen, run_server
from mlasdi.agent.service.trajectories import Trajectories
from mlasdi.surrogate import Surrogate

BODY_S = HEAD_S = 0.5
POINT = {"a": 0.8, "w": 1.0}


@pytest.fixture(scope="module")
def place(burgers_surrogate: Surrogate) -> Iterator[tuple[str, int]]:
    """Host and port of a running server, with short time limits."""
    opened, address = listen("127.0.0.1", 0)
    app = application(burgers_surrogate, "small", Limits(body_s=BODY_S, work_s=1e9, values=10**12))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(http_server, "HEAD_S", HEAD_S)
        servers = []
        server = http_server.uvicorn.Server
        patch.setattr(http_server.uvicorn, "Server", lambda config: servers.append(server(config)) or servers[0])
        thread = threading.Thread(target=run_server, args=(app, opened))
        thread.start()
        host, port = address.removeprefix("http://").split(":")
        assert exchanged((host, int(port)), get("/health")).startswith("HTTP/1.1 200")
        yield host, int(port)
        servers[0].should_exit = True
        thread.join(60)


def get(path: str) -> str:
    return f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


def post(path: str, body: dict[str, object], length: int | None = None) -> str:
    text = json.dumps(body)
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(text) if length is None else length}\r\n\r\n{text}"


def exchanged(place: tuple[str, int], text: str) -> str:
    """What comes back until the server closes the connection."""
    with socket.create_connection(place, timeout=60) as connection:
        connection.sendall(text.encode())
        return b"".join(iter(lambda: connection.recv(1 << 16), b"")).decode()


@pytest.mark.parametrize("text", ["", "G", "GET /health HTTP/1.1\r\nHost: x\r\n"])
def test_a_head_that_does_not_come_ends_the_connection(place: tuple[str, int], text: str) -> None:
    start = time.monotonic()
    assert exchanged(place, text) == ""
    assert time.monotonic() - start >= 0.9 * HEAD_S


def test_a_body_that_does_not_come_is_refused(place: tuple[str, int]) -> None:
    answer = exchanged(place, post("/predict", {"points": [POINT]}, length=10_000))
    assert answer.startswith("HTTP/1.1 408")
    assert f"the body did not arrive within {BODY_S:g} s" in answer


def test_the_second_request_of_a_connection_is_waited_for_as_the_first(place: tuple[str, int]) -> None:
    with socket.create_connection(place, timeout=60) as connection:
        connection.sendall(get("/health").replace("Connection: close\r\n", "").encode())
        assert connection.recv(1 << 16).startswith(b"HTTP/1.1 200")
        connection.sendall(b"GET /hea")
        rest = b"".join(iter(lambda: connection.recv(1 << 16), b""))
    assert b"HTTP/1.1" not in rest


def test_large_work_holds_nobody_up_and_ends_when_its_client_leaves(
    place: tuple[str, int], burgers_surrogate: Surrogate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Work without end, of which each step is short: a second client is answered, and then the first one leaves."""
    n_steps = [0]

    def endless(self: Trajectories) -> Iterator[str]:
        if len(self.times) == 1:
            yield "{}"
            return
        while True:
            n_steps[0] += 1
            time.sleep(1e-3)
            yield ""

    monkeypatch.setattr(Trajectories, "steps", endless)
    with socket.create_connection(place, timeout=60) as heavy:
        heavy.sendall(post("/predict", {"points": [POINT]}).encode())
        for _ in range(3):
            answer = exchanged(place, post("/predict", {"points": [POINT], "times": [0.5]}))
            assert answer.startswith("HTTP/1.1 200")
            probe = {"point": POINT, "time": 0.5, "place": {"x": 0.0}}
            assert exchanged(place, post("/probe", probe)).startswith("HTTP/1.1 200")
        assert n_steps[0] > 0
    done = -1
    for _ in range(600):  # until no more steps are done
        if done == n_steps[0]:
            return
        done = n_steps[0]
        time.sleep(0.1)
    pytest.fail("the work of a client who has left goes on")
