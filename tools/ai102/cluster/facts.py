"""What a cluster says of one namespace, as frozen objects; times are seconds since 1970."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

# The parts of this project, by the label app.kubernetes.io/name; everything else in the namespace supports them.
ROLES = ("gateway", "triton", "api", "issuer")
SUPPORT = "support"


@dataclass(frozen=True)
class Event:
    """What a component of the cluster wrote about an object."""

    reason: str
    message: str
    at_s: float
    count: int = 1


@dataclass(frozen=True)
class Ended:
    """How a run of a container ended."""

    reason: str
    exit_status: int
    at_s: float
    message: str = ""


@dataclass(frozen=True)
class Container:
    """A container of a pod; `ended` is how its present run ended, `ended_before` how the run before did."""

    name: str
    image: str
    digest: str = ""
    is_ready: bool = False
    is_started: bool = False
    restarts: int = 0
    waits: str = ""  # the reason, such as ImagePullBackOff
    message: str = ""
    ended: Ended | None = None
    ended_before: Ended | None = None
    memory_limit: str = ""
    is_initial: bool = False

    @property
    def last_end(self) -> Ended | None:
        return self.ended or self.ended_before


@dataclass(frozen=True)
class Pod:
    name: str
    workload: str = ""  # the name of the Deployment, StatefulSet, DaemonSet or Job
    role: str = SUPPORT
    node: str = ""
    phase: str = "Running"
    reason: str = ""  # of the phase, such as Evicted
    message: str = ""
    is_ready: bool = False
    is_ending: bool = False
    created_s: float = 0.0
    template: str = ""  # the hash of the pod template
    unscheduled: str = ""  # what the scheduler says while it has no node
    asks: Mapping[str, float] = field(default_factory=dict)  # the requests of all containers, by resource
    containers: tuple[Container, ...] = ()
    volumes: tuple[str, ...] = ()  # the images of its volumes
    events: tuple[Event, ...] = ()

    @property
    def is_over(self) -> bool:
        """Whether it has done its work, or another one takes its place."""
        return self.phase in ("Succeeded", "Failed") or self.is_ending

    @property
    def restarts(self) -> int:
        return sum(container.restarts for container in self.containers)


@dataclass(frozen=True)
class Workload:
    """A Deployment, StatefulSet or DaemonSet."""

    kind: str
    name: str
    role: str = SUPPORT
    version: str = ""  # the label app.kubernetes.io/version
    wanted: int = 1
    ready: int = 0
    updated: int = 0
    stuck: str = ""  # why its rollout makes no progress
    refused: str = ""  # why it may make no pods

    @property
    def title(self) -> str:
        return f"{self.kind.lower()} {self.name}"


@dataclass(frozen=True)
class Node:
    name: str
    is_ready: bool = True
    message: str = ""
    pressures: tuple[str, ...] = ()
    is_cordoned: bool = False
    version: str = ""  # of its kubelet
    room: Mapping[str, float] = field(default_factory=dict)  # allocatable, by resource


@dataclass(frozen=True)
class Budget:
    """A PodDisruptionBudget."""

    name: str
    allowed: int
    healthy: int
    desired: int
    pods: tuple[str, ...] = ()  # that it protects


@dataclass(frozen=True)
class Metric:
    """A figure that a HorizontalPodAutoscaler compares with its target, as it prints them."""

    name: str
    now: str
    target: str


@dataclass(frozen=True)
class Condition:
    kind: str
    is_true: bool
    reason: str = ""
    message: str = ""


@dataclass(frozen=True)
class Scaler:
    """A HorizontalPodAutoscaler."""

    name: str
    target: str
    least: int
    most: int
    now: int
    wanted: int
    metrics: tuple[Metric, ...] = ()
    conditions: tuple[Condition, ...] = ()


@dataclass(frozen=True)
class Scaled:
    """A ScaledObject of KEDA."""

    name: str
    target: str
    conditions: tuple[Condition, ...] = ()
    triggers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Claim:
    """A PersistentVolumeClaim."""

    name: str
    phase: str
    events: tuple[Event, ...] = ()


@dataclass(frozen=True)
class Quota:
    """What a ResourceQuota allows and what is used of it, by resource, as the cluster writes them."""

    name: str
    hard: Mapping[str, str]
    used: Mapping[str, str]


@dataclass(frozen=True)
class Certificate:
    """The gateway's certificate, of the Secret `secret`."""

    secret: str
    ends_s: float
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Issued:
    """A Certificate of cert-manager."""

    name: str
    is_ready: bool
    message: str = ""


@dataclass(frozen=True)
class Facts:
    """All of one namespace; `unread` says what could not be read, and why."""

    namespace: str
    context: str
    now_s: float
    pods: tuple[Pod, ...] = ()
    workloads: tuple[Workload, ...] = ()
    nodes: tuple[Node, ...] = ()
    budgets: tuple[Budget, ...] = ()
    scalers: tuple[Scaler, ...] = ()
    scaled: tuple[Scaled, ...] = ()
    claims: tuple[Claim, ...] = ()
    quotas: tuple[Quota, ...] = ()
    certificate: Certificate | None = None
    issued: tuple[Issued, ...] = ()
    unread: tuple[str, ...] = ()
    last_lines: Mapping[tuple[str, str], str] = field(default_factory=dict)  # of the log, by pod and container

    @property
    def running(self) -> tuple[Pod, ...]:
        """The pods that count: not those that are over."""
        return tuple(pod for pod in self.pods if not pod.is_over)

    def of_workload(self, name: str) -> tuple[Pod, ...]:
        return tuple(pod for pod in self.running if pod.workload == name)

    def of_role(self, role: str) -> tuple[Pod, ...]:
        return tuple(pod for pod in self.running if pod.role == role)
