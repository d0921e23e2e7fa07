"""The private part of TensorFlow Serving's protocol, held against the official packages in both directions.

`BatchingParameters` and `MonitoringConfig` are in no package; a real server reads them where one is given.
"""

from typing import Any

import pytest
from google.protobuf.descriptor import FieldDescriptor
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tensorflow.core.framework import tensor_pb2, tensor_shape_pb2, types_pb2
from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_pb2,
    model_service_pb2,
    predict_pb2,
    prediction_log_pb2,
    prediction_service_pb2,
    status_pb2,
)
from tensorflow_serving.config import model_server_config_pb2

from affect_contract import tfserving
from affect_contract.proto.tfserving.v1 import model_server_config_pb2 as our_config
from affect_contract.proto.tfserving.v1 import serving_pb2 as ours

PAIRS: list[tuple[Any, Any]] = [
    (ours.TensorShapeProto, tensor_shape_pb2.TensorShapeProto),
    (ours.TensorShapeProto.Dim, tensor_shape_pb2.TensorShapeProto.Dim),
    (ours.TensorProto, tensor_pb2.TensorProto),
    (ours.TensorInfo, meta_graph_pb2.TensorInfo),
    (ours.SignatureDef, meta_graph_pb2.SignatureDef),
    (ours.MetaGraphDef, meta_graph_pb2.MetaGraphDef),
    (ours.MetaGraphDef.MetaInfoDef, meta_graph_pb2.MetaGraphDef.MetaInfoDef),
    (ours.SavedModel, saved_model_pb2.SavedModel),
    (ours.ModelSpec, model_pb2.ModelSpec),
    (ours.PredictRequest, predict_pb2.PredictRequest),
    (ours.PredictResponse, predict_pb2.PredictResponse),
    (ours.StatusProto, status_pb2.StatusProto),
    (ours.GetModelStatusRequest, get_model_status_pb2.GetModelStatusRequest),
    (ours.ModelVersionStatus, get_model_status_pb2.ModelVersionStatus),
    (ours.GetModelStatusResponse, get_model_status_pb2.GetModelStatusResponse),
    (ours.SignatureDefMap, get_model_metadata_pb2.SignatureDefMap),
    (ours.GetModelMetadataRequest, get_model_metadata_pb2.GetModelMetadataRequest),
    (ours.GetModelMetadataResponse, get_model_metadata_pb2.GetModelMetadataResponse),
    (ours.PredictLog, prediction_log_pb2.PredictLog),
    (ours.PredictionLog, prediction_log_pb2.PredictionLog),
    (our_config.ModelServerConfig, model_server_config_pb2.ModelServerConfig),
    (our_config.ModelConfigList, model_server_config_pb2.ModelConfigList),
    (our_config.ModelConfig, model_server_config_pb2.ModelConfig),
]
SCALARS = {
    FieldDescriptor.TYPE_STRING: st.text(max_size=8),
    FieldDescriptor.TYPE_BYTES: st.binary(max_size=8),
    FieldDescriptor.TYPE_BOOL: st.booleans(),
    FieldDescriptor.TYPE_DOUBLE: st.floats(allow_nan=False),
    FieldDescriptor.TYPE_FLOAT: st.floats(width=32, allow_nan=False),
    FieldDescriptor.TYPE_INT32: st.integers(0, 16),
    FieldDescriptor.TYPE_UINT32: st.integers(0, 2**32 - 1),
    FieldDescriptor.TYPE_FIXED32: st.integers(0, 2**32 - 1),
    FieldDescriptor.TYPE_INT64: st.integers(-(2**63), 2**63 - 1),
    FieldDescriptor.TYPE_SINT64: st.integers(-(2**63), 2**63 - 1),
    FieldDescriptor.TYPE_UINT64: st.integers(0, 2**64 - 1),
    FieldDescriptor.TYPE_FIXED64: st.integers(0, 2**64 - 1),
}
WIRE_COMPATIBLE = {FieldDescriptor.TYPE_ENUM: FieldDescriptor.TYPE_INT32}
"""Types that are the same on the wire: an enum and an int32 have the same bytes."""

by_name = pytest.mark.parametrize(("our", "official"), PAIRS, ids=[our.DESCRIPTOR.name for our, _ in PAIRS])


def kind(field: FieldDescriptor) -> int:
    return WIRE_COMPATIBLE.get(field.type, field.type)


