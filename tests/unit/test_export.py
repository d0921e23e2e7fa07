"""SavedModels say what the networks in memory say, under the contract's names."""

import io

import keras
import numpy as np
import openvino
import pytest
import tensorflow as tf
from PIL import Image
from tensorflow_serving.apis import prediction_log_pb2

from affect_contract.outputs import AROUSAL, PROBABILITIES, VALENCE, Task, outputs_of
from affect_contract.preprocess import preprocess
from affect_contract.signatures import (
    ALLOWED_BATCH_SIZES,
    ENCODED_INPUT,
    ENCODED_SIGNATURE,
    IMAGES_INPUT,
    SERVING_SIGNATURE,
)
from affect_registry.store import WARMUP_FILE
from affect_training.export.saved_model import decode_pictures, export
from affect_training.export.warmup import write_warmup
from affect_training.networks.backbones import CONSTRUCTIONS, build_base
from affect_training.networks.heads import build_head
from affect_training.recipes.recipe import STUDY_RECIPE

SCALES = {Task.CLASSIFICATION: 20.0, Task.REGRESSION: 300.0}
"""Make the answers of untrained heads differ between pictures, and the affect leave [-1, 1]."""


def asked_of_tensorflow(directory, pictures):
    return tf.saved_model.load(str(directory)).signatures[SERVING_SIGNATURE](**{IMAGES_INPUT: tf.constant(pictures)})


def asked_of_openvino(directory, pictures):
    compiled = openvino.Core().compile_model(directory, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    answers = compiled({IMAGES_INPUT: pictures})
    return {name: answers[name] for name in (PROBABILITIES, VALENCE, AROUSAL)}


@pytest.fixture(scope="module")
def pictures():
    return np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3), dtype=np.uint8).repeat(28, 1).repeat(28, 2)


@pytest.fixture(scope="module")
def network():
    base = build_base("custom_cnn")
    heads = {task: build_head(task, base.output.shape[-1], STUDY_RECIPE, seed=1) for task in Task}
    for task, head in heads.items():
        kernel, bias = head.layers[-1].get_weights()
        head.layers[-1].set_weights([kernel * SCALES[task], bias])
    return base, heads


@pytest.fixture(scope="module")
def saved(network, tmp_path_factory):
    directory = tmp_path_factory.mktemp("saved") / "custom_cnn_affect"
    export(directory, *network, encoded_signature=True)
    write_warmup(directory, directory.name, encoded_signature=True)
    return directory


@pytest.fixture(scope="module")
def signatures(saved):
    return tf.saved_model.load(str(saved)).signatures


def test_a_fused_model_says_what_the_networks_in_memory_say(network, signatures, pictures):
    base, heads = network
    answer = signatures[SERVING_SIGNATURE](**{IMAGES_INPUT: tf.constant(pictures)})
    features = base.predict_on_batch(pictures)
    probabilities = heads[Task.CLASSIFICATION].predict_on_batch(features)
    affect = np.clip(heads[Task.REGRESSION].predict_on_batch(features), -1, 1)
    assert np.ptp(probabilities, axis=0).max() > 0.05
    assert np.ptp(affect, axis=0).max() > 0.05
    np.testing.assert_allclose(answer[PROBABILITIES], probabilities, atol=1e-4)
    np.testing.assert_allclose(np.stack([answer[VALENCE], answer[AROUSAL]], axis=1), affect, atol=1e-4)


@pytest.mark.parametrize("asked", [asked_of_tensorflow, asked_of_openvino])
def test_a_graph_that_flips_answers_with_the_mean_over_both_images(network, pictures, tmp_path, asked):
    base, heads = network
    unclipped = heads | {Task.REGRESSION: keras.models.clone_model(heads[Task.REGRESSION])}
    kernel, bias = heads[Task.REGRESSION].layers[-1].get_weights()
    unclipped[Task.REGRESSION].layers[-1].set_weights([kernel / SCALES[Task.REGRESSION], bias])
    export(tmp_path / "plain", base, unclipped)
    export(tmp_path / "flipping", base, unclipped, test_time_flip=True)
    plain, mirrored = (asked_of_tensorflow(tmp_path / "plain", view) for view in (pictures, pictures[:, :, ::-1]))
    answer = asked(tmp_path / "flipping", pictures)
    for name in (PROBABILITIES, VALENCE, AROUSAL):
        assert np.abs(plain[name] - mirrored[name]).max() > 0.001
        np.testing.assert_allclose(answer[name], (plain[name] + mirrored[name]) / 2, atol=1e-4)


def test_valence_and_arousal_are_clipped_inside_the_graph(network, signatures, pictures):
    base, heads = network
    assert np.abs(heads[Task.REGRESSION].predict_on_batch(base.predict_on_batch(pictures))).max() > 1
    answer = signatures[SERVING_SIGNATURE](**{IMAGES_INPUT: tf.constant(pictures)})
    assert max(np.abs(answer[VALENCE]).max(), np.abs(answer[AROUSAL]).max()) == 1.0


