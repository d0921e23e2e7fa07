"""The pages for people, the security headers of every answer, and calls from pages of other origins."""

import base64
import hashlib
import re

import pytest

from affect_testbed.pictures import encoded, patches
from tests.gateway import gateway

JPEG = encoded(patches())
ASSETS = re.compile(r"""(?:src|href)\s*=\s*["'](https?:)?//""")


async def test_the_page_loads_nothing_from_elsewhere_and_may_run_only_its_own_script_and_style():
    async with gateway() as client:
        response = await client.get("/")
    page, policy = response.text, response.headers["Content-Security-Policy"]
    assert response.headers["Content-Type"].startswith("text/html")
    assert not ASSETS.search(page)
    assert "'unsafe-inline'" not in policy
    assert "frame-ancestors 'none'" in policy
    assert " style=" not in page
    assert not re.search(r"\son\w+=", page)
    for kind in ("script", "style"):
        (content,) = re.findall(rf"<{kind}>(.*?)</{kind}>", page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy


async def test_the_documentation_loads_only_from_hosts_that_its_policy_allows():
    async with gateway() as client:
        response = await client.get("/docs")
    hosts = set(re.findall(r"https://[^/\"']+", response.text))
    assert hosts
    assert all(host in response.headers["Content-Security-Policy"] for host in hosts)


@pytest.mark.parametrize("path", ["/", "/docs", "/livez", "/models", "/nowhere", "/openapi.json"])
async def test_every_answer_has_the_security_headers(path):
    async with gateway() as client:
        headers = (await client.get(path)).headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cache-Control"] == "no-store"
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert "Access-Control-Allow-Origin" not in headers


async def test_configured_origins_may_call_the_api_and_can_read_refusals(tmp_path):
    (tmp_path / "keys").write_text("# nobody\n")
    origin = {"Origin": "https://example.org"}
    async with gateway(cors_origins="https://example.org", api_keys_file=tmp_path / "keys") as client:
        asked = {**origin, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
        before = await client.options("/predict", headers=asked)
        refused = await client.post("/predict", content=JPEG, headers=origin)
        stranger = await client.post("/predict", content=JPEG, headers={"Origin": "https://example.com"})
    assert before.status_code == 200
    assert "authorization" in before.headers["Access-Control-Allow-Headers"].lower()
    assert refused.status_code == 401
    assert refused.headers["Access-Control-Allow-Origin"] == "https://example.org"
    assert "Access-Control-Allow-Origin" not in stranger.headers
