"""The clients: one suite for all four, hence for both APIs of the gateway."""

import asyncio
import os
import threading
import time

import pytest

from affect_client import (
    AsyncClient,
    AsyncGrpcClient,
    Client,
    GrpcClient,
    ServiceUnreachable,
    connect,
    connect_async,
)
from affect_contract.errors import (
    FAULTS,
    AffectError,
    DeadlineExceeded,
    ErrorCode,
    InvalidImage,
    InvalidRequest,
    Overloaded,
    TooLarge,
    UnknownModel,
)
from affect_contract.models import fused, single
from affect_contract.outputs import Task
from affect_contract.versions import AVAILABLE
from affect_serving.core.backend import Version
from affect_testbed.model_server.process import free_port
from affect_testbed.pictures import animated, encoded, patches, png_header
from tests.gateway import FakeBackend, listening_gateway

KINDS = {Client: "http", AsyncClient: "http", GrpcClient: "rpc", AsyncGrpcClient: "rpc"}
JPEG = encoded(patches())
SHARED_CODES = [code for code in ErrorCode if FAULTS[code].grpc]


@pytest.fixture
def backend():
    return FakeBackend()


@pytest.fixture
def urls(backend):
    with listening_gateway(backend, max_image_bytes=200_000) as urls:
        yield urls


@pytest.fixture(params=KINDS, ids=lambda kind: kind.__name__)
def kind(request):
    return request.param


@pytest.fixture
def ask(kind, urls):
    """Return a function that calls a method of a client of this kind."""

    def call(method, *arguments, options=None, **choice):
        client = kind(getattr(urls, KINDS[kind]), **{"retries": 0, **(options or {})})
        return called(client, method, *arguments, **choice)

    return call


def called(client, method, *arguments, **choice):
    if isinstance(client, Client | GrpcClient):
        with client:
            result = getattr(client, method)(*arguments, **choice)
            return list(result) if method == "predict_many" else result

    async def run():
        async with client:
            result = getattr(client, method)(*arguments, **choice)
            return [one async for one in result] if method == "predict_many" else await result

    return asyncio.run(run())


def everything_but_the_id(prediction):
    return prediction.model_dump(exclude={"request_id"})


@pytest.mark.parametrize("seed", range(3))
def test_http_and_grpc_give_the_same_answer_for_the_same_picture(urls, seed):
    picture = encoded(patches(640, 480, seed=seed))
    with Client(urls.http) as http, GrpcClient(urls.rpc) as rpc:
        answers = [everything_but_the_id(client.predict(picture)) for client in (http, rpc)]
    assert answers[0] == answers[1]


