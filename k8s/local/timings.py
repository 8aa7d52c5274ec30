"""Times shorter than Kubernetes' defaults, so that tests of faults take seconds (docs/kubernetes-local.md has both)."""

from __future__ import annotations

# How long a node may be silent until it is NotReady, and how often that is looked at (defaults: 50 s, 5 s).
NODE_GRACE_S = 12
NODE_CHECK_S = 2
# How long a pod stays bound to a node that is NotReady or unreachable (default: 300 s).
TOLERATION_S = 15
# How often a kubelet tells that it lives: its status, and the duration of its lease (defaults: 10 s, 40 s).
NODE_STATUS_S = 4
NODE_LEASE_S = 8
# How long a full disk must have room again until the node takes pods again (default: 300 s).
PRESSURE_ENDS_S = 30
# How often scaling is decided, and how long a smaller size must be wanted (defaults: 15 s, 300 s).
SCALING_S = 5
SCALE_DOWN_S = 30
