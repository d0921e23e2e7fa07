"""What every client refuses to be told."""

import math

import pytest

from affect_client import AsyncClient, AsyncGrpcClient, Client, GrpcClient, connect

URLS = {
    Client: "http://127.0.0.1:8080",
    AsyncClient: "http://127.0.0.1:8080",
    GrpcClient: "grpc://127.0.0.1:9090",
    AsyncGrpcClient: "grpc://127.0.0.1:9090",
}
WRONG = [("timeout_s", 0), ("timeout_s", -1.0), ("timeout_s", math.inf), ("timeout_s", math.nan), ("retries", -1)]


@pytest.mark.parametrize("kind", URLS)
@pytest.mark.parametrize(("name", "value"), WRONG)
def test_an_option_that_no_call_could_be_made_with_is_refused_at_once(kind, name, value):
    with pytest.raises(ValueError, match=f"^{name} is "):
        kind(URLS[kind], **{name: value})


@pytest.mark.parametrize("kind", URLS)
@pytest.mark.parametrize("key", ["secret\n", " secret", "secr\u00e9t", "sec\x00ret"])
def test_a_key_that_cannot_be_sent_is_refused_without_being_repeated(kind, key):
    with pytest.raises(ValueError, match="strip it") as caught:
        kind(URLS[kind], api_key=key)
    assert "sec" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["grpc://[::1", "grpc://user:word@h:1", "grpc://h:1?x=1", "grpc://h:1#x", "grpc://h:0", "grpc://h:99999"]
)
def test_an_address_with_more_or_less_than_host_and_port_is_refused_with_an_example(url):
    with pytest.raises(Exception, match="give one like grpc://127.0.0.1:9090"):
        connect(url)