def oneof(field: FieldDescriptor) -> str | None:
    return field.containing_oneof.name if field.containing_oneof else None


def test_every_message_is_compared():
    messages = set(ours.DESCRIPTOR.message_types_by_name)
    assert messages <= {our.DESCRIPTOR.name for our, _ in PAIRS}


@by_name
def test_every_field_has_the_official_number_type_and_oneof(our, official):
    theirs = official.DESCRIPTOR.fields_by_name
    for field in our.DESCRIPTOR.fields:
        other = theirs[field.name]
        assert (field.number, kind(field), field.is_repeated) == (other.number, kind(other), other.is_repeated)
        assert oneof(field) == oneof(other)


@pytest.mark.parametrize(
    ("our", "official"),
    [
        (ours.DataType, types_pb2.DataType),
        (ours.ModelVersionStatus.State, get_model_status_pb2.ModelVersionStatus.State),
    ],
    ids=["DataType", "State"],
)
def test_every_enum_value_has_the_official_number(our, official):
    assert {name: official.Value(name) for name in our.keys()} == dict(our.items())  # noqa: SIM118 - not a mapping


@by_name
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_our_messages_read_the_same_with_the_official_package_and_back(our, official, data):
    message = data.draw(filled(our))
    there = official.FromString(message.SerializeToString(deterministic=True))
    assert our.FromString(there.SerializeToString(deterministic=True)) == message


@by_name
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_official_messages_are_read_here_and_written_back_without_loss(our, official, data):
    message = data.draw(filled(official))
    here = our.FromString(message.SerializeToString(deterministic=True))
    assert official.FromString(here.SerializeToString(deterministic=True)) == message


def test_unknown_fields_of_a_message_are_ignored():
    tensor = tensor_pb2.TensorProto(dtype=types_pb2.DT_FLOAT, float_val=[1.5], half_val=[3], version_number=7)
    response = predict_pb2.PredictResponse(outputs={"valence": tensor})
    response.model_spec.version.value = 2
    read = ours.PredictResponse.FromString(response.SerializeToString())
    assert list(read.outputs["valence"].float_val) == [1.5]
    assert read.model_spec.version.value == 2


@pytest.mark.parametrize(
    ("method", "module"),
    [
        (tfserving.PREDICT, prediction_service_pb2),
        (tfserving.GET_MODEL_METADATA, prediction_service_pb2),
        (tfserving.GET_MODEL_STATUS, model_service_pb2),
    ],
)
def test_every_method_is_one_of_the_official_services_with_the_same_messages(method, module):
    official = {
        f"/{service.full_name}/{one.name}": (one.input_type.name, one.output_type.name)
        for service in module.DESCRIPTOR.services_by_name.values()
        for one in service.methods
    }
    assert official[method.path] == (method.request.DESCRIPTOR.name, method.response.DESCRIPTOR.name)


@st.composite
def filled(draw, message_class):
    """A small message with some of its fields set, at most one of each oneof, nested at most five deep."""
    message = message_class()
    fill(draw, message, depth=5)
    return message


def fill(draw, message, depth: int) -> None:
    fields = [field for field in message.DESCRIPTOR.fields if depth or not field.message_type]
    if not fields:
        return
    one_each = st.lists(st.sampled_from(fields), max_size=4, unique_by=lambda field: oneof(field) or field.name)
    for field in draw(one_each):
        if field.message_type and field.message_type.GetOptions().map_entry:
            fill_map(draw, getattr(message, field.name), field.message_type.fields_by_name, depth)
        elif field.message_type:
            inner = getattr(message, field.name)
            inner = inner.add() if field.is_repeated else inner
            inner.SetInParent()
            fill(draw, inner, depth - 1)
        elif field.is_repeated:
            getattr(message, field.name).append(draw(scalar(field)))
        else:
            setattr(message, field.name, draw(scalar(field)))


def fill_map(draw, target, fields, depth: int) -> None:
    key = draw(scalar(fields["key"]))
    if fields["value"].message_type:
        fill(draw, target[key], depth - 1)
    else:
        target[key] = draw(scalar(fields["value"]))


def scalar(field) -> st.SearchStrategy:
    if field.type == FieldDescriptor.TYPE_ENUM:
        return st.sampled_from([value.number for value in field.enum_type.values])
    return SCALARS[field.type]
