"""ImageNet weights put into a folder for machines without internet."""

from dataclasses import replace

import numpy as np
import pytest

from affect_training import imagenet
from affect_training.networks.backbones import CONSTRUCTIONS, build_base
from affect_training.networks.weights import Origin, Weights


def test_what_was_downloaded_is_what_a_training_reads_from_the_folder(tmp_path, monkeypatch, capsys):
    make = CONSTRUCTIONS["mobilenet_v2"].application
    networks = []

    def downloaded(*, weights, **options):
        assert weights == "imagenet"
        networks.append(make(weights=None, **options))
        return networks[-1]

    with monkeypatch.context() as patched:
        patched.setitem(CONSTRUCTIONS, "mobilenet_v2", replace(CONSTRUCTIONS["mobilenet_v2"], application=downloaded))
        assert imagenet.main(["--out", str(tmp_path / "weights"), "--backbones", "mobilenet_v2"]) == 0
    (file,) = (tmp_path / "weights").iterdir()
    assert capsys.readouterr().out == f"{file}\n"
    base = build_base("mobilenet_v2", Weights(Origin.FOLDER, tmp_path / "weights"), seed=1)
    for read, saved in zip(base.get_weights(), networks[0].get_weights(), strict=True):
        np.testing.assert_array_equal(read, saved)


def test_a_backbone_that_has_none_is_refused(tmp_path, capsys):
    with pytest.raises(SystemExit):
        imagenet.main(["--out", str(tmp_path), "--backbones", "custom_cnn"])
    assert "choose from mobilenet_v2, densenet121" in capsys.readouterr().err


def test_weights_that_cannot_be_downloaded_are_one_sentence(tmp_path, monkeypatch, capsys):
    def refused(**_):
        raise OSError("URL fetch failure")

    monkeypatch.setitem(CONSTRUCTIONS, "densenet121", replace(CONSTRUCTIONS["densenet121"], application=refused))
    assert imagenet.main(["--out", str(tmp_path / "weights"), "--backbones", "densenet121"]) == 2
    assert "cannot be downloaded (URL fetch failure)" in capsys.readouterr().err
    assert not (tmp_path / "weights").exists()
