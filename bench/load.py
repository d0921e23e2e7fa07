"""A load generator light enough to share a small machine with the server: raw HTTP/1.1 on kept connections.

Prints one JSON document: pictures, seconds, p50_ms, p99_ms, failed.
"""

import argparse
import asyncio
import json
import time
from pathlib import Path
from urllib.parse import urlsplit

import uvloop

from affect_contract.arguments import seconds, whole_number
from affect_contract.commands import CommandParser


async def worker(host: str, port: int, requests: list[bytes], number: int, stop: float, took_s: list[float]) -> int:
    """Send requests one after the other until ``stop``; return the number not answered with 200."""
    reader, writer = await asyncio.open_connection(host, port)
    failed = 0
    turn = number
    while time.perf_counter() < stop:
        started = time.perf_counter()
        writer.write(requests[turn % len(requests)])
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length"))
        await reader.readexactly(int(length.split(b":")[1]))
        took_s.append(time.perf_counter() - started)
        failed += b" 200 " not in head.split(b"\r\n", 1)[0]
        turn += 1
    writer.close()
    return failed


async def run(options: argparse.Namespace) -> dict[str, float]:
    """Send requests for the given time, and return the figures."""
    parts = urlsplit(options.url)
    host, port = parts.hostname or "127.0.0.1", parts.port or 80
    files = sorted(options.pictures.glob("*.jpg"))
    requests = [_request(host, parts.path, file.read_bytes(), options.api_key) for file in files]
    took_s: list[float] = []
    started = time.perf_counter()
    stop = started + options.seconds
    workers = (worker(host, port, requests, number, stop, took_s) for number in range(options.in_flight))
    failed = sum(await asyncio.gather(*workers))
    elapsed = time.perf_counter() - started
    ordered = sorted(took_s)
    return {
        "pictures": len(took_s),
        "seconds": elapsed,
        "p50_ms": ordered[len(ordered) // 2] * 1000,
        "p99_ms": ordered[len(ordered) * 99 // 100] * 1000,
        "failed": failed,
    }


def _request(host: str, path: str, body: bytes, api_key: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", f"Host: {host}", "Content-Type: image/jpeg", f"Content-Length: {len(body)}"]
    if api_key:
        lines.append(f"Authorization: Bearer {api_key}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def main() -> None:
    """Parse the command line, run the load, and print the figures as JSON."""
    options = _parser().parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print(json.dumps(runner.run(run(options))))


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="python bench/load.py",
        description="Send pictures over HTTP, and print pictures, seconds, p50_ms, p99_ms and failed as JSON.",
        examples=("python bench/load.py http://127.0.0.1:8080/predict --pictures faces/images",),
    )
    parser.add_argument("url", metavar="URL", help="address to send pictures to")
    parser.add_argument("--pictures", type=Path, required=True, metavar="DIR", help="folder of JPEG files")
    parser.add_argument(
        "--in-flight",
        type=whole_number(1),
        default=16,
        metavar="N",
        help="requests at the same time (default: %(default)s)",
    )
    parser.add_argument(
        "--seconds", type=seconds, default=6.0, metavar="SECONDS", help="length of the load (default: %(default)g)"
    )
    parser.add_argument("--api-key", default="", metavar="KEY", help="API key to send (default: none)")
    return parser


if __name__ == "__main__":
    main()
