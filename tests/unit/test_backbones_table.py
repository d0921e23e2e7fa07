"""One table says what each backbone is: a new row is enough for every part, and a row that is missing is an error."""

import subprocess
import sys

import pytest

from affect_contract.backbones import BACKBONES, in_order, require_backbone
from affect_contract.models import MODELS, fused, single
from affect_contract.outputs import Task
from affect_contract.schemas import AnsweringModel
from affect_testbed import tiny_backbone
from affect_training.networks.backbones import CONSTRUCTIONS, require_rows


def test_a_new_row_makes_the_backbones_models():
    assert not [name for name in MODELS if name.startswith("tiny")]
    with tiny_backbone.registered(for_training=False) as name:
        assert [model for model in MODELS.values() if model.backbone == name] == [
            fused(name), single(name, Task.CLASSIFICATION), single(name, Task.REGRESSION),
        ]  # fmt: skip
        assert in_order([name, "mobilenet_v2"]) == ["mobilenet_v2", name]
        assert AnsweringModel(backbone=name, versions={}).backbone == name
        assert name in AnsweringModel.model_json_schema()["properties"]["backbone"]["enum"]


def test_a_name_without_a_row_is_refused_with_the_choices():
    with pytest.raises(ValueError, match="'vgg' is no backbone: choose from mobilenet_v2, densenet121, custom_cnn"):
        require_backbone("vgg")
    with pytest.raises(ValueError, match="'vgg' is no backbone"):
        AnsweringModel(backbone="vgg", versions={})


def test_only_a_backbone_whose_base_both_tasks_share_has_a_fused_model():
    fusible = [name for name, backbone in BACKBONES.items() if backbone.shares_base]
    assert [model.backbone for model in MODELS.values() if model.is_fused] == fusible


def test_training_refuses_a_backbone_that_it_cannot_build():
    with tiny_backbone.registered(for_training=True) as name:
        require_rows(CONSTRUCTIONS)
        others = {known: row for known, row in CONSTRUCTIONS.items() if known != name}
        with pytest.raises(RuntimeError, match="tiny has no row in CONSTRUCTIONS"):
            require_rows(others)
        with pytest.raises(RuntimeError, match="tiny is pretrained in one of BACKBONES and CONSTRUCTIONS"):
            require_rows(others | {name: CONSTRUCTIONS["custom_cnn"]})


def test_importing_training_holds_its_rows_against_the_contracts():
    code = (
        "from affect_testbed import tiny_backbone; from affect_contract.backbones import BACKBONES;"
        "BACKBONES['tiny'] = tiny_backbone.ROW; import affect_training.networks.backbones"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "tiny has no row in CONSTRUCTIONS" in done.stderr.splitlines()[-1]
