"""The checks of the machine itself: one small function each, without a look at the profile's name."""

from __future__ import annotations

from ai102.preflight.finding import GB, MB, Finding, both_gigabytes, dotted, gigabytes, megabytes, plain, version
from ai102.preflight.machine import Machine
from ai102.preflight.profiles import Wanted


def cores(machine: Machine, wanted: Wanted) -> Finding:
    processor = machine.processor
    found = plain(processor.usable)
    if processor.usable < processor.cores:
        reason = "quota of its control group" if processor.quota == processor.usable else "cpuset"
        found += f" of {processor.cores} ({reason})"
    limited = processor.cores >= wanted.cores
    advice = (
        f"let it use {wanted.cores}: docker run --cpus {wanted.cores}, limits.cpu of a pod, CPUQuota= of systemd"
        if limited
        else f"use a machine with {wanted.cores} cores; with fewer, the same runs more slowly"
    )
    return Finding(found, f"at least {wanted.cores}", processor.usable >= wanted.cores, advice)


def memory(machine: Machine, wanted: Wanted) -> Finding:
    memory, least = machine.memory, wanted.memory_gb * GB
    found = both_gigabytes(memory.usable_bytes)
    if memory.usable_bytes < memory.total_bytes:
        found += f", limit of its control group; the machine has {gigabytes(memory.total_bytes)}"
    advice = (
        f"raise the limit: docker run --memory {wanted.memory_gb}g, limits.memory of a pod, MemoryMax= of systemd"
        if memory.total_bytes >= least
        else f"use a machine with {wanted.memory_gb} GB"
    )
    return Finding(found, f"at least {wanted.memory_gb} GB", memory.usable_bytes >= least, advice)


def avx2(machine: Machine, wanted: Wanted) -> Finding:
    name = machine.processor.name or machine.processor.architecture
    if machine.processor.architecture != "x86_64":
        advice = "use an x86-64 machine: tritonserver from pip is built for that alone"
        return Finding(machine.processor.architecture, "x86-64 with AVX2", False, advice)
    has_it = "avx2" in machine.processor.instruction_sets
    advice = "use a processor from 2015 or later; in a virtual machine, let it see the host's (cpu mode host)"
    return Finding(f"{'yes' if has_it else 'missing'} ({name})", "yes", has_it, advice)


def vnni(machine: Machine, wanted: Wanted) -> Finding:
    names = [name for name in machine.processor.instruction_sets if "vnni" in name or name in ("amx_int8", "asimddp")]
    advice = "INT8 networks then gain little; search recipes for this machine: ai102 quantize NET --search"
    return Finding(" ".join(names) or "missing", "yes, INT8 gains its speed there", bool(names), advice)


def kernel(machine: Machine, wanted: Wanted) -> Finding:
    least = dotted(wanted.kernel)
    is_met = version(machine.kernel) >= wanted.kernel
    return Finding(
        machine.kernel or "unknown", f"at least {least}", is_met, f"use a system with Linux {least} or later"
    )


def shared_memory(machine: Machine, wanted: Wanted) -> Finding:
    size, least = machine.memory.shared_bytes, wanted.shared_memory_mb * MB
    found = "no /dev/shm" if size is None else megabytes(size)
    place = (
        f"docker run --shm-size {wanted.shared_memory_mb}m, shm_size in Compose, "
        "an emptyDir of medium Memory at /dev/shm of a pod"
        if machine.is_container
        else f"mount -o remount,size={wanted.shared_memory_mb}m /dev/shm"
    )
    return Finding(found, f"at least {wanted.shared_memory_mb:,} MB", (size or 0) >= least, f"enlarge it: {place}")


def open_files(machine: Machine, wanted: Wanted) -> Finding:
    soft, hard = machine.open_files.soft, machine.open_files.hard
    found = f"{soft:,}" if soft == hard else f"{soft:,} (may be raised to {hard:,})"
    if machine.is_container:
        advice = f"docker run --ulimit nofile={wanted.open_files}, ulimits in Compose"
    elif hard >= wanted.open_files:
        advice = f"ulimit -n {wanted.open_files} in the shell that starts it, LimitNOFILE= of systemd"
    else:
        advice = f"as root: nofile {wanted.open_files} in /etc/security/limits.conf, LimitNOFILE= of systemd"
    return Finding(found, f"at least {wanted.open_files:,}", soft >= wanted.open_files, advice)


def disk_space(machine: Machine, wanted: Wanted) -> Finding:
    free = machine.disk.free_bytes
    advice = "free some, or name the folder of another disk with --folder"
    found = f"{gigabytes(free)} free in {machine.disk.folder}"
    return Finding(found, f"at least {wanted.disk_gb} GB", free >= wanted.disk_gb * GB, advice)


def disk_speed(machine: Machine, wanted: Wanted) -> Finding:
    disk, speed = machine.disk, machine.disk.speed
    least = f"at least {wanted.write_mb_s} MB/s written, {wanted.read_mb_s} read"
    if speed is None:
        return Finding(f"not measured: {disk.trouble}", least, False, "name a folder that can be written with --folder")
    kind = f" ({disk.kind})" if disk.kind else ""
    cached = "" if speed.is_direct else ", through the system's cache"
    found = f"{speed.write_mb_s:,.0f} MB/s written, {speed.read_mb_s:,.0f} read{kind}{cached}"
    is_met = speed.write_mb_s >= wanted.write_mb_s and speed.read_mb_s >= wanted.read_mb_s
    return Finding(
        found, least, is_met, "use an NVMe disk, or a volume with more throughput; see that nothing else uses it"
    )


def disk_sync(machine: Machine, wanted: Wanted) -> Finding:
    least = f"within {wanted.sync_ms} ms"
    if machine.disk.speed is None:
        return Finding("not measured", least, False, "see disk speed")
    sync_ms = machine.disk.speed.sync_ms
    advice = "databases and queues wait for each sync: put them on another disk"
    return Finding(f"99 in 100 within {sync_ms:.1f} ms", least, sync_ms <= wanted.sync_ms, advice)