def hostile_pictures():
    return {
        "empty": b"",
        "text": b"no picture",
        "cut off": JPEG[: len(JPEG) // 2],
        "animated": animated("PNG"),
        "enormous": png_header(60_000, 60_000),
        "too many bytes": JPEG + b"\0" * 250_000,
        "more bytes than a message may have": JPEG + b"\0" * 500_000,
    }


@pytest.mark.parametrize("name", hostile_pictures())
def test_http_and_grpc_give_the_same_error_for_the_same_picture(urls, name):
    types = []
    for client in (Client(urls.http), GrpcClient(urls.rpc)):
        with client, pytest.raises((InvalidImage, TooLarge)) as caught:
            client.predict(hostile_pictures()[name])
        types.append(type(caught.value))
    assert types[0] is types[1]


@pytest.mark.parametrize("choice", [{"backbone": "nonsense"}, {"version": 7}, {"label": "canary"}])
def test_what_is_not_served_is_unknown(ask, choice):
    with pytest.raises(UnknownModel):
        ask("predict", JPEG, **choice)


@pytest.mark.parametrize("version", [0, -3])
def test_an_impossible_version_is_reported_in_the_same_words_by_every_client(ask, version):
    with pytest.raises(AffectError, match=f"version {version} cannot be"):
        ask("predict", JPEG, version=version)


@pytest.mark.parametrize("code", SHARED_CODES)
def test_a_fault_reaches_the_caller_as_itself(ask, backend, code):
    backend.failure = AffectError.by_code[code]("on purpose", retry_after_s=3)
    with pytest.raises(AffectError) as caught:
        ask("predict", JPEG)
    assert type(caught.value) is AffectError.by_code[code]
    assert caught.value.detail == "on purpose"
    assert caught.value.request_id
    assert caught.value.retry_after_s == 3


def test_an_unforeseen_error_is_internal_and_reveals_nothing(ask, backend):
    backend.failure = RuntimeError("a secret")
    with pytest.raises(AffectError) as caught:
        ask("predict", JPEG)
    assert caught.value.code is ErrorCode.INTERNAL
    assert "secret" not in caught.value.detail


def test_a_task_that_is_not_served_is_none(ask, backend):
    backend.catalogue = {single("mobilenet_v2", Task.REGRESSION): (Version(1, AVAILABLE, ("stable",)),)}
    answer = ask("predict", JPEG)
    assert answer.probabilities is answer.expression is answer.confidence is None
    assert answer.valence is not None


def test_a_version_or_a_label_selects_the_model(ask, backend):
    backend.catalogue = {
        fused("mobilenet_v2"): (Version(1, AVAILABLE, ("stable",)), Version(2, AVAILABLE, ("canary",)))
    }
    assert ask("predict", JPEG).model.versions == {"mobilenet_v2_affect": 1}
    assert ask("predict", JPEG, version=2).model.versions == {"mobilenet_v2_affect": 2}
    assert ask("predict", JPEG, label="canary").model.versions == {"mobilenet_v2_affect": 2}


def test_a_timeout_ends_the_call_and_its_work(ask, backend):
    backend.delay_s = 30
    started = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        ask("predict", JPEG, options={"timeout_s": 1.0})
    assert time.monotonic() - started < 5
    ends = time.monotonic() + 5
    while not backend.stopped and time.monotonic() < ends:
        time.sleep(0.01)
    assert backend.stopped


def test_a_transient_error_is_retried(ask, backend, kind):
    failures = iter([Overloaded("on purpose"), Overloaded("on purpose")])
    backend.before = lambda: raise_next(failures)
    assert ask("predict", JPEG, options={"retries": 2}).valence is not None
    assert len(backend.asked) == 3


def test_a_permanent_error_is_not_retried(ask, backend):
    backend.failure = InvalidImage("on purpose")
    with pytest.raises(InvalidImage):
        ask("predict", JPEG, options={"retries": 5})
    assert len(backend.asked) == 1


def raise_next(failures):
    failure = next(failures, None)
    if failure:
        raise failure


def test_many_pictures_come_back_in_order_each_with_its_answer_or_its_error(ask, tmp_path):
    file = tmp_path / "face.jpg"
    file.write_bytes(encoded(patches(seed=3)))
    pictures = [encoded(patches(seed=seed)) for seed in range(40)]
    pictures[5:5] = [b"no picture", file, tmp_path / "none.jpg"]
    answers = ask("predict_many", iter(pictures), in_flight=4)
    assert [answer.picture for answer in answers] == pictures
    failed = {
        number: answer.outcome for number, answer in enumerate(answers) if isinstance(answer.outcome, AffectError)
    }
    assert set(failed) == {5, 7}
    assert "cannot be read" in failed[7].detail
    alone = [ask("predict", picture) for picture in pictures[8:12]]
    assert [answer.outcome.valence for answer in answers[8:12]] == [answer.valence for answer in alone]


def test_predict_many_takes_pictures_only_as_they_are_needed(kind, urls, backend):
    taken = 0

    def endless():
        nonlocal taken
        while True:
            taken += 1
            yield JPEG

    client = kind(getattr(urls, KINDS[kind]))
    if kind in (Client, GrpcClient):
        with client:
            answers = client.predict_many(endless(), in_flight=2)
            for _ in range(5):
                next(answers)
            answers.close()
    else:

        async def run():
            async with client:
                answers = client.predict_many(endless(), in_flight=2)
                for _ in range(5):
                    await anext(answers)
                await answers.aclose()

        asyncio.run(run())
    assert taken <= 5 + 4 + 1


@pytest.mark.parametrize("kind", [AsyncClient, AsyncGrpcClient])
def test_reading_a_file_does_not_hold_up_the_event_loop(kind, urls, tmp_path):
    pipe = tmp_path / "face.jpg"
    os.mkfifo(pipe)

    async def run():
        async with kind(getattr(urls, KINDS[kind])) as client:
            answer = asyncio.create_task(client.predict(pipe))
            # The reader of the pipe waits until this event loop writes to it.
            await written(pipe, answer)
            return await answer

    # If the event loop itself read the file, only this would end the test.
    watchdog = threading.Timer(10, pipe.write_bytes, [b"too late"])
    watchdog.start()
    assert asyncio.run(run()).valence is not None
    watchdog.cancel()


async def written(pipe, reading):
    while not reading.done():
        try:
            writing = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:  # no reader yet
            await asyncio.sleep(0.001)
        else:
            os.write(writing, JPEG)
            os.close(writing)
            return


@pytest.mark.parametrize(
    "choice",
    [
        {"version": 1, "label": "stable"},
        {"version": 0},
        {"version": 2**63},
        {"version": 2**64 + 1},
        {"label": "\udcff"},
    ],
    ids=["both", "0", "2**63", "2**64+1", "no UTF-8"],
)
def test_impossible_options_are_an_invalid_request_for_every_client(ask, choice):
    with pytest.raises(InvalidRequest):
        ask("predict", JPEG, **choice)
    (answered,) = ask("predict_many", [JPEG], **choice)
    assert isinstance(answered.outcome, InvalidRequest)


def test_the_largest_possible_version_is_valid_but_unknown(ask):
    with pytest.raises(UnknownModel):
        ask("predict", JPEG, version=2**63 - 1)


def test_progress_goes_to_stderr(ask, capsys):
    ask("predict_many", [JPEG, b"no picture"], progress=True)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "2/2" in printed.err
    assert "failed=1" in printed.err


def test_a_port_without_a_service_is_unreachable_and_the_error_says_what_to_do(kind):
    scheme = KINDS[kind].replace("rpc", "grpc")
    with pytest.raises(ServiceUnreachable, match="affect-serve") as caught:
        called(kind(f"{scheme}://127.0.0.1:{free_port()}", retries=0, timeout_s=5), "predict", JPEG)
    assert caught.value.never_connected


def test_a_port_of_another_service_is_unreachable(kind, urls):
    """The port of the gateway's other API stands in for another service."""
    scheme = KINDS[kind].replace("rpc", "grpc")
    other = urls.rpc if KINDS[kind] == "http" else urls.http
    address = other.partition("://")[2]
    with pytest.raises(ServiceUnreachable):
        called(kind(f"{scheme}://{address}", retries=0, timeout_s=5), "predict", JPEG)


def test_a_connection_that_was_never_made_is_retried(kind):
    scheme = KINDS[kind].replace("rpc", "grpc")
    started = time.monotonic()
    with pytest.raises(ServiceUnreachable):
        called(kind(f"{scheme}://127.0.0.1:{free_port()}", retries=3, timeout_s=1), "predict", JPEG)
    assert time.monotonic() - started < 5


def test_readiness_can_be_asked_over_grpc(backend, urls):
    for client in (GrpcClient(urls.rpc), AsyncGrpcClient(urls.rpc)):
        assert called(client, "ready") is True


@pytest.mark.parametrize(
    ("url", "sync", "aio"),
    [
        ("http://h:1", Client, AsyncClient),
        ("https://h", Client, AsyncClient),
        ("grpc://h:1", GrpcClient, AsyncGrpcClient),
        ("grpcs://h:1", GrpcClient, AsyncGrpcClient),
    ],
)
def test_a_url_finds_its_client(url, sync, aio):
    with connect(url) as client:
        assert type(client) is sync
    assert type(connect_async(url)) is aio


@pytest.mark.parametrize("url", ["grpc://h", "grpc://:9", "grpc://h:x", "grpc://h:1/path", "ftp://h:1", "h:1", ""])
def test_a_url_that_names_no_gateway_is_refused_with_an_example(url):
    with pytest.raises(ServiceUnreachable, match="give one like"):
        connect(url)
