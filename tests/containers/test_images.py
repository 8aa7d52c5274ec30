"""The images as they are built: what is in them and what is not, their size, and that they serve when locked down."""

import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ai102.compose.stack import COMPILED_MODELS
from ai102.compose.volumes import fill_models_volume, make_state_volume
from ai102.images.docker import Docker
from ai102.images.dockerfiles import GPU, RECIPES, build, build_command
from ai102.images.layout import Image
from ai102.images.sbom import packages_of_image
from loadtest.engine_start import models_on_openvino
from tests.containers.conftest import NETWORK, REPOSITORY, ROOT, inspected, note, wait_until

MB = 1_000_000
LARGEST_MB = {"server": 550, "gateway": 250, "gateway-nginx": 250, "api": 350, "quality-gate": 350}
# As compose.yaml runs every service.
LOCKED = ["--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges:true", "--user", "1000:1000"]
NOEXEC_TMP = ["--tmpfs", "/tmp:rw,noexec,nosuid,size=64m"]
FORBIDDEN = ("gcc", "cc", "g++", "make", "pip", "pip3", "ld", "as", "pytest", "curl", "wget")


@contextmanager
def running(docker: Docker, image: str, *options: str, command: tuple[str, ...] = ()) -> Iterator[str]:
    container = docker.run("run", "--detach", *options, image, *command)
    try:
        yield container
    finally:
        docker.run("rm", "--force", container)


def health(docker: Docker, container: str) -> str:
    return str(inspected(docker, container)["State"]["Health"]["Status"])


@pytest.fixture(scope="module")
def models_volume(docker: Docker, images: dict[str, str], models: Image) -> str:
    return fill_models_volume(docker, models.reference, images["server"])[0]


@pytest.mark.parametrize("name", RECIPES)
def test_an_image_is_no_larger_than_it_may_be(docker: Docker, images: dict[str, str], name: str) -> None:
    size_mb = inspected(docker, images[name])["Size"] / MB
    note(f"{name}: {size_mb:.0f} MB unpacked")
    assert size_mb <= LARGEST_MB[name]


@pytest.mark.parametrize("name", RECIPES)
def test_an_image_runs_as_no_root_and_says_what_it_is(docker: Docker, images: dict[str, str], name: str) -> None:
    config = inspected(docker, images[name])["Config"]
    labels = {key: config["Labels"][f"org.opencontainers.image.{key}"] for key in ("version", "revision", "source")}
    assert config["User"] == "1000:1000"
    assert all(labels.values())
    assert labels["version"] == images[name].rpartition(":")[2]


@pytest.mark.parametrize("name", RECIPES)
def test_an_image_has_no_compiler_no_pip_and_no_tests(docker: Docker, images: dict[str, str], name: str) -> None:
    script = (
        f'for p in {" ".join(FORBIDDEN)}; do command -v "$p"; done; '
        "find /opt /srv \\( -name tests -o -name include -o -name pip \\) -type d; "
        "true"
    )
    output = docker.run("run", "--rm", "--network", "none", "--entrypoint", "sh", images[name], "-c", script)
    assert output.splitlines() == []


def test_the_server_answers_inferences_with_a_read_only_root_a_noexec_tmp_and_no_capability(
    docker: Docker, images: dict[str, str], models_volume: str
) -> None:
    volume = ["--volume", f"{models_volume}:/models:ro", "--network", "none"]
    with running(docker, images["server"], *LOCKED, *NOEXEC_TMP, *volume) as container:
        wait_until(lambda: health(docker, container) == "healthy", "the server is healthy", 60)


@pytest.mark.parametrize("name", RECIPES)
def test_no_python_module_of_an_image_is_compiled_when_a_process_starts(
    docker: Docker, images: dict[str, str], name: str
) -> None:
    modules = {
        "server": "ai102_runtime.health, ai102_runtime.openvino.engine, onnxruntime, PIL.Image, tokenizers",
        "quality-gate": "ai102.cli.main, ai102.judging.serve, tritonclient.grpc",
    }.get(name, "ai102.cli.main, httpx")
    command = f'python3 -v -c "import asyncio, json, sqlite3, {modules}" 2>&1'
    text = docker.run("run", "--rm", "--network", "none", "--entrypoint", "sh", images[name], "-c", command)
    loaded = re.findall(r"^# code object from '(.+)'$", text, re.M)
    assert any(path.endswith("/json/__pycache__/__init__.cpython-311.pyc") for path in loaded)
    assert [path for path in loaded if path.endswith(".py")] == []


