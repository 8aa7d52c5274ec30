"""gateway.toml, read once: listeners, replicas, issuers, limits, roles and grants, or one line for each mistake."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, field_validator, model_validator

from ai102.contract.mistakes import table_from_file
from ai102.contract.table import Positive, Table, checked_networks
from ai102.gateway.discovery import Address, Triton, Word, refuse_doubles

Verb = Literal["infer", "describe", "administer"]
# The name of a model, with * for any run of characters.
Pattern = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.*-]+$", max_length=128)]
Url = Annotated[str, StringConstraints(pattern=r"^https?://[^\s\"'\\]+$")]
# Where a collector takes OTLP over HTTP; the protocol's own path is ours to add.
Collector = Annotated[str, StringConstraints(pattern=r"^https?://[^\s\"'\\/,]+$")]
HOURS = re.compile(r"^([01][0-9]|2[0-3]):[0-5][0-9]-(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$")


class Listen(Table):
    """Where the gateway listens, each as HOST:PORT."""

    rest: Address = Field("127.0.0.1:8080", examples=['"127.0.0.1:8080"'])
    grpc: Address = Field("127.0.0.1:8081", examples=['"127.0.0.1:8081"'])
    status: Address = Field("127.0.0.1:8404", examples=['"127.0.0.1:8404"'])
    metrics: Address = Field("127.0.0.1:8405", examples=['"127.0.0.1:8405"'])
    # Triton's gRPC for our own services, without TLS or token: on a network where nobody else is.
    internal: Address | Literal[""] = Field("", examples=['"10.0.0.2:8082"'])


class Tls(Table):
    """Files in PEM; paths are relative to gateway.toml."""

    certificate: Path = Field(Path("build/gateway/certs/server.pem"), examples=['"certs/server.pem"'])
    client_ca: Path | None = Field(None, examples=['"certs/clients-ca.pem"'])

    @field_validator("client_ca", mode="before")
    @classmethod
    def _empty_is_none(cls, value: object) -> object:
        return value or None


class Services(Table):
    """Our own services behind the same gateway; empty when there is none."""

    api: Address | Literal[""] = Field("", examples=['"127.0.0.1:8090"'])
    issuer: Address | Literal[""] = Field("", examples=['"127.0.0.1:8091"'])


class Issuer(Table):
    """An OpenID provider whose RS256 and ES256 tokens the gateway takes."""

    issuer: str = Field(pattern=r"^\S+$", examples=['"https://login.example.com"'])
    audience: str = Field(min_length=1, examples=['"ai102"'])
    jwks: Url = Field(examples=['"https://login.example.com/.well-known/jwks.json"'])
    revoked: Url | Literal[""] = Field("", examples=['"http://127.0.0.1:8091/auth/revoked"'])
    roles_claim: str = Field("roles", pattern=r"^[A-Za-z0-9_.:/-]+$", examples=['"roles"'])
    roles: dict[str, Word] = Field({}, examples=['{ "ml-team" = "caller" }'])  # the provider's word -> ours


class Limits(Table):
    """What one request or one subject may take."""

    max_body_bytes: Positive = Field(64 << 20, examples=["67108864"])
    max_json_bytes: Annotated[int, Field(ge=1024, le=1 << 20)] = Field(64 << 10, examples=["65536"])
    max_header_bytes: Annotated[int, Field(ge=4096, le=1 << 16)] = Field(16 << 10, examples=["16384"])
    max_elements: Positive = Field(16 << 20, examples=["16777216"])
    requests_per_10s: Positive = Field(5000, examples=["5000"])
    auth_requests_per_10s: Positive = Field(200, examples=["200"])
    connect_timeout_s: Positive = Field(1, examples=["1"])
    header_timeout_s: Positive = Field(5, examples=["5"])
    answer_timeout_s: Positive = Field(60, examples=["60"])


class Traces(Table):
    """Which inferences are traced, and who gets the spans."""

    collector: Collector | Literal[""] = Field(
        "", examples=['"http://127.0.0.1:4318"']
    )  # OTLP over HTTP; empty: no traces
    sample_percent: float = Field(1.0, ge=0, le=100, examples=["1.0"])
    asked_per_10s: int = Field(10, ge=0, examples=["10"])
    slow_ms: Positive = Field(500, examples=["500"])

    @property
    def sampled_per_million(self) -> int:
        """How many of a million inferences are sampled."""
        return round(self.sample_percent * 10_000)


class Role(Table):
    """A name for a set of grants; `includes` names roles whose grants it has too."""

    includes: tuple[Word, ...] = Field((), examples=['["viewer"]'])


class Grant(Table):
    """Something a role may do. An empty condition holds always; all that are given must hold at once."""

    role: Word = Field(examples=['"caller"'])
    verbs: tuple[Verb, ...] = Field(min_length=1, examples=['["infer"]'])
    models: tuple[Pattern, ...] = Field(min_length=1, examples=['["classify_*"]'])
    versions: tuple[Annotated[str, StringConstraints(pattern=r"^[0-9]+$")], ...] = Field((), examples=['["1"]'])
    networks: tuple[str, ...] = Field((), examples=['["10.0.0.0/8"]'])
    hours_utc: str = Field("", examples=['"08:00-18:00"'])
    max_body_bytes: Positive | None = Field(None, examples=["16777216"])
    user: dict[str, str] = Field({}, examples=['{ department = "radiology" }'])  # attributes of the user, at issue time

    @field_validator("networks")
    @classmethod
    def _are_networks(cls, networks: tuple[str, ...]) -> tuple[str, ...]:
        return checked_networks(networks)

    @field_validator("hours_utc")
    @classmethod
    def _are_hours(cls, hours: str) -> str:
        if hours and not HOURS.match(hours):
            raise ValueError(f'"{hours}" is not a span of hours; write for example "08:00-18:00" or "22:00-06:00"')
        if hours and hours[:5] == hours[6:]:
            raise ValueError(f'"{hours}" is no time at all: leave it out, or write "00:00-24:00" for the whole day')
        return hours


class Gateway(Table):
    """All of gateway.toml."""

    listen: Listen = Listen()
    tls: Tls = Tls()
    triton: Triton = Field(examples=["a table [triton]"])
    services: Services = Services()
    issuers: tuple[Issuer, ...] = Field(min_length=1, examples=["one table [[issuers]] per token issuer"])
    limits: Limits = Limits()
    traces: Traces = Traces()
    roles: dict[Word, Role] = Field(min_length=1, examples=["one table [roles.NAME] per role"])
    grants: tuple[Grant, ...] = Field(examples=["one table [[grants]] per grant"])

    @model_validator(mode="after")
    def _roles_are_known(self) -> Self:
        for name, role in self.roles.items():
            for other in role.includes:
                if other not in self.roles:
                    raise ValueError(f'roles.{name} includes "{other}", which is no role; the roles are {self._known}')
            if name in self.roles_within(role.includes):
                raise ValueError(f"roles.{name} includes itself by a circle: take one of the includes out")
        for number, grant in enumerate(self.grants):
            if grant.role not in self.roles:
                raise ValueError(f'grants[{number}].role is "{grant.role}", no role; the roles are {self._known}')
        for number, issuer in enumerate(self.issuers):
            if strange := sorted(set(issuer.roles.values()) - set(self.roles)):
                raise ValueError(f"issuers[{number}].roles gives {strange[0]!r}, no role; the roles are {self._known}")
        refuse_doubles("issuers", [issuer.issuer for issuer in self.issuers])
        return self

    def roles_within(self, names: tuple[str, ...]) -> set[str]:
        """These roles and all that they include, directly or not; a name that is no role is left out."""
        reached: set[str] = set()
        waiting = [name for name in names if name in self.roles]
        while waiting:
            name = waiting.pop()
            if name not in reached:
                reached.add(name)
                waiting += self.roles[name].includes
        return reached

    @property
    def _known(self) -> str:
        return ", ".join(self.roles)


def load(path: Path) -> Gateway:
    """The policy in `path`; UserError has one line per mistake: table and key, what is wrong, what to write."""
    return table_from_file(path, Gateway)
