"""Each check, with machines that just pass and just fail; the profile says what a failure means."""

from dataclasses import replace

import pytest

from ai102.preflight.finding import version
from ai102.preflight.machine import Docker, Gpu, Gpus, Kubernetes, Machine, Memory, Speed
from ai102.preflight.profiles import PROFILES, Profile
from ai102.preflight.run import CHECKS, Line, Verdict, is_fit, judged
from tests.preflight.machines import FIT, GIB, NO_GPUS, machine

EIGHT = tuple(range(8))
NO_DOCKER = Docker(None, None, None, False, "no docker on PATH")
NO_CLUSTER = Kubernetes("v1.36.1", None, "the server refused")
TESLA, GEFORCE = (Gpu(0, name, "7.5", 16 * GIB, 0) for name in ("Tesla T4", "NVIDIA GeForce RTX 2080"))

# (check, profile, machine, verdict, what its line says)
ROWS: list[tuple[str, Profile, Machine, Verdict, str]] = [
    ("cores", "production", machine("processor", cores=8, allowed=EIGHT), "ok", "8, wanted at least 8"),
    ("cores", "production", machine("processor", cores=7, allowed=EIGHT[:7]), "unfit", "use a machine with 8 cores"),
    ("cores", "dev", machine("processor", cores=4, allowed=EIGHT[:4]), "ok", "4, wanted at least 4"),
    ("cores", "dev", machine("processor", cores=2, allowed=(0, 1)), "unfit", "2, wanted at least 4"),
    ("cores", "dev", machine("processor", quota=1.5), "unfit", "1.5 of 16 (quota of its control group), wanted"),
    ("cores", "dev", machine("processor", allowed=(0, 1)), "unfit", "2 of 16 (cpuset), wanted"),
    ("cores", "production", machine("processor", quota=7.99), "unfit", "let it use 8: docker run --cpus 8"),
    # A machine that is sold with 32 GB: the kernel keeps some, and `free -g` says 31.
    ("memory", "production", machine("memory", total_bytes=int(31.4 * GIB)), "ok", "33.7 GB (31.4 GiB), wanted"),
    ("memory", "production", machine("memory", total_bytes=int(30.5 * GIB)), "ok", "32.7 GB (30.5 GiB), wanted"),
    ("memory", "production", machine("memory", total_bytes=24 * GIB), "unfit", "use a machine with 32 GB"),
    ("memory", "dev", machine("memory", total_bytes=int(15.4 * GIB)), "ok", "16.5 GB (15.4 GiB), wanted"),
    ("memory", "dev", machine("memory", limit_bytes=2 * GIB), "unfit",
     "2.1 GB (2.0 GiB), limit of its control group; the machine has 68.7 GB, wanted at least 16 GB: raise the limit"),
    ("AVX2", "production", machine("processor", instruction_sets=()), "unfit", "missing (Some CPU)"),
    ("AVX2", "dev", machine("processor", instruction_sets=()), "note", "missing (Some CPU)"),
    ("AVX2", "production", machine("processor", architecture="aarch64"), "unfit", "use an x86-64 machine"),
    ("VNNI", "production", machine("processor", instruction_sets=("avx2",)), "note", "INT8 networks then gain little"),
    ("VNNI", "production", machine("processor", instruction_sets=("avx2", "avx_vnni")), "ok", "avx_vnni"),
    ("kernel", "production", machine("machine", kernel="5.8.0"), "ok", "5.8.0, wanted at least 5.8"),
    ("kernel", "production", machine("machine", kernel="5.4.0-150-generic"), "unfit", "Linux 5.8 or later"),
    ("kernel", "dev", machine("machine", kernel="5.4.0-150-generic"), "ok", "wanted at least 4.18"),
    ("kernel", "dev", machine("machine", kernel=""), "unfit", "unknown"),
    ("shared memory", "dev", machine("memory", shared_bytes=64 << 20), "unfit", "64 MB, wanted at least 256 MB"),
    ("shared memory", "dev", machine("memory", shared_bytes=None), "unfit", "no /dev/shm"),
    ("shared memory", "production", machine("memory", shared_bytes=1 << 30), "ok", "wanted at least 1,024 MB"),
    ("shared memory", "production", replace(machine("memory", shared_bytes=64 << 20), is_container=True), "unfit",
     "docker run --shm-size 1024m"),
    ("open files", "production", machine("open_files", soft=1024), "unfit",
     "1,024 (may be raised to 1,048,576), wanted at least 65,536: ulimit -n 65536"),
    ("open files", "production", machine("open_files", soft=1024, hard=4096), "unfit", "/etc/security/limits.conf"),
    ("open files", "production", replace(machine("open_files", soft=1024), is_container=True), "unfit",
     "docker run --ulimit nofile=65536"),
    ("open files", "dev", machine("open_files", soft=512), "note", "wanted at least 1,024"),
    ("disk space", "dev", machine("disk", free_bytes=9 * 10**9), "unfit", "9.0 GB free in /srv, wanted at least 10 GB"),
    ("disk speed", "production", machine("disk", speed=Speed(150, 160, 8, True), kind="hard disk"), "unfit",
     "150 MB/s written, 160 read (hard disk), wanted at least 300 MB/s written, 600 read: use an NVMe disk"),
    ("disk speed", "dev", machine("disk", speed=Speed(150, 160, 8, True)), "ok", "wanted at least 100 MB/s"),
    ("disk speed", "dev", machine("disk", speed=Speed(50, 9000, 8, False)), "note", "through the system's cache"),
    ("disk speed", "production", machine("disk", speed=None, trouble="Read-only file system"), "unfit",
     "not measured: Read-only file system"),
    ("disk sync", "production", machine("disk", speed=Speed(500, 900, 25, True)), "note", "within 25.0 ms, wanted"),
    ("container engine", "production", machine("machine", docker=NO_DOCKER), "ok", "Kubernetes v1.36.3"),
    ("container engine", "production", machine("machine", docker=NO_DOCKER, kubernetes=NO_CLUSTER), "unfit",
     "none answers"),
    ("container engine", "dev", machine("machine", docker=NO_DOCKER, kubernetes=NO_CLUSTER), "note", "none answers"),
    ("container engine", "production",
     machine("machine", docker=NO_DOCKER, kubernetes=NO_CLUSTER, is_container=True), "ok", "this is a container"),
    ("Docker", "production", machine("docker", client="20.10.24+dfsg1", server="20.10.24+dfsg1"), "ok", "20.10.24"),
    ("Docker", "production", machine("docker", server="19.03.15"), "note", "install a later Docker Engine"),
    ("Docker", "dev", machine("machine", docker=NO_DOCKER), "note", "no docker on PATH"),
    ("Docker", "dev", machine("docker", server=None, trouble="permission denied"), "note", "join the group docker"),
    ("Compose", "dev", machine("docker", compose="2.3.3"), "note", "2.3.3, wanted at least 2.20"),
    ("Compose", "dev", machine("docker", compose=None), "note", "missing"),
    ("Kubernetes", "production", machine("kubernetes", server="v1.34.1", client="v1.34.1"), "note", "ImageVolume"),
    ("Kubernetes", "production", machine("kubernetes", client="v1.32.4"), "note", "differ by one minor version"),
    ("Kubernetes", "dev", machine("machine", kubernetes=NO_CLUSTER), "note", "server: the server refused"),
    ("NVIDIA driver", "dev", machine("machine", gpus=NO_GPUS), "ok", "no nvidia-smi on PATH, wanted nothing"),
    ("NVIDIA driver", "gpu", machine("machine", gpus=NO_GPUS), "unfit", "at least 560 for Triton 2.51"),
    ("NVIDIA driver", "gpu", machine("gpus", driver="550.54.15"), "unfit", "install driver 560 or later"),
    ("NVIDIA driver", "gpu", machine("gpus", driver="535.183.01", gpus=(TESLA,)), "ok", "535.183.01"),
    ("NVIDIA driver", "gpu", machine("gpus", driver="535.54.03", gpus=(TESLA,)), "unfit", "535.54.03"),
    ("NVIDIA driver", "gpu", machine("gpus", driver="535.183.01", gpus=(GEFORCE,)), "unfit", "535.183.01"),
    ("NVIDIA driver", "gpu", machine("gpus", driver="[N/A]"), "unfit", "[N/A]"),
    ("GPU memory", "dev", machine("machine", gpus=NO_GPUS), "ok", "no GPU, wanted nothing"),
    ("GPU memory", "gpu", machine("machine", gpus=NO_GPUS), "unfit", "no GPU, wanted at least 8 GB each"),
    ("GPU memory", "gpu", machine("gpus", gpus=(Gpu(0, "NVIDIA T1000", "7.5", 4 << 30, 3 << 30),)), "unfit",
     "0: NVIDIA T1000 7.5, 4.3 GB, 3.2 GB in use"),
    ("GPU memory", "gpu", machine("gpus", gpus=(Gpu(0, "NVIDIA Thor", "11.0", None, None),)), "ok",
     "memory of the machine"),
    ("GPU in containers", "gpu", machine("docker", runs_gpus=False), "unfit", "nvidia-container-toolkit"),
    ("GPU in containers", "gpu", machine("machine", docker=NO_DOCKER), "ok", "no Docker here to ask"),
    ("GPU in containers", "dev", machine("docker", runs_gpus=False), "ok", "wanted nothing"),
]  # fmt: skip


