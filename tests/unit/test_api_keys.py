"""Files of API keys: their format, new keys, and the errors for files that cannot be used."""

import hashlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from affect_contract.errors import Unauthorized
from affect_serving.__main__ import main
from affect_serving.core.api_keys import ApiKeys, KeysError, new_key, parse
from affect_serving.core.backend import ServingError
from affect_serving.telemetry.metrics import Metrics

NAMES = st.from_regex(r"[A-Za-z0-9._@-]{1,64}", fullmatch=True)
DIGESTS = st.binary(min_size=32, max_size=32)


@given(st.dictionaries(NAMES, DIGESTS, max_size=8), st.lists(st.sampled_from(["", "   ", "# a remark", "  # another"])))
def test_keys_are_read_back_whatever_comments_stand_between(digests, between):
    lines = [f"{name}:{digest.hex()}" for name, digest in digests.items()]
    assert parse("\n".join([*between, *lines, *between])) == digests
    assert parse("\r\n".join(f"{name}:{digest.hex().upper()}" for name, digest in digests.items())) == digests


@given(st.text())
def test_any_text_is_a_file_of_keys_or_is_refused_with_the_line_number(text):
    try:
        digests = parse(text)
    except KeysError as exc:
        assert re.match(r"line \d+ ", str(exc))
    else:
        assert all(len(digest) == 32 for digest in digests.values())


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("alice", "line 2 is not NAME:SHA256"),
        ("alice:secret-key-in-clear", "line 2 is not NAME:SHA256"),
        (f"al ice:{'0' * 64}", "line 2 is not NAME:SHA256"),
        (f":{'0' * 64}", "line 2 is not NAME:SHA256"),
        (f"alice:{'0' * 63}", "line 2 is not NAME:SHA256"),
        (f"bob:{'1' * 64}", "line 2 names bob a second time"),
    ],
)
def test_a_wrong_line_is_named_and_not_repeated(line, problem):
    with pytest.raises(KeysError, match=problem) as caught:
        parse(f"bob:{'0' * 64}\n{line}\n")
    assert "secret" not in str(caught.value)


def test_a_new_key_is_printed_once_and_only_its_digest_is_kept(tmp_path, capsys):
    file = tmp_path / "keys"
    keys = {}
    for name in ("alice", "bob"):
        assert main(["new-key", name, "--file", str(file)]) == 0
        keys[name] = capsys.readouterr().out.strip()
    assert parse(file.read_text()) == {name: hashlib.sha256(key.encode()).digest() for name, key in keys.items()}
    for name, key in keys.items():
        assert len(key) >= 40
        assert key not in file.read_text()
        assert ApiKeys(file, Metrics()).check(f"Bearer {key}") == name


def test_a_name_that_has_a_key_gets_no_second_one(tmp_path, capsys):
    file = tmp_path / "keys"
    main(["new-key", "alice", "--file", str(file)])
    before = file.read_text()
    capsys.readouterr()
    assert main(["new-key", "alice", "--file", str(file)]) == 2
    assert "has a key named alice already" in capsys.readouterr().err
    assert main(["new-key", "two words", "--file", str(file)]) == 2
    assert file.read_text() == before


@pytest.mark.parametrize("content", [None, b"nonsense", b"\xff\xfe"])
def test_a_gateway_whose_keys_cannot_be_read_does_not_start_and_says_why(tmp_path, capsys, content):
    file = tmp_path / "keys"
    if content is not None:
        file.write_bytes(content)
    assert main(["--models", "unused", "--http-port", "0", "--grpc-port", "0", "--api-keys-file", str(file)]) == 2
    assert re.fullmatch(rf"affect-serve: the keys in {file} of AFFECT_API_KEYS_FILE .*\n", capsys.readouterr().err)


def test_a_file_without_keys_lets_nobody_in_and_says_so(tmp_path, caplog):
    (tmp_path / "keys").write_text("# nobody yet\n")
    keys = ApiKeys(tmp_path / "keys", Metrics())
    assert "holds no key" in caplog.text
    with pytest.raises(Unauthorized):
        keys.check("Bearer anything")


def test_a_file_that_is_still_being_written_is_not_loaded(tmp_path):
    file = tmp_path / "keys"
    line = f"alice:{hashlib.sha256(b'key').hexdigest()}\n"
    file.write_text(line)
    keys = ApiKeys(file, Metrics())
    file.write_text("")  # as by a program that is about to write it
    keys.reload_if_changed()
    assert keys.check("Bearer key") == "alice"
    file.write_text(line.replace("alice", "bob"))
    keys.reload_if_changed()
    assert keys.check("Bearer key") == "alice"
    keys.reload_if_changed()
    assert keys.check("Bearer key") == "bob"


def test_without_a_file_nobody_needs_a_key():
    keys = ApiKeys(None, Metrics())
    assert keys.check("") == keys.check("Bearer anything") == ""
    keys.reload_if_changed()


def test_a_file_that_cannot_be_written_is_reported_in_one_line(tmp_path):
    with pytest.raises(ServingError, match="No such file"):
        new_key("alice", tmp_path / "nowhere" / "keys")
