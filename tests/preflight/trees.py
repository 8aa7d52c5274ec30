"""Recorded /proc and /sys of hosts and containers, cut to what the readers look at."""

from collections.abc import Mapping
from pathlib import Path

Files = Mapping[str, str]
GIB = 1 << 30
NO_LIMIT_V1 = "9223372036854771712\n"
ID = "1b91d584cc04e0749df0bd4b8b9674259f3e9a125db77a94214788ff010ba04d"

STATUS = "Name:\tpython3\nCpus_allowed:\tff\nCpus_allowed_list:\t%s\n"
CPUINFO = "processor\t: 0\nmodel name\t: Some CPU @ 2.00GHz\nflags\t\t: fpu sse2 avx2 avx512f avx512_vnni\n\n"
HOST: Files = {
    "proc/meminfo": f"MemTotal:       {64 * GIB // 1024} kB\nMemFree:         1000 kB\n",
    "proc/cpuinfo": CPUINFO * 16,
    "proc/self/status": STATUS % "0-15",
    "proc/sys/kernel/osrelease": "6.1.0-18-amd64\n",
    "proc/self/limits": "Limit                     Soft Limit           Hard Limit           Units     \n"
    "Max open files            1024                 524288               files     \n",
    "sys/devices/system/cpu/online": "0-15\n",
    "sys/devices/system/node/online": "0-1\n",
    "proc/self/mountinfo": "27 1 254:1 / / rw,relatime - ext4 /dev/vda1 rw\n",
    "proc/self/cgroup": "",
}


def written(root: Path, *parts: Files) -> Path:
    """The host's files with those of `parts` in their place, as a tree at `root`."""
    for name, text in {name: text for part in (HOST, *parts) for name, text in part.items()}.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return root


def lines(*each: str) -> str:
    return "".join(f"{line}\n" for line in each)


OVERLAY = "72 48 0:39 / / rw,relatime master:2 - overlay overlay rw,lowerdir=/l,upperdir=/u,workdir=/w"
V2_MOUNT = "35 24 0:30 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate"
V1_MOUNTS = [
    f"{30 + number} 31 0:{30 + number} {{group}} /sys/fs/cgroup/{name} rw,relatime - cgroup cgroup rw,{name}"
    for number, name in enumerate(("cpu", "cpuacct", "cpuset", "memory", "pids"))
]
HYBRID_MOUNT = "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw"
DISK_MOUNT = "27 1 254:1 / / rw,relatime - ext4 /dev/vda1 rw"

# Cgroup v2: a login on a host of systemd, a container of Docker, a pod, and a container inside a container.
V2_LOGIN: Files = {
    "proc/self/cgroup": "0::/user.slice/user-1000.slice/session-3.scope\n",
    "proc/self/mountinfo": lines(DISK_MOUNT, V2_MOUNT),
    "sys/fs/cgroup/user.slice/memory.max": "max\n",
    "sys/fs/cgroup/user.slice/cpu.max": "max 100000\n",
    "sys/fs/cgroup/user.slice/user-1000.slice/memory.max": "max\n",
    "sys/fs/cgroup/user.slice/user-1000.slice/session-3.scope/memory.max": "max\n",
}
V2_CONTAINER: Files = {
    ".dockerenv": "",
    "proc/self/cgroup": "0::/\n",
    "proc/self/mountinfo": lines(OVERLAY, V2_MOUNT),
    "sys/fs/cgroup/memory.max": f"{2 * GIB}\n",
    "sys/fs/cgroup/memory.high": "max\n",
    "sys/fs/cgroup/cpu.max": "150000 100000\n",
}
V2_POD: Files = {
    "proc/self/cgroup": "0::/\n",
    "proc/1/cgroup": "0::/../../kubepods-burstable-pod12.slice/cri-containerd-34.scope\n",
    "proc/self/mountinfo": lines(OVERLAY, V2_MOUNT),
    "sys/fs/cgroup/memory.max": f"{4 * GIB}\n",
    "sys/fs/cgroup/memory.high": f"{3 * GIB}\n",  # the kubelet's MemoryQoS
    "sys/fs/cgroup/cpu.max": "400000 100000\n",
}
V2_NESTED: Files = {
    "proc/self/cgroup": "0::/machine.slice/outer/inner (deleted)\n",
    "proc/self/mountinfo": lines(DISK_MOUNT, V2_MOUNT),
    "sys/fs/cgroup/machine.slice/memory.max": "max\n",
    "sys/fs/cgroup/machine.slice/outer/memory.max": f"{2 * GIB}\n",
    "sys/fs/cgroup/machine.slice/outer/cpu.max": "50000 100000\n",
    "sys/fs/cgroup/machine.slice/outer/inner/memory.max": f"{8 * GIB}\n",
    "sys/fs/cgroup/machine.slice/outer/inner/cpu.max": "200000 100000\n",
}
# The process was moved to a group outside of its namespace.
V2_OUTSIDE: Files = {**V2_CONTAINER, "proc/self/cgroup": "0::/../other\n"}