def line_of(name: str, machine: Machine, profile: Profile) -> Line:
    return next(line for line in judged(machine, PROFILES[profile], None) if line.name == name)


@pytest.mark.parametrize(
    ("name", "profile", "found", "verdict", "words"),
    ROWS,
    ids=[f"{number} {row[0]} {row[1]} {row[3]}" for number, row in enumerate(ROWS)],
)
def test_a_check_says_what_was_found_what_is_wanted_and_what_to_do(
    name: str, profile: Profile, found: Machine, verdict: Verdict, words: str
) -> None:
    line = line_of(name, found, profile)
    whole = ": ".join([f"{line.found}, wanted {line.wanted}", *([line.advice] if line.advice else [])])
    assert (line.verdict, words in whole) == (verdict, True), whole
    assert (line.advice != "") == (verdict != "ok")


@pytest.mark.parametrize("profile", PROFILES)
def test_a_machine_with_everything_is_fit_without_a_note(profile: Profile) -> None:
    lines = judged(FIT, PROFILES[profile], None)
    assert ([line for line in lines if line.verdict != "ok"], is_fit(lines)) == ([], True)


def test_every_check_of_the_machine_has_a_row_that_fails() -> None:
    of_the_machine = {line.name for line in judged(FIT, PROFILES["gpu"], None)}
    assert of_the_machine == {name for name, _, _, verdict, _ in ROWS if verdict != "ok"}


