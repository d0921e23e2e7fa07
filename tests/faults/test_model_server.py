"""Faults of the model server, and of the line to it."""

import time

import grpc
import pytest

from affect_testbed.model_server.made_up_models import served_models
from affect_testbed.model_server.server import LOADING, Faults, ModelServer, ServedVersion, serve
from tests.faults.line import Line
from tests.faults.world import ANSWERED, survived, until, world
from tests.tfserving.gateways import FUSED


@pytest.fixture(scope="module")
def server():
    return ModelServer(served_models(FUSED.name))


@pytest.fixture(scope="module")
def line(server):
    grpc_server, port = serve(server)
    with Line(port) as between:
        yield between
    grpc_server.stop(0).wait()


@pytest.fixture(scope="module")
def there(line):
    with world("--tfserving", f"127.0.0.1:{line.port}", "--backbones", FUSED.backbone) as gateway:
        until(lambda: gateway.ask() == ANSWERED)
        yield gateway


@pytest.fixture(autouse=True)
def ended(server, line):
    """A test that fails leaves no fault to the next."""
    yield
    server.faults = Faults()
    line.heal()


def outcomes(there, *wanted, timeout_ms=1_000):
    """What callers see until one sees what is ``wanted``."""
    seen = []
    until(lambda: seen.append(there.ask(timeout_ms)) or seen[-1] in wanted)
    return set(seen)


def test_a_server_that_is_killed(there, line):
    def fault():
        line.cut()
        # A request that is sent again waits for a connection as long as it may.
        assert outcomes(there, "model_not_ready") <= {ANSWERED, "model_not_ready", "deadline_exceeded"}
        line.heal()

    survived(there, fault)


def test_a_network_that_carries_nothing(there, line):
    def fault():
        line.mute()
        assert outcomes(there, "model_not_ready", timeout_ms=300) <= {ANSWERED, "deadline_exceeded", "model_not_ready"}
        line.heal()

    survived(there, fault)


def test_a_server_that_flaps(there, line):
    def fault():
        for _ in range(5):
            line.cut()
            assert there.ask(300) in {ANSWERED, "model_not_ready", "deadline_exceeded"}
            line.heal()
            time.sleep(0.05)

    survived(there, fault)


def test_noise_instead_of_a_server(there, line):
    def fault():
        line.garble()
        said = outcomes(there, "model_not_ready", "backend_error")
        assert said <= {ANSWERED, "model_not_ready", "backend_error", "deadline_exceeded"}
        line.heal()

    survived(there, fault)


def test_a_server_that_is_slow(there, server):
    def fault():
        server.faults.delay_s = 5
        assert there.ask(200) == "deadline_exceeded"
        server.faults.delay_s = 0

    survived(there, fault)


def test_a_server_without_a_thread_to_spare(there, server):
    def fault():
        server.faults.failure = (grpc.StatusCode.RESOURCE_EXHAUSTED, "Server Threadpool Exhausted")
        assert there.ask() == "overloaded"
        server.faults.failure = None

    survived(there, fault)


def no_outputs(response):
    response.outputs.clear()


def no_numbers(response):
    for tensor in response.outputs.values():
        tensor.float_val[:] = [float("nan")] * len(tensor.float_val)


def another_shape(response):
    for tensor in response.outputs.values():
        tensor.tensor_shape.dim[0].size = 7


@pytest.mark.parametrize("spoil", [no_outputs, no_numbers, another_shape])
def test_answers_that_are_none(there, server, spoil):
    def fault():
        server.faults.spoil = spoil
        assert there.ask() == "backend_error"
        server.faults.spoil = None

    survived(there, fault)


def test_a_new_version_that_is_corrupt_is_nobodys_trouble(there, server):
    model = server.models[FUSED.name]

    def fault():
        model.versions[2] = ServedVersion(LOADING, None, 3, "Data loss: not an sstable")
        for _ in range(20):
            assert there.ask() == ANSWERED
        del model.versions[2]

    survived(there, fault)