# Cgroup v1: a container of Docker 20.10, recorded, with the host's namespace of groups and with its own.
V1_FILES: Files = {
    "sys/fs/cgroup/memory/memory.limit_in_bytes": f"{2 * GIB}\n",
    "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "150000\n",
    "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
}
V1_CONTAINER: Files = {
    ".dockerenv": "",
    "proc/self/cgroup": lines(
        f"9:name=systemd:/docker/{ID}", f"4:memory:/docker/{ID}", f"2:cpuacct:/docker/{ID}", f"1:cpu:/docker/{ID}"
    ),
    "proc/self/mountinfo": lines(OVERLAY, *(mount.format(group=f"/docker/{ID}") for mount in V1_MOUNTS)),
    **V1_FILES,
}
V1_PRIVATE: Files = {
    ".dockerenv": "",
    "proc/self/cgroup": lines("9:name=systemd:/", "4:memory:/", "1:cpu:/", "0::/"),
    "proc/self/mountinfo": lines(OVERLAY, *(mount.format(group="/") for mount in V1_MOUNTS)),
    **V1_FILES,
}
# A group that a program made inside the container, as a supervisor does.
V1_INSIDE: Files = {
    **V1_CONTAINER,
    "proc/self/cgroup": lines(f"4:memory:/docker/{ID}/worker", f"1:cpu:/docker/{ID}/worker"),
    "sys/fs/cgroup/memory/worker/memory.limit_in_bytes": f"{GIB}\n",
}
# RHEL 7 mounts cpu and cpuacct together, and a path of a mount may hold a blank.
V1_TOGETHER: Files = {
    "proc/self/cgroup": lines("4:cpuacct,cpu:/jobs/one", "2:memory:/jobs/one"),
    "proc/self/mountinfo": lines(
        DISK_MOUNT,
        r"31 25 0:26 / /sys/fs/cgroup/cpu\040and\040cpuacct rw - cgroup cgroup rw,cpuacct,cpu",
        "32 25 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory",
    ),
    "sys/fs/cgroup/cpu and cpuacct/jobs/cpu.cfs_quota_us": "300000\n",
    "sys/fs/cgroup/cpu and cpuacct/jobs/cpu.cfs_period_us": "100000\n",
    "sys/fs/cgroup/cpu and cpuacct/jobs/one/cpu.cfs_quota_us": "-1\n",
    "sys/fs/cgroup/cpu and cpuacct/jobs/one/cpu.cfs_period_us": "100000\n",
    "sys/fs/cgroup/memory/jobs/memory.limit_in_bytes": f"{2 * GIB}\n",
    "sys/fs/cgroup/memory/jobs/one/memory.limit_in_bytes": NO_LIMIT_V1,
}
# Both, recorded on a virtual machine: v1 has the controllers, v2 is there without any.
HYBRID: Files = {
    ".dockerenv": "",  # left over from the image that the machine was made of
    "proc/self/cgroup": lines("9:name=systemd:/", "4:memory:/process_api/ec89", "1:cpu:/", "0::/"),
    "proc/self/mountinfo": lines(DISK_MOUNT, *(mount.format(group="/") for mount in V1_MOUNTS), HYBRID_MOUNT),
    "sys/fs/cgroup/memory/memory.limit_in_bytes": NO_LIMIT_V1,
    "sys/fs/cgroup/memory/process_api/ec89/memory.limit_in_bytes": NO_LIMIT_V1,
    "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
    "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
}
HYBRID_LIMITED: Files = {
    **HYBRID,
    "sys/fs/cgroup/memory/process_api/memory.limit_in_bytes": f"{2 * GIB}\n",
    "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "250000\n",
}
