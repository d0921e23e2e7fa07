"""Put load over gRPC on the gateway, or directly on TensorFlow Serving; then the pictures are decoded here.

Prints one JSON document: pictures, seconds, p50_ms, p99_ms, failed.
"""

import argparse
import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import grpc
import numpy as np
import uvloop

from affect_contract import tfserving
from affect_contract.arguments import seconds, whole_number
from affect_contract.commands import CommandParser
from affect_contract.models import fused
from affect_contract.preprocess import preprocess
from affect_contract.proto.affect.v1 import affect_pb2, affect_pb2_grpc
from affect_contract.proto.tfserving.v1 import serving_pb2 as pb
from affect_serving.backends.tfserving import wire
from affect_serving.core.backend import Selector

Predict = Callable[[bytes], Awaitable[object]]


def gateway(channel: grpc.aio.Channel, api_key: str) -> Predict:
    """Return a function that sends a picture to the gateway."""
    stub = affect_pb2_grpc.AffectServiceStub(channel)
    metadata = (("authorization", f"Bearer {api_key}"),) if api_key else None
    return lambda picture: stub.Predict(affect_pb2.PredictRequest(image=picture), timeout=30, metadata=metadata)


def direct(channel: grpc.aio.Channel, _: str) -> Predict:
    """Return a function that sends a picture to TensorFlow Serving, as a program without a gateway does."""
    call = channel.unary_unary(
        tfserving.PREDICT.path,
        request_serializer=pb.PredictRequest.SerializeToString,
        response_deserializer=pb.PredictResponse.FromString,
    )
    model = fused("mobilenet_v2")

    async def predict(picture: bytes) -> object:
        image = preprocess(picture)[np.newaxis]
        return await call(wire.predict_request(model, Selector(label="stable"), image), timeout=30)

    return predict


async def worker(predict: Predict, pictures: list[bytes], number: int, stop: float, latencies_s: list[float]) -> int:
    """Send one picture after the other until ``stop``; return the number that failed."""
    failed = 0
    turn = number
    while time.perf_counter() < stop:
        started = time.perf_counter()
        try:
            await predict(pictures[turn % len(pictures)])
        except grpc.aio.AioRpcError:
            failed += 1
        latencies_s.append(time.perf_counter() - started)
        turn += 1
    return failed


async def run(options: argparse.Namespace) -> dict[str, float]:
    """Send pictures for the given time, and return the figures."""
    pictures = [file.read_bytes() for file in sorted(options.pictures.glob("*.jpg"))]
    latencies_s: list[float] = []
    async with grpc.aio.insecure_channel(options.address, options=[("grpc.enable_http_proxy", 0)]) as channel:
        predict = {"gateway": gateway, "direct": direct}[options.server](channel, options.api_key)
        started = time.perf_counter()
        stop = started + options.seconds
        workers = (worker(predict, pictures, number, stop, latencies_s) for number in range(options.in_flight))
        failed = sum(await asyncio.gather(*workers))
        elapsed = time.perf_counter() - started
    ordered = sorted(latencies_s)
    return {
        "pictures": len(latencies_s),
        "seconds": elapsed,
        "p50_ms": ordered[len(ordered) // 2] * 1000,
        "p99_ms": ordered[len(ordered) * 99 // 100] * 1000,
        "failed": failed,
    }


def main() -> None:
    """Parse the command line, run the load, and print the figures as JSON."""
    options = _parser().parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print(json.dumps(runner.run(run(options))))


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="python bench/rpc_load.py",
        description="Send pictures over gRPC, and print pictures, seconds, p50_ms, p99_ms and failed as JSON.",
        examples=("python bench/rpc_load.py gateway 127.0.0.1:9090 --pictures faces/images",),
    )
    parser.add_argument(
        "server",
        choices=["gateway", "direct"],
        help="what is asked: a gateway, or TensorFlow Serving directly, for which pictures are decoded here",
    )
    parser.add_argument("address", metavar="HOST:PORT", help="its gRPC address")
    parser.add_argument("--pictures", type=Path, required=True, metavar="DIR", help="folder of JPEG files")
    parser.add_argument(
        "--in-flight",
        type=whole_number(1),
        default=16,
        metavar="N",
        help="calls at the same time (default: %(default)s)",
    )
    parser.add_argument(
        "--seconds", type=seconds, default=6.0, metavar="SECONDS", help="length of the load (default: %(default)g)"
    )
    parser.add_argument("--api-key", default="", metavar="KEY", help="API key to send (default: none)")
    return parser


if __name__ == "__main__":
    main()
