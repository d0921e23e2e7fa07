"""The questions that find out what TensorFlow Serving has: which are asked, and what the answers mean."""

from affect_contract import tfserving
from affect_contract.proto.tfserving.v1 import serving_pb2 as pb
from affect_contract.tfserving import GET_MODEL_METADATA, GET_MODEL_STATUS, model_state, version_signatures
from affect_contract.versions import CANARY, PREVIOUS, STABLE, ModelState, VersionState

NAME = "mobilenet_v2_affect"


def answered(questions, *answers):
    """The result of questions that are answered in turn, and the questions.

    A status in an answer's place is that of a call that failed; it has to be one that means an absence.
    """
    asked = [next(questions)]
    for answer in answers:
        if isinstance(answer, str):
            assert answer in asked[-1].absent_statuses, "a failure"
        try:
            asked.append(questions.send(None if isinstance(answer, str) else answer))
        except StopIteration as end:
            assert len(asked) == len(answers), "asked less than was answered"
            return end.value, asked
    raise AssertionError(f"another question: {asked[-1]}")


def statuses(**states):
    """The status response of versions ``v1="AVAILABLE"`` and so on; one that failed is ``v1=("END", "why")``."""
    response = pb.GetModelStatusResponse()
    for name, given in states.items():
        state, error = (given, "") if isinstance(given, str) else given
        one = response.model_version_status.add(version=int(name[1:]), state=state)
        if error:
            one.status.error_code, one.status.error_message = 3, error
    return response


def metadata(version):
    response = pb.GetModelMetadataResponse()
    response.model_spec.version.value = version
    return response


def test_a_model_that_the_server_lacks_has_no_state_and_nothing_more_is_asked():
    found, (question,) = answered(model_state(NAME), "NOT_FOUND")
    assert found is None
    assert (question.method, question.request.model_spec.name) == (GET_MODEL_STATUS, NAME)


def test_each_label_is_asked_for_by_itself_and_may_be_nowhere():
    found, asked = answered(
        model_state(NAME),
        statuses(v2="AVAILABLE", v1="AVAILABLE", v3="LOADING"),
        metadata(1),
        "FAILED_PRECONDITION",
        "INVALID_ARGUMENT",
    )
    states = {1: VersionState("AVAILABLE"), 2: VersionState("AVAILABLE"), 3: VersionState("LOADING")}
    assert found == ModelState(states, {STABLE: 1})
    assert list(found.versions) == [1, 2, 3]
    assert [one.method for one in asked[1:]] == [GET_MODEL_METADATA] * 3
    assert [one.request.model_spec.version_label for one in asked[1:]] == [STABLE, CANARY, PREVIOUS]


def test_labels_are_not_asked_for_where_no_version_can_answer():
    found, asked = answered(model_state(NAME), statuses(v1="LOADING"))
    assert found == ModelState({1: VersionState("LOADING")}, {})
    assert len(asked) == 1


def test_versions_that_are_gone_are_left_out_unless_they_failed():
    found, _ = answered(model_state(NAME), statuses(v1="END", v2="UNLOADING", v3=("END", "torn " * 100)))
    assert list(found.versions) == [3]
    assert found.versions[3].state == "END"
    assert found.versions[3].problem.startswith(f"{NAME} version 3 does not load: torn torn")
    assert len(found.versions[3].problem) < 400


def test_signatures_are_asked_for_by_version_and_are_none_where_it_was_unloaded():
    response = metadata(2)
    wanted = pb.SignatureDef(method_name="predict")
    response.metadata["signature_def"].Pack(pb.SignatureDefMap(signature_def={"serving_default": wanted}))
    found, (question,) = answered(version_signatures(NAME, 2), response)
    assert dict(found) == {"serving_default": wanted}
    assert question.request.model_spec == tfserving.model_spec(NAME, version=2)
    assert answered(version_signatures(NAME, 2), "NOT_FOUND")[0] is None
    response.metadata["signature_def"].value = b"\xff"
    assert dict(answered(version_signatures(NAME, 2), response)[0]) == {}
