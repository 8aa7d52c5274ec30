"""The private overlay takes every image from one registry and names no host outside of the cluster."""

import re

from tests.kubernetes.kustomized import K8S, images_of, overlay, text_of

REGISTRY = "registry.internal:5000"
# A scheme's host, and what looks like a name with a top-level domain that anybody can look up.
URL_HOST = re.compile(r"\b[a-z][a-z0-9+]*://(?:[^/@\s\"']*@)?\[?([A-Za-z0-9.${}-]+)")
PUBLIC_NAME = re.compile(r"\b(?:[a-z0-9-]+\.)+(?:com|org|net|io|dev|ai|cn|cloud|app|example)\b")
INSIDE = re.compile(r"localhost|127\.0\.0\.1|[a-z0-9-]+(\.[a-z0-9-]+\.svc(\.cluster\.local)?)?")
# Names that nothing looks up.
IDENTIFIERS = {
    "ai102.example",  # the issuer's name in tokens
    "kubernetes.io",  # labels, taints and annotations
    "k8s.io",
    "checkov.io",
}


def test_every_image_comes_from_the_one_registry() -> None:
    images = images_of(overlay("private"))
    assert {image.partition("/")[0] for image in images} == {REGISTRY}
    assert len(images) == 9


def test_no_other_host_is_named() -> None:
    text = text_of(K8S / "overlays" / "private").replace("https://ai102.example", "ai102.example")
    outside = {host for host in URL_HOST.findall(text) if not INSIDE.fullmatch(host) and "$" not in host}
    assert outside == set()
    names = {".".join(name.split(".")[-2:]) for name in PUBLIC_NAME.findall(text)}
    assert names <= IDENTIFIERS


def test_a_host_of_the_internet_would_be_seen() -> None:
    text = 'image: ghcr.io/a/b\nurl: "https://hooks.example.com/x"'
    assert {host for host in URL_HOST.findall(text) if not INSIDE.fullmatch(host)} == {"hooks.example.com"}
    assert set(PUBLIC_NAME.findall(text)) == {"ghcr.io", "hooks.example.com"}