def test_the_signature_has_the_contracts_names_types_and_shapes(signatures):
    signature = signatures[SERVING_SIGNATURE]
    (images,) = signature.structured_input_signature[1].values()
    assert (images.name, images.dtype, images.shape.as_list()) == (IMAGES_INPUT, tf.uint8, [None, 224, 224, 3])
    outputs = {name: (spec.dtype, spec.shape.as_list()) for name, spec in signature.structured_outputs.items()}
    assert outputs == {
        PROBABILITIES: (tf.float32, [None, 8]),
        VALENCE: (tf.float32, [None]),
        AROUSAL: (tf.float32, [None]),
    }


@pytest.mark.parametrize("task", Task)
def test_a_model_of_one_task_has_the_outputs_of_that_task_alone(task, network, tmp_path):
    base, heads = network
    export(tmp_path / "m", base, {task: heads[task]})
    loaded = tf.saved_model.load(str(tmp_path / "m"))
    assert set(loaded.signatures) == {SERVING_SIGNATURE}
    assert set(loaded.signatures[SERVING_SIGNATURE].structured_outputs) == {output.name for output in outputs_of(task)}


def test_variables_are_frozen_to_constants(signatures):
    graph = signatures[SERVING_SIGNATURE].graph
    operations = {node.op for node in graph.as_graph_def().node}
    operations |= {node.op for function in graph.as_graph_def().library.function for node in function.node_def}
    assert "Conv2D" in operations
    assert not operations & {"VarHandleOp", "ReadVariableOp", "VariableV2"}


def encoded(picture, file_format, **options):
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, file_format, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("file_format", ["PNG", "JPEG"])
def test_encoded_pictures_give_the_same_answer_as_decoded_ones(file_format, signatures, pictures):
    files = [encoded(picture, file_format) for picture in pictures]
    decoded = np.stack([preprocess(file) for file in files])
    direct = signatures[SERVING_SIGNATURE](**{IMAGES_INPUT: tf.constant(decoded)})
    in_graph = signatures[ENCODED_SIGNATURE](**{ENCODED_INPUT: tf.constant(files)})
    assert np.ptp(direct[PROBABILITIES], axis=0).max() > 0.05
    for name in direct:
        np.testing.assert_allclose(direct[name], in_graph[name], atol=1e-5)


def test_pictures_of_another_size_are_scaled_in_the_graph_as_outside(network):
    rng = np.random.default_rng(1)
    photo = rng.integers(0, 256, (30, 40, 3), dtype=np.uint8).repeat(16, 0).repeat(16, 1)
    for picture in (photo, photo[:100, :90]):
        file = encoded(picture, "PNG")
        inside = decode_pictures(tf.constant([file])).numpy()[0].astype(int)
        difference = inside - preprocess(file)
        assert np.sqrt((difference**2).mean()) < 0.5, "levels of 255; a resize without antialias differs by 4 to 12"
        assert np.abs(difference).max() <= 2


def test_one_warm_up_record_is_written_for_each_allowed_batch_size_and_signature(saved, signatures):
    sizes = []
    for record in tf.data.TFRecordDataset(str(saved / WARMUP_FILE)):
        log = prediction_log_pb2.PredictionLog.FromString(record.numpy())
        request = log.predict_log.request
        assert request.model_spec.name == "custom_cnn_affect"
        (name,) = request.inputs
        tensor = tf.constant(tf.make_ndarray(request.inputs[name]))
        answer = signatures[request.model_spec.signature_name](**{name: tensor})
        sizes.append((request.model_spec.signature_name, answer[PROBABILITIES].shape[0]))
    assert sizes == [
        (signature, size) for signature in (SERVING_SIGNATURE, ENCODED_SIGNATURE) for size in ALLOWED_BATCH_SIZES
    ]


@pytest.mark.parametrize(
    ("backbone", "preprocess_input"),
    [
        ("mobilenet_v2", keras.applications.mobilenet_v2.preprocess_input),
        ("densenet121", keras.applications.densenet.preprocess_input),
    ],
)
def test_scaling_inside_the_graph_is_the_one_the_weights_were_trained_with(backbone, preprocess_input):
    levels = np.linspace(0, 255, 224 * 224 * 3).reshape(1, 224, 224, 3).astype(np.uint8)
    images = keras.Input((224, 224, 3), dtype="uint8")
    scaled = keras.Model(images, CONSTRUCTIONS[backbone].scale(images)).predict_on_batch(levels)
    np.testing.assert_allclose(scaled, preprocess_input(levels.astype(np.float32)), atol=1e-5)
