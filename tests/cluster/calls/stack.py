"""Our stack in the cluster: images, Secrets and overlay applied, a token, and what its pods are."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ai102.artifact import write_bytes
from ai102.errors import UserError
from ai102.images.dockerfiles import RECIPES, reference_of
from ai102.images.labels import version_of
from ai102.images.models import write_models_image
from ai102.kubernetes import secrets
from k8s.local import api, loading, registry
from k8s.local.plan import NODES, ROOT, Plan
from k8s.local.waiting import until
from tests.cluster.calls.asking import Place
from tests.cluster.calls.balancer import ADDRESS, GRPC_PORT, REST_PORT

NAMESPACE = "ai102"
OVERLAY = Path(__file__).parent / "overlay"
IMAGES = ("server", "gateway", "api")
# What the load asks, and what the API waits for: a replica with a quarter of a processor starts several times as fast.
MODELS = ("embed_text", "sealed_embed_text", "classify_image")
USER, PASSWORD = "caller", "a long password\n"
READY_WITHIN_S = 300.0
ROLLED_OUT_WITHIN_S = 400.0


@dataclass(frozen=True)
class Stack:
    plan: Plan
    kubectl_program: Path
    overlay: Path = OVERLAY
    images: tuple[str, ...] = IMAGES
    models: tuple[str, ...] = MODELS

    @property
    def secrets(self) -> Path:
        return self.plan.folder / "secrets"

    def kubectl(self, *arguments: str, text: str = "") -> str:
        """What kubectl prints, of the namespace ai102. Raises UserError."""
        return api.kubectl(self.plan, self.kubectl_program, f"--namespace={NAMESPACE}", *arguments, text=text)

    def install(self) -> None:
        """Load the images, apply everything, and wait until it is ready. Raises UserError when an image is missing."""
        version = version_of(ROOT)
        loading.load(self.plan, [reference_of(RECIPES[name], version) for name in self.images], lambda _: None)
        self.release_models("1")
        self.kubectl("create", "namespace", NAMESPACE)
        self.make_secrets()
        self.hand_out_keys()
        self.apply()
        self.wait_ready()
        self.add_user()

    def add_user(self) -> None:
        self.kubectl("exec", "-i", "deploy/issuer", *COMMAND, "user", "add", USER, "--role", "caller", text=PASSWORD)

    def apply(self) -> None:
        loading.apply(self.plan, self.kubectl_program, self.overlay)

    def apply_secrets(self) -> None:
        api.apply(self.plan, self.kubectl_program, secrets.manifests(self.secrets, NAMESPACE))

    def make_secrets(self) -> None:
        secrets.make(self.secrets, (ADDRESS,))
        self.apply_secrets()

    def release_models(self, version: str, change: Callable[[Path], None] = lambda repository: None) -> str:
        """A models image that `apply` rolls out, by its digest; one of another version differs in one file of a model.

        `change` may do more to its repository.
        """
        repository = self.plan.folder / "models" / version
        shutil.rmtree(repository, ignore_errors=True)
        for model in self.models:
            shutil.copytree(ROOT / "model_repository" / model, repository / model)
        (repository / self.models[0] / "release.txt").write_text(f"{version}\n", encoding="utf-8")
        change(repository)
        image, _ = write_models_image(repository, self.plan.folder / "images" / version, version=version)
        (reference,) = registry.push(self.plan, [image])
        loading.remember(self.plan, {"ai102/models": reference})
        return reference

    def place(self) -> Place:
        """Where the load asks, which is the load balancer, with a new token."""
        token = self.kubectl("exec", "deploy/issuer", *COMMAND, "token", USER).strip()
        return Place(ADDRESS, GRPC_PORT, REST_PORT, str(self.ca_file), token, str(self.callers_keys))

    @property
    def callers_keys(self) -> Path:
        """The keys that callers have, who are given new ones when replicas have them."""
        return self.plan.folder / "callers-keys"

    def hand_out_keys(self) -> None:
        """Give callers the keys that the Secrets hold; the name of the active one last."""
        keys = self.secrets / "keys"
        self.callers_keys.mkdir(mode=0o700, exist_ok=True)
        for file in sorted(keys.iterdir(), key=lambda file: file.name == "active"):
            if not file.name.startswith("."):
                write_bytes(self.callers_keys / file.name, file.read_bytes())

    @property
    def ca_file(self) -> Path:
        return self.secrets / "certs" / "ca.pem"

    def pods(self, name: str) -> list[api.Pod]:
        """The pods of a Deployment that are not over, in the order of their names."""
        return [pod for pod in self._of(name) if not pod.is_over]

    def ending(self, name: str) -> list[api.Pod]:
        return [pod for pod in self._of(name) if pod.phase == "Terminating"]

    def _of(self, name: str) -> list[api.Pod]:
        own = re.compile(rf"{name}-[0-9a-z]+-[0-9a-z]{{5}}")
        pods = [pod for pod in api.pods(self.plan, NAMESPACE) if own.fullmatch(pod.name)]
        return sorted(pods, key=lambda pod: pod.name)

    def ready(self, name: str) -> list[api.Pod]:
        return [pod for pod in self.pods(name) if pod.is_ready]

    def address_of(self, pod: str) -> str:
        return str(api.get(self.plan, f"/api/v1/namespaces/{NAMESPACE}/pods/{pod}")["status"]["podIP"])

    def wait_ready(self, within_s: float = READY_WITHIN_S) -> None:
        """Until every pod of the namespace is ready and none ends. UserError says which is not."""

        def is_ready() -> bool:
            pods = api.pods(self.plan, NAMESPACE)
            return len(pods) >= len(DEPLOYMENTS) and all(pod.is_ready and not pod.is_over for pod in pods)

        try:
            until(is_ready, "every pod of ai102 is ready and none is ending", within_s)
        except UserError as err:
            late = [f"{pod.name}: {pod.reason}" for pod in api.pods(self.plan, NAMESPACE) if not pod.is_ready]
            raise UserError(f"{err}: {'; '.join(late)}") from err

    def roll_out(self, name: str) -> None:
        """Wait until a rollout has ended."""
        self.kubectl("rollout", "status", f"deployment/{name}", f"--timeout={ROLLED_OUT_WITHIN_S:g}s")

    def node_without(self, *names: str) -> str:
        """A node with a replica of Triton and none of these, with as few of Triton as there are. Raises UserError."""
        unwanted = {pod.node for name in names for pod in self.pods(name)}
        counts = {node.name: sum(pod.node == node.name for pod in self.pods("triton")) for node in NODES}
        nodes = [name for name, count in counts.items() if count and name not in unwanted]
        if not nodes:
            raise UserError(f"no node has a replica of Triton and no {' or '.join(names)}: {counts}")
        return min(nodes, key=lambda name: counts[name])


COMMAND = ("--", "python3", "-m", "ai102", "auth")
DEPLOYMENTS = ("triton", "gateway", "api", "issuer")
