"""Conversion of predictions to and from the messages of the gRPC API, for the server and the clients."""

from affect_contract.outputs import SCALARS
from affect_contract.proto.affect.v1 import affect_pb2
from affect_contract.schemas import AnsweringModel, Prediction


def prediction_to_proto(prediction: Prediction) -> affect_pb2.PredictResponse:
    """Return a prediction as a message; its floats become float32, as the model gave them."""
    return affect_pb2.PredictResponse(
        expression=prediction.expression,
        expression_id=prediction.expression_id,
        confidence=prediction.confidence,
        probabilities=prediction.probabilities or {},
        **{scalar.name: getattr(prediction, scalar.name) for scalar in SCALARS},
        backbone=prediction.model.backbone,
        versions=prediction.model.versions,
        request_id=prediction.request_id,
    )


def prediction_from_proto(message: affect_pb2.PredictResponse) -> Prediction:
    """Return the prediction in a message.

    Raises:
        ValueError: the message holds values that no gateway answers with.
    """

    def optional(name: str) -> object:
        return getattr(message, name) if message.HasField(name) else None

    return Prediction.model_validate(
        {
            "expression": optional("expression"),
            "expression_id": optional("expression_id"),
            "confidence": optional("confidence"),
            "probabilities": dict(message.probabilities) or None,
            **{scalar.name: optional(scalar.name) for scalar in SCALARS},
            "model": AnsweringModel(backbone=message.backbone, versions=dict(message.versions)),
            "request_id": message.request_id,
        }
    )
