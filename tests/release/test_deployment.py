"""One JSON patch moves both images and the annotations, in the plain form and with copied models."""

from typing import Any

import pytest

from ai102.errors import UserError
from ai102.release.deployment import Running, deployment_from, patch_from
from tests.release.fake_kubectl import MODELS, SERVER, deployment, patch

NEW = Running("r-2", "reg/server@sha256:" + "2" * 64, "reg/models@sha256:" + "3" * 64)
BASE = Running("", SERVER, MODELS)


def patched(item: dict[str, Any], to: Running, before: Running | None) -> dict[str, Any]:
    state = {"deployment": item, "rollout": "good"}
    assert patch(state, patch_from(deployment_from(item), to, before)) == ""
    return state["deployment"]


def images(item: dict[str, Any]) -> list[str]:
    pod = item["spec"]["template"]["spec"]
    references = [each["image"] for kind in ("initContainers", "containers") for each in pod.get(kind, ())]
    return references + [each["image"]["reference"] for each in pod["volumes"] if "image" in each]


@pytest.mark.parametrize(
    ("copies_models", "expected"),
    [(False, [NEW.server, NEW.models]), (True, [NEW.server, NEW.models, NEW.server])],
)
def test_every_place_of_both_images_is_changed_and_the_release_is_named(
    copies_models: bool, expected: list[str]
) -> None:
    item = patched(deployment(copies_models=copies_models), NEW, BASE)
    assert images(item) == expected
    assert deployment_from(item).running == NEW
    assert deployment_from(item).before == BASE
    assert item["metadata"]["generation"] == 2


def test_there_and_back_leaves_the_deployment_as_it_was() -> None:
    there = patched(deployment(), NEW, BASE)
    back = deployment_from(patched(there, BASE, None))
    assert (back.running, back.before) == (BASE, None)


def test_a_patch_for_other_images_is_refused_as_a_whole() -> None:
    state = {"deployment": patched(deployment(), NEW, BASE), "rollout": "good"}
    before = str(state["deployment"])
    late = Running("r-3", "reg/server@sha256:" + "4" * 64, NEW.models)
    refusal = patch(state, patch_from(deployment_from(deployment()), late, None))
    assert refusal == "The request is invalid: testing path /spec/template/spec/containers/0/image failed"
    assert str(state["deployment"]) == before


def test_models_from_elsewhere_are_no_release() -> None:
    item = deployment()
    item["spec"]["template"]["spec"]["volumes"][0] = {"name": "models", "persistentVolumeClaim": {"claimName": "m"}}
    with pytest.raises(UserError, match="Deployment triton has no models image: it takes its models from elsewhere"):
        deployment_from(item)


@pytest.mark.parametrize("text", ["{", "[]", '{"release": "r-1"}'])
def test_an_annotation_that_somebody_edited_is_as_if_it_were_absent(text: str) -> None:
    item = deployment()
    item["metadata"]["annotations"]["ai102.example/before"] = text
    assert deployment_from(item).before is None


PROGRESS: dict[str, tuple[dict[str, Any], bool]] = {
    "all are of it": ({}, True),
    "not seen yet": ({"observedGeneration": 0}, False),
    "one updated": ({"replicas": 4, "updatedReplicas": 1}, False),
    "old ones end": ({"replicas": 4, "updatedReplicas": 3}, False),
    "not ready": ({"availableReplicas": 2}, False),
    "nothing runs": ({"replicas": 0, "updatedReplicas": 0, "availableReplicas": 0}, False),
}


@pytest.mark.parametrize(("status", "is_done"), PROGRESS.values(), ids=PROGRESS)
def test_a_rollout_is_done_when_all_pods_are_of_it_and_ready(status: dict[str, Any], is_done: bool) -> None:
    item = deployment()
    item["status"] |= status
    assert deployment_from(item).progress.is_done is is_done