def test_compiled_models_stay_in_a_volume_for_the_next_container(
    docker: Docker, images: dict[str, str], models_volume: str
) -> None:
    if not models_on_openvino(REPOSITORY):
        pytest.skip("the build chose OpenVINO for no model on this kind of CPU")
    name, place = f"ai102-test-compiled-{os.getpid()}", COMPILED_MODELS[1]
    make_state_volume(docker, name, place, images["server"], 1000, 1000)
    volumes = ["--volume", f"{models_volume}:/models:ro", "--volume", f"{name}:{place}", "--network", "none"]
    try:
        (first_s, first), (second_s, second) = (
            start_with_compiled_models(docker, images["server"], *LOCKED, *NOEXEC_TMP, *volumes) for _ in range(2)
        )
    finally:
        docker.run("volume", "rm", name)
    note(f"the server is ready after {first_s:.1f} s, with compiled models after {second_s:.1f} s")
    assert first == second != []


def start_with_compiled_models(docker: Docker, image: str, *options: str) -> tuple[float, list[str]]:
    """Seconds until all models are ready, and the compiled models that are kept then."""
    with running(docker, image, *options) as container:
        began = time.monotonic()
        wait_until(lambda: is_ready(docker, container), "all models are ready", 120)
        return time.monotonic() - began, docker.run(
            "exec", container, "ls", f"{COMPILED_MODELS[1]}/ai102/openvino"
        ).split()


def is_ready(docker: Docker, container: str) -> bool:
    return docker.succeeds("exec", container, "python3", "-m", "ai102_runtime.health", "models", "/models")


def test_configs_that_lack_nothing_are_taken_as_they_are(
    docker: Docker, images: dict[str, str], models_volume: str
) -> None:
    options = (*LOCKED, *NOEXEC_TMP, "--network", "none", "--volume", f"{models_volume}:/models:ro")
    with running(docker, images["server"], *options) as container:
        wait_until(lambda: "--disable-auto-complete-config" in command_of(docker, container), "tritonserver runs", 10)


def command_of(docker: Docker, container: str) -> list[str]:
    """The command line of the container's first process."""
    return docker.run("exec", container, "cat", "/proc/1/cmdline").split("\0")


def test_the_server_is_unhealthy_when_the_process_of_one_model_is_dead(
    docker: Docker, images: dict[str, str], models_volume: str
) -> None:
    """Triton calls a model ready whose process is dead: only an inference shows it."""
    volume = ["--volume", f"{models_volume}:/models:ro", "--network", "none"]
    check = ("--health-interval", "1s", "--health-retries", "1")
    with running(docker, images["server"], *LOCKED, *NOEXEC_TMP, *volume, *check) as container:
        wait_until(lambda: health(docker, container) == "healthy", "the server is healthy", 60)
        stub = _pid_of(docker, container, "triton_python_backend_stub /models/minilm_int8")
        subprocess.run(["kill", "-STOP", stub], check=True)
        wait_until(lambda: health(docker, container) == "unhealthy", "the stopped process is seen", 60)


def test_the_admin_apis_of_the_server_are_shut_where_no_secret_is_given(
    docker: Docker, images: dict[str, str], models_volume: str
) -> None:
    volume = ["--volume", f"{models_volume}:/models:ro", "--network", "none"]
    with running(docker, images["server"], *LOCKED, *NOEXEC_TMP, *volume) as container:
        wait_until(lambda: health(docker, container) == "healthy", "the server is healthy", 60)
        code = (
            "import urllib.request as u\n"
            "try: print(u.urlopen(u.Request('http://127.0.0.1:8000/v2/repository/index', b'{}')).status)\n"
            "except Exception as err: print(err)"
        )
        assert "403" in docker.run("exec", container, "python3", "-c", code)


def test_a_change_of_our_code_is_rebuilt_and_the_time_noted(
    docker: Docker, images: dict[str, str], base: str, tmp_path: Path
) -> None:
    copy = _copy_of_context(tmp_path)
    with (copy / "tools" / "ai102_runtime" / "health" / "command.py").open("a") as file:
        file.write(f"# changed at {time.time()}\n")
    began = time.monotonic()
    build(docker, copy, RECIPES["server"], base, NETWORK)
    seconds = time.monotonic() - began
    note(f"server rebuilt after a change of our code: {seconds:.1f} s")
    build(docker, ROOT, RECIPES["server"], base, NETWORK)


def test_a_change_of_models_toml_changes_no_image_that_docker_builds(
    docker: Docker, images: dict[str, str], base: str, tmp_path: Path
) -> None:
    copy = _copy_of_context(tmp_path)
    first = {name: docker.image_id(build(docker, copy, RECIPES[name], base, NETWORK)) for name in RECIPES}
    (copy / "models.toml").write_text("# another contract\n")
    second = {name: docker.image_id(build(docker, copy, RECIPES[name], base, NETWORK)) for name in RECIPES}
    for recipe in RECIPES.values():
        build(docker, ROOT, recipe, base, NETWORK)
    assert first == second


