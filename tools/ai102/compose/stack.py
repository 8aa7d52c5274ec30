"""The running stack: prepare what compose.yaml names, start it, ask inside it, stop it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ai102 import contract
from ai102.artifact import write_text
from ai102.compose import dapr, secrets, volumes
from ai102.compose.eyes import eyes_for
from ai102.compose.policy import policy_for_stack
from ai102.compose.program import compose_command
from ai102.compose.settings import PROJECT, Settings, subnet_from, user_ids, write_settings
from ai102.errors import UserError
from ai102.gateway import policy as gateway_policy
from ai102.images.docker import Docker
from ai102.images.dockerfiles import RECIPES, reference_of
from ai102.images.labels import version_of
from ai102.serve.container import compose_values

POLICY = Path("build/compose/gateway.toml")
# Node exporter's textfile folder.
FACTS = Path("build/compose/facts")
# Of a replica's /dev/shm, where models.toml does not say.
SHM_SIZE = "256m"
# State that outlives containers: the volume's name after the project's, and its place in the image.
GATEWAY_STATE, ISSUER_STATE = ("gateway", "/srv/build/gateway"), ("issuer", "/srv/build/auth")
JOBS = ("jobs", "/srv/build/jobs")
COMPILED_MODELS = ("compiled", "/var/cache/triton")


@dataclass(frozen=True)
class Stack:
    """The stack of the repository in `root`; `say` gets a line for each thing that is done."""

    docker: Docker
    root: Path
    say: Callable[[str], None]

    @cached_property
    def _compose(self) -> list[str]:
        return compose_command(self.docker, os.environ)

    def prepare(
        self,
        models_image: str,
        gateway: str = "gateway",
        names: tuple[str, ...] = (),
        *,
        with_eyes: bool = False,
        with_dapr: bool = False,
    ) -> Settings:
        """Make secrets, volumes, the gateway's policy and .env; what is there already stays.

        `gateway` is the image of the gateway, `names` are further host names for its certificate, `with_eyes` is for
        the profile of that name, `with_dapr` for jobs in PostgreSQL and Redis behind Dapr.
        """
        version = version_of(self.root)
        uid, gid = user_ids(os.getuid(), os.getgid())
        if new := secrets.make_secrets(self.root, uid, gid, names):
            self.say(f"secrets: made {', '.join(new)} in {secrets.FOLDER}")
        helper = reference_of(RECIPES["server"], version)
        volume, is_filled_now = volumes.fill_models_volume(self.docker, models_image, helper)
        self.say(f"models: {models_image} in volume {volume}{' (filled now)' if is_filled_now else ''}")
        project = os.environ.get("COMPOSE_PROJECT_NAME", PROJECT)
        states = [(GATEWAY_STATE, gateway), (ISSUER_STATE, "api"), (JOBS, "api"), (COMPILED_MODELS, "server")]
        owners = [(*state, uid, gid) for state in states]
        owners += [(state, "api", dapr.STATE_UID, dapr.STATE_UID) for state in dapr.STATES if with_dapr]
        for (kind, path), image, owner, group in owners:
            name = f"{project}-{kind}"
            volumes.make_state_volume(self.docker, name, path, reference_of(RECIPES[image], version), owner, group)
        (self.root / FACTS).mkdir(parents=True, exist_ok=True)
        subnet, cpus = subnet_from(dict(os.environ)), os.cpu_count() or 1
        settings = Settings(
            version,
            volume,
            subnet,
            uid,
            gid,
            cpus,
            gateway,
            compose_values(contract.load(self.root / "models.toml"), SHM_SIZE),
            self.docker.run("info", "--format", "{{.DockerRootDir}}"),
            eyes_for(self.docker, self.root, self.say) if with_eyes else None,
            dapr.dapr_for(self.docker, self.root, self.say) if with_dapr else None,
        )
        text = policy_for_stack((self.root / "gateway.toml").read_text(encoding="utf-8"), settings)
        (self.root / POLICY).parent.mkdir(parents=True, exist_ok=True)
        write_text(self.root / POLICY, text)
        (self.root / POLICY).chmod(0o644)  # no secret: the programs in the containers are another user
        gateway_policy.load(self.root / POLICY)
        write_settings(self.root, settings)
        return settings

    def up(self) -> None:
        """Start what is not running as it should; returns before it answers."""
        self.compose("up", "--detach", "--remove-orphans")

    def down(self) -> None:
        """Stop and remove the containers and networks; secrets, users, keys and models stay."""
        self.compose("down", "--remove-orphans")

    def compose(self, *arguments: str) -> None:
        """Run Compose in the repository, its output shown; UserError when it fails."""
        command = [*self._compose, *arguments]
        if subprocess.run(command, cwd=self.root, check=False).returncode:
            raise UserError(
                f"{' '.join(command)} failed: its own words are above; `docker compose logs` has the services'"
            )

    def asked(self, service: str, *arguments: str, text: str = "") -> str:
        """What a command in a running service prints; UserError when it fails."""
        command = [*self._compose, "exec", "-T", service, *arguments]
        done = subprocess.run(command, cwd=self.root, input=text, capture_output=True, text=True, check=False)
        if done.returncode:
            lines = done.stderr.strip().splitlines()
            raise UserError(f"{service}: {' '.join(arguments)} failed: {lines[-1] if lines else 'it does not say why'}")
        return done.stdout.strip()
