"""Reviews in and out, as the API server writes and reads them."""

import json
from base64 import b64decode
from typing import Any

import msgspec
import pytest

from neaptide.admission.draft import Operation
from neaptide.admission.pipeline import UNCHANGED, Verdict
from neaptide.admission.review import answer, pod_of, request_of


def review(**fields: Any) -> bytes:
    request = {
        "uid": "u-1",
        "kind": {"group": "", "version": "v1", "kind": "Pod"},
        "resource": {"group": "", "version": "v1", "resource": "pods"},
        "namespace": "batch",
        "operation": "CREATE",
        "userInfo": {"username": "someone"},
        "object": {"metadata": {"generateName": "job-"}},
        "oldObject": None,
        "dryRun": True,
        **fields,
    }
    return json.dumps({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}).encode()


def test_a_request_tells_the_pod_and_where_it_goes() -> None:
    request = request_of(review())
    assert (request.uid, request.namespace, request.dry_run) == ("u-1", "batch", True)
    assert pod_of(request) == {"metadata": {"generateName": "job-"}}


@pytest.mark.parametrize(
    ("fields", "creates"),
    [
        pytest.param({}, True, id="a new pod"),
        pytest.param({"operation": "UPDATE"}, False, id="a changed pod"),
        pytest.param({"subResource": "binding"}, False, id="a pod's binding"),
        pytest.param({"resource": {"group": "apps", "resource": "deployments"}}, False, id="another kind"),
    ],
)
def test_only_new_pods_are_looked_at(fields: dict[str, Any], creates: bool) -> None:
    assert request_of(review(**fields)).creates_a_pod is creates


def test_an_answer_without_a_patch_says_only_that_it_is_allowed() -> None:
    assert json.loads(answer(request_of(review()), UNCHANGED)) == {
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "response": {"uid": "u-1", "allowed": True},
    }


def test_a_patch_goes_in_base64_and_names_its_policies_for_the_audit_log() -> None:
    operations = (Operation("add", "/spec/priorityClassName", "koord-batch"), Operation("remove", "/spec/priority"))
    response = json.loads(answer(request_of(review()), Verdict(operations, ("offline",))))["response"]
    assert json.loads(b64decode(response["patch"])) == [
        {"op": "add", "path": "/spec/priorityClassName", "value": "koord-batch"},
        {"op": "remove", "path": "/spec/priority"},
    ]
    assert (response["patchType"], response["auditAnnotations"]) == ("JSONPatch", {"policies": "offline"})


def test_a_refusal_says_why() -> None:
    response = json.loads(answer(request_of(review()), Verdict(refusal="BE pods may not be prod")))["response"]
    assert (response["allowed"], response["status"]) == (False, {"message": "BE pods may not be prod", "code": 403})


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"request":{}}', b'{"request":{"uid":7}}'])
def test_what_is_no_review_is_said_to_be_none(body: bytes) -> None:
    with pytest.raises(msgspec.MsgspecError):
        request_of(body)


def test_a_pod_that_is_no_object_is_said_to_be_none() -> None:
    with pytest.raises(msgspec.MsgspecError):
        pod_of(request_of(review(object=None)))
