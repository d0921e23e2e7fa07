"""Bodies and messages with random damage, through the whole gateway; AFFECT_FUZZ=400 sends 100,000 of them."""

import asyncio
import logging
import random
import time

import grpc
import psutil
import pytest

from affect_contract.errors import FAULTS, ErrorCode
from affect_contract.proto.affect.v1 import affect_pb2
from affect_testbed.pictures import encoded, patches
from tests.fuzz import examples
from tests.fuzz.mutation import at_random
from tests.fuzz.targets import BOUNDARY, MAX_PIXELS, TARGETS
from tests.gateway import FakeBackend, gateway, listening_gateway

JPEG = encoded(patches())
HANG_S = 1.0
MOST_GROWTH_BYTES = 100 * 2**20
FORM = f"multipart/form-data; boundary={BOUNDARY}"
KINDS = [
    ("/predict", "image/jpeg", "picture"), ("/predict", "", "picture"), ("/predict", "application/json", "json"),
    ("/predict", FORM, "form"), ("/predict/batch", FORM, "form"),
]  # fmt: skip


async def test_no_body_causes_an_error_of_the_service_a_hang_or_a_leak(caplog):
    caplog.set_level(logging.ERROR)  # every record that is kept makes garbage collection slower
    rng = random.Random(0)
    seeds = {name: TARGETS[name].seeds() for _, _, name in KINDS}
    process = psutil.Process()
    codes = set()
    async with gateway(max_pixels=MAX_PIXELS) as client:
        document = (await client.get("/openapi.json")).json()
        listed = {path: set(map(int, document["paths"][path]["post"]["responses"])) for path, _, _ in KINDS}
        for number in range(examples(250)):
            if number == 100:
                at_first = process.memory_info().rss
            path, media_type, name = rng.choice(KINDS)
            body = at_random(seeds[name], rng)
            began = time.process_time()
            answer = await client.post(path, content=body, headers={"Content-Type": media_type})
            assert time.process_time() - began < HANG_S, (path, media_type, body)
            assert answer.status_code in listed[path], (path, media_type, body)
            assert answer.status_code < 500, (path, media_type, body)
            codes.add(200 if answer.status_code == 200 else answer.json()["code"])
        assert (await client.post("/predict", content=JPEG)).status_code == 200
    assert process.memory_info().rss - at_first < MOST_GROWTH_BYTES
    assert {200, "invalid_image", "invalid_request"} <= codes, "nothing was reached"


@pytest.mark.parametrize("method", ["Predict", "PredictStream"])
async def test_no_message_brings_the_grpc_api_down(method):
    rng = random.Random(1)
    seeds = TARGETS["rpc"].seeds()
    wrong = {FAULTS[code].grpc for code in ErrorCode if FAULTS[code].http < 500} | {
        "INTERNAL"
    }  # gRPC's own for no message
    with listening_gateway(FakeBackend(), max_pixels=MAX_PIXELS) as urls:
        async with grpc.aio.insecure_channel(urls.rpc.removeprefix("grpc://")) as channel:
            call = channel.stream_stream(f"/affect.v1.AffectService/{method}")
            for _ in range(examples(100)):
                data = at_random(seeds, rng)
                try:
                    async with asyncio.timeout(30):
                        async for _ in call(iter([data])):
                            pass
                except grpc.aio.AioRpcError as exc:
                    assert exc.code().name in wrong, data
            good = affect_pb2.PredictRequest(image=JPEG)
            payload = affect_pb2.StreamRequest(id="1", request=good) if method == "PredictStream" else good
            answers = [answer async for answer in call(iter([payload.SerializeToString()]))]
            assert len(answers) == 1