@pytest.mark.parametrize("profile", PROFILES)
def test_what_a_profile_requires_is_checked(profile: Profile) -> None:
    assert PROFILES[profile].required - set(CHECKS) == set()


def test_a_machine_is_unfit_by_what_is_required_alone() -> None:
    slow = machine("disk", speed=Speed(50, 60, 100, True))
    assert (is_fit(judged(slow, PROFILES["dev"], None)), is_fit(judged(slow, PROFILES["production"], None))) == (
        True,
        False,
    )


def test_a_small_container_on_a_large_host_is_unfit() -> None:
    small = replace(FIT, memory=Memory(64 * GIB, 2 * GIB, 64 << 20), is_container=True)
    unfit = [line.name for line in judged(small, PROFILES["dev"], None) if line.verdict == "unfit"]
    assert unfit == ["memory", "shared memory"]


def test_another_version_of_triton_has_another_driver() -> None:
    from ai102.preflight.gpu import driver

    old = replace(FIT, gpus=Gpus("470.57.02", (), ""))
    found = driver(old, PROFILES["gpu"], "2.60")
    assert (found.is_met, found.wanted) == (True, "what NVIDIA's release notes of Triton 2.60 ask for")


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("20.10.24+dfsg1", (20, 10, 24)), ("v1.32.4-dispatcher", (1, 32, 4)), ("6.18.44-fc", (6, 18, 44)), ("[N/A]", ())],
)
def test_a_version_is_its_leading_numbers(text: str, numbers: tuple[int, ...]) -> None:
    assert version(text) == numbers