def test_the_steps_of_the_gpu_image_run_on_a_stand_in_for_nvidias(docker: Docker, base: str, tmp_path: Path) -> None:
    """NVIDIA's image cannot be pulled here: the stand-in has Debian's Python and pip, and NVIDIA's commands."""
    stand_in = "ai102/test-stand-in:latest"
    (tmp_path / "Dockerfile").write_text(
        f"FROM {base or 'debian:bookworm-slim'}\n"
        "RUN apt-get update && apt-get install -y --no-install-recommends python3-numpy python3-pip "
        "&& mkdir -p /opt/nvidia && printf '#!/bin/sh\\nexec \"$@\"\\n' >/opt/nvidia/nvidia_entrypoint.sh "
        "&& printf '#!/bin/sh\\necho tritonserver \"$@\"\\n' >/usr/local/bin/tritonserver "
        "&& chmod +x /opt/nvidia/nvidia_entrypoint.sh /usr/local/bin/tritonserver\n"
        "ENV PIP_BREAK_SYSTEM_PACKAGES=1\n"
    )
    docker.show("build", "--network", NETWORK, "--tag", stand_in, str(tmp_path))
    reference = "ai102/test-server-gpu:latest"
    arguments = {"VERSION": "1", "REVISION": "2", "SOURCE": "3"}
    docker.show(*build_command(ROOT, GPU, reference, stand_in, NETWORK, arguments, os.environ))
    try:
        started = docker.run("run", "--rm", "--network", "none", *LOCKED, reference, "--log-verbose=1")
        imports = (
            "import ai102_runtime.health.command, onnxruntime, tokenizers, PIL, cryptography, numpy; print('imported')"
        )
        python = ["run", "--rm", "--network", "none", *LOCKED, "--entrypoint", "python3", reference, "-c", imports]
        assert started.startswith("tritonserver --model-repository=/models")
        assert started.endswith("--log-verbose=1")
        assert docker.run(*python) == "imported"
    finally:
        docker.run("rmi", reference, stand_in)


def test_the_quality_gate_has_its_samples_and_answers_with_a_read_only_root(
    docker: Docker, images: dict[str, str]
) -> None:
    """It reads the samples of every network before it listens."""
    contract = ["--volume", f"{ROOT / 'models.toml'}:/srv/models.toml:ro", "--network", "none"]
    command = ("--serve=0.0.0.0:8095", "--canary=grpc://127.0.0.1:1", "--primary=grpc://127.0.0.1:2")
    with running(docker, images["quality-gate"], *LOCKED, *NOEXEC_TMP, *contract, command=command) as container:
        wait_until(lambda: health(docker, container) == "healthy", "the gate answers", 60)


@pytest.mark.parametrize(
    ("name", "packages"),
    [
        ("server", {"nvidia-pytriton", "onnxruntime", "openvino", "ai102-runtime", "libtcmalloc-minimal4"}),
        ("gateway", {"haproxy", "lua-cjson", "ai102", "httpx"}),
        ("gateway-nginx", {"nginx-light", "libnginx-mod-http-lua", "ai102"}),
        ("api", {"fastapi", "starlette", "argon2-cffi", "tritonclient", "libssl3"}),
        ("quality-gate", {"numpy", "pillow", "starlette", "tritonclient"}),
    ],
)
def test_the_bill_of_materials_names_what_an_image_is_for(
    docker: Docker, images: dict[str, str], name: str, packages: set[str]
) -> None:
    names = {package.name.replace("_", "-") for package in packages_of_image(docker, images[name])}
    assert packages - names == set()


def _copy_of_context(tmp_path: Path) -> Path:
    copy = tmp_path / "copy"
    for name in ("docker", "tools", "calibration/sets", "calibration/data"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in (".dockerignore", "LICENSE", "README.md", "constraints.txt", "pyproject.toml", "models.toml"):
        shutil.copy2(ROOT / name, copy / name)
    return copy


def _pid_of(docker: Docker, container: str, start: str) -> str:
    """The id, on this host, of the container's first process whose command begins so."""
    program, _, argument = start.partition(" ")
    processes = docker.run("top", container, "-ww", "-eo", "pid,args")
    for line in processes.splitlines()[1:]:
        pid, _, command = line.strip().partition(" ")
        if program in command and argument in command:
            return pid
    raise AssertionError(f"no process {start} in {container}:\n{processes}")
