"""Recovery from faults of the model server, and of the network to it."""

import time

import grpc
import pytest

from affect_testbed.model_server.made_up_models import served_models
from affect_testbed.model_server.server import LOADING, Faults, ModelServer, ServedVersion, serve
from tests.faults.gateway_process import ANSWERED, assert_recovers, gateway_process, until
from tests.faults.proxy import FaultyProxy
from tests.tfserving.gateways import FUSED


@pytest.fixture(scope="module")
def server():
    return ModelServer(served_models(FUSED.name))


@pytest.fixture(scope="module")
def proxy(server):
    grpc_server, port = serve(server)
    with FaultyProxy(port) as running:
        yield running
    grpc_server.stop(0).wait()


@pytest.fixture(scope="module")
def gateway(proxy):
    with gateway_process("--tfserving", f"127.0.0.1:{proxy.port}", "--backbones", FUSED.backbone) as gateway:
        until(lambda: gateway.ask() == ANSWERED)
        yield gateway


@pytest.fixture(autouse=True)
def ended(server, proxy):
    """End all faults, so that a test that fails leaves none to the next."""
    yield
    server.faults = Faults()
    proxy.heal()


def outcomes(gateway, *wanted, timeout_ms=1_000):
    """The outcomes that callers see, up to the first that is ``wanted``."""
    seen = []
    until(lambda: seen.append(gateway.ask(timeout_ms)) or seen[-1] in wanted)
    return set(seen)


def test_a_server_that_is_killed(gateway, proxy):
    def fault():
        proxy.cut()
        # A retry may wait for a connection until the request's deadline.
        assert outcomes(gateway, "model_not_ready") <= {ANSWERED, "model_not_ready", "deadline_exceeded"}
        proxy.heal()

    assert_recovers(gateway, fault)


def test_a_network_that_stalls(gateway, proxy):
    def fault():
        proxy.stall()
        seen = outcomes(gateway, "model_not_ready", timeout_ms=300)
        assert seen <= {ANSWERED, "deadline_exceeded", "model_not_ready"}
        proxy.heal()

    assert_recovers(gateway, fault)


def test_a_server_that_flaps(gateway, proxy):
    def fault():
        for _ in range(5):
            proxy.cut()
            assert gateway.ask(300) in {ANSWERED, "model_not_ready", "deadline_exceeded"}
            proxy.heal()
            time.sleep(0.05)

    assert_recovers(gateway, fault)


def test_a_server_that_sends_garbage(gateway, proxy):
    def fault():
        proxy.garble()
        said = outcomes(gateway, "model_not_ready", "backend_error")
        assert said <= {ANSWERED, "model_not_ready", "backend_error", "deadline_exceeded"}
        proxy.heal()

    assert_recovers(gateway, fault)


def test_a_server_that_is_slow(gateway, server):
    def fault():
        server.faults.delay_s = 5
        assert gateway.ask(200) == "deadline_exceeded"
        server.faults.delay_s = 0

    assert_recovers(gateway, fault)


def test_a_server_without_a_free_thread(gateway, server):
    def fault():
        server.faults.failure = (grpc.StatusCode.RESOURCE_EXHAUSTED, "Server Threadpool Exhausted")
        assert gateway.ask() == "overloaded"
        server.faults.failure = None

    assert_recovers(gateway, fault)


def no_outputs(response):
    response.outputs.clear()


def no_numbers(response):
    for tensor in response.outputs.values():
        tensor.float_val[:] = [float("nan")] * len(tensor.float_val)


def another_shape(response):
    for tensor in response.outputs.values():
        tensor.tensor_shape.dim[0].size = 7


@pytest.mark.parametrize("spoil", [no_outputs, no_numbers, another_shape])
def test_unusable_answers(gateway, server, spoil):
    def fault():
        server.faults.spoil = spoil
        assert gateway.ask() == "backend_error"
        server.faults.spoil = None

    assert_recovers(gateway, fault)


def test_a_corrupt_new_version_disturbs_no_request(gateway, server):
    model = server.models[FUSED.name]

    def fault():
        model.versions[2] = ServedVersion(LOADING, None, 3, "Data loss: not an sstable")
        for _ in range(20):
            assert gateway.ask() == ANSWERED
        del model.versions[2]

    assert_recovers(gateway, fault)
