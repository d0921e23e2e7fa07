"""The channel to the model servers: it spreads calls over all of them, and replaces connections that stall."""

import asyncio
import time
from collections import Counter
from contextlib import asynccontextmanager, suppress

import grpc
import pytest
from tensorflow_serving.apis import get_model_status_pb2, model_service_pb2_grpc

from affect_serving.backends.tfserving.channel import OPTIONS, open_channel
from affect_serving.settings import Settings
from affect_testbed.model_server.made_up_models import served_models
from affect_testbed.model_server.server import ModelServer, serve
from tests.tfserving.gateways import FUSED

STATUS = get_model_status_pb2.GetModelStatusRequest()
STATUS.model_spec.name = FUSED.name


async def test_calls_are_spread_over_all_servers_of_a_name_and_go_on_when_one_is_gone():
    asked = Counter()
    servers = [serve(counting(asked, number)) for number in range(2)]
    addresses = ",".join(f"127.0.0.1:{port}" for _, port in servers)
    async with grpc.aio.insecure_channel(f"ipv4:{addresses}", options=OPTIONS) as channel:
        stub = model_service_pb2_grpc.ModelServiceStub(channel)
        while len(asked) < len(servers):
            await stub.GetModelStatus(STATUS, timeout=30, wait_for_ready=True)
        asked.clear()
        for _ in range(20):
            await stub.GetModelStatus(STATUS, timeout=30)
        assert asked == {0: 10, 1: 10}
        await asyncio.to_thread(servers[0][0].stop(0).wait)
        for _ in range(20):
            await stub.GetModelStatus(STATUS, timeout=30, wait_for_ready=True)
        assert asked[1] == 30
    await asyncio.to_thread(servers[1][0].stop(0).wait)


async def test_a_stalled_connection_is_replaced_by_one_that_works(monkeypatch):
    # The options are the product's, but with times divided by ten.
    quicker = {
        "grpc.keepalive_time_ms": 1_000,
        "grpc.keepalive_timeout_ms": 500,
        "grpc.http2.ping_timeout_ms": 500,
    }
    monkeypatch.setattr(
        "affect_serving.backends.tfserving.channel.OPTIONS",
        tuple((name, quicker.get(name, value)) for name, value in OPTIONS),
    )
    grpc_server, port = serve(ModelServer(served_models(FUSED.name)))
    async with (
        black_hole(port) as (hole, swallow),
        open_channel(Settings(tfserving=f"127.0.0.1:{hole}")) as channel,
    ):
        stub = model_service_pb2_grpc.ModelServiceStub(channel)
        await stub.GetModelStatus(STATUS, timeout=30)
        swallow()
        with pytest.raises(grpc.aio.AioRpcError) as lost:
            await stub.GetModelStatus(STATUS, timeout=0.2)
        assert lost.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        ends = time.monotonic() + 15
        answered = None
        while answered is None and time.monotonic() < ends:
            with suppress(grpc.aio.AioRpcError):
                answered = await stub.GetModelStatus(STATUS, timeout=0.5)
        assert answered is not None
    await asyncio.to_thread(grpc_server.stop(0).wait)


def counting(asked, number):
    class Counting(ModelServer):
        def GetModelStatus(self, request, context):  # noqa: N802 - gRPC's own name
            asked[number] += 1
            return super().GetModelStatus(request, context)

    return Counting(served_models(FUSED.name))


@asynccontextmanager
async def black_hole(port):
    """A proxy to a port; connections that are open when ``swallow`` is called pass nothing on any more."""
    swallowed, tasks, writers = set(), set(), set()

    async def pipe(reader, writer, connection):
        try:
            while data := await reader.read(2**16):
                if connection not in swallowed:
                    writer.write(data)
        finally:
            writer.close()

    async def accept(reader, writer):
        connection = object()
        connections.add(connection)
        ahead, back = await asyncio.open_connection("127.0.0.1", port)
        writers.update((writer, back))
        for one in (pipe(reader, back, connection), pipe(ahead, writer, connection)):
            tasks.add(asyncio.create_task(one))

    connections = set()
    async with await asyncio.start_server(accept, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1], lambda: swallowed.update(connections)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.gather(*(writer.wait_closed() for writer in writers), return_exceptions=True)
