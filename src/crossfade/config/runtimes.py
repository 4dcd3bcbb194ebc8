"""The words of `crossfade.yaml` about what runs the instances."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from crossfade.config.quantities import Size
from crossfade.config.section import Section, VariableName, kind_or, kinds


class Resources(Section):
    """What one container may use."""

    memory: Size | None = Field(default=None, ge=4_000_000, description="Most memory, such as 256MB.")
    cpus: float | None = Field(default=None, gt=0, le=1024, description="Processors, such as 0.5.")


class _Runtime(Section):
    scaled_by_others: ClassVar[bool] = False
    """Whether the number of instances may rightly be changed by others, an autoscaler or a person."""


class ProcessRuntime(_Runtime):
    """Instances are processes of this machine."""

    kind: Literal["process"] = Field(default="process", description="The kind of runtime.")


class Login(Section):
    """Who pulls images from one registry; the password stands in an environment variable, never in the file."""

    registry: str = Field(min_length=1, description="The registry, such as registry.example or 127.0.0.1:5000.")
    username: str = Field(min_length=1, description="The user.")
    password: VariableName = Field(description="Name of the environment variable that holds the password or token.")


class Tls(Section):
    """How a Docker Engine that is reached by `tcp://` is known, and knows us."""

    ca: str = Field(min_length=1, description="File of the authority that signed the server's certificate.")
    certificate: str = Field(min_length=1, description="File of our own certificate.")
    key: str = Field(min_length=1, description="File of its key.")


class DockerRuntime(_Runtime):
    """Instances are containers of a Docker Engine: this machine's, or one that is reached by ssh or TLS."""

    kind: Literal["docker"] = Field(default="docker", description="The kind of runtime.")
    host: str = Field(
        default="unix:///var/run/docker.sock",
        pattern=r"^(unix:///|ssh://|tcp://)",
        description="The engine: unix:///PATH, ssh://USER@HOST or tcp://HOST:PORT (with `tls`).",
    )
    tls: Tls | None = Field(default=None, description="Certificates for `tcp://`, relative to the file.")
    address: str = Field(
        default="127.0.0.1",
        pattern=r"^[A-Za-z0-9_.:\[\]-]+$",
        description="Address of the host on which ports are published: what the router sends traffic to.",
    )
    networks: tuple[str, ...] = Field(default=(), description="Networks that containers join besides the default one.")
    pull: Literal["missing", "always", "never"] = Field(
        default="missing", description="When images are pulled; one with a digest is pulled only where it is missing."
    )
    logins: tuple[Login, ...] = Field(default=(), description="Credentials for registries that want them.")
    keep_images: int = Field(
        default=3,
        ge=2,
        le=100,
        description="Versions whose images stay for going back: those that ran last, and all that have a container.",
    )

    @model_validator(mode="after")
    def _tls_where_it_belongs(self) -> Self:
        if (self.tls is not None) != self.host.startswith("tcp://"):
            msg = "tcp:// needs `tls`, and nothing else has it: an open engine gives its whole machine away"
            raise ValueError(msg)
        return self


class KubernetesRuntime(_Runtime):
    """Instances are pods: one Deployment and one Service for each slot, beside whatever else is there."""

    scaled_by_others: ClassVar[bool] = True
    kind: Literal["kubernetes"] = Field(default="kubernetes", description="The kind of runtime.")
    kubeconfig: str | None = Field(
        default=None,
        description="File of the cluster's address and credentials; KUBECONFIG, or that of the pod, when absent.",
    )
    context: str | None = Field(default=None, description="Context of that file; its current one when absent.")
    namespace: str = Field(
        default="default", pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$", description="Namespace of all objects."
    )
    service_account: str | None = Field(default=None, description="Service account of the pods.")
    pull_secrets: tuple[str, ...] = Field(default=(), description="Secrets by which the cluster pulls images.")


class PluginRuntime(_Runtime):
    """A runtime of another package, found by the entry point group `crossfade.runtimes`."""

    kind: Literal["plugin"] = Field(default="plugin", description="The kind of runtime.")
    name: str = Field(min_length=1, description="Name of the entry point.")
    options: dict[str, Any] = Field(default_factory=dict, description="What the package wants to know.")


Runtime = Annotated[
    Annotated[ProcessRuntime | DockerRuntime | KubernetesRuntime | PluginRuntime, Field(discriminator="kind")],
    kind_or("process"),
    kinds("process", "docker", "kubernetes"),
]
