"""A models directory that a model server could be started on, and a command that looks at it."""

import struct

from tensorflow.core.protobuf import saved_model_pb2

from affect_contract.models import MODELS
from affect_contract.proto.tfserving.v1 import serving_pb2 as pb
from affect_contract.versions import STABLE
from affect_models import __main__ as models_command
from affect_registry.model_server_settings import write_missing_files
from affect_registry.saved_models import masked_crc32c
from affect_registry.store import WARMUP_FILE, Entry, write
from affect_testbed.model_server.made_up_models import signature

NAME = "mobilenet_v2_affect"


def write_sound_models(folder):
    """A models directory with one version of one model that all is well with."""
    directory = folder / NAME / "1"
    (directory / "assets.extra").mkdir(parents=True)
    write_signatures(directory, serving_default=signature(MODELS[NAME]))
    (directory / WARMUP_FILE).write_bytes(records((1, 32)))
    write_missing_files(folder)
    write(folder, {NAME: Entry(NAME, folder / NAME, (1,), {STABLE: 1})})


def write_signatures(directory, *, tags=("serve",), **signatures):
    saved = saved_model_pb2.SavedModel(saved_model_schema_version=1)
    graph = saved.meta_graphs.add()
    graph.meta_info_def.tags.extend(tags)
    for name, declared in signatures.items():
        graph.signature_def[name].CopyFrom(declared)
    (directory / "saved_model.pb").write_bytes(saved.SerializeToString())


def records(sizes, signature="serving_default", name="images", dtype=pb.DT_UINT8, sides=(224, 224, 3), content=b""):
    written = b""
    for size in sizes:
        log = pb.PredictionLog()
        log.predict_log.request.model_spec.signature_name = signature
        shape = pb.TensorShapeProto(dim=[pb.TensorShapeProto.Dim(size=side) for side in (size, *sides)])
        tensor = pb.TensorProto(dtype=dtype, tensor_shape=shape, tensor_content=content)
        log.predict_log.request.inputs[name].CopyFrom(tensor)
        data = log.SerializeToString()
        length = struct.pack("<Q", len(data))
        written += length + struct.pack("<I", masked_crc32c(length)) + data + struct.pack("<I", masked_crc32c(data))
    return written


def run(capsys, *arguments):
    status = models_command.main([str(argument) for argument in arguments])
    printed = capsys.readouterr()
    return status, printed.out, printed.err
