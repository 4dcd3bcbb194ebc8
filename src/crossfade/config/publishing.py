"""The words of `crossfade.yaml` about versions, builds and registries: what stands in a repository and where it is published."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field

from crossfade.config.quantities import Duration
from crossfade.config.section import Name, Section, Shorthand, VariableName, bare

Part = Annotated[str, Field(min_length=1, pattern=r"^[^\x00]+$")]
RelativePath = Annotated[str, Field(min_length=1, pattern=r"^[^/\x00][^\x00]*$")]
"""A path below the folder of the file, or below the component's own folder."""


class SecretReference(Section):
    """Where a secret is kept; the secret itself never stands in the file. `$NAME` is short for `{env: NAME}`."""

    shorthand: ClassVar[Shorthand | None] = Shorthand(
        ("$NPM_TOKEN",), r"^\$[A-Za-z_][A-Za-z0-9_]*$", lambda text: {"env": text.removeprefix("$")}
    )

    env: VariableName = Field(description="Name of the environment variable that holds it.")


class Source(Section):
    """Where a component stands in the repository, and how its version is told; a bare path is enough."""

    shorthand: ClassVar[Shorthand | None] = Shorthand(("packages/core",), r"^[^\x00]*$", lambda path: {"path": path})

    path: RelativePath = Field(default=".", description="Its folder, relative to the file.")
    version: Literal["package.json", "pyproject.toml", "VERSION", "ledger"] | None = Field(
        default=None,
        description="The file in its folder that holds its version; the first of package.json, pyproject.toml and VERSION"
        " that is there when absent. `ledger` keeps it in .changeset/versions.json, for what has no file of its own.",
    )
    private: bool = Field(default=False, description="Never published; package.json may say so as well.")
    needs: dict[Name, Part] = Field(
        default_factory=dict,
        description="Components that it depends on, each with a range of versions, beside what its own files say.",
    )
    embeds: tuple[Name, ...] = Field(
        default=(),
        description="Components whose build becomes part of its own: it is released again whenever one of them is.",
    )


class Build(Section):
    """How a component's artifact is made; the same inputs are never built twice."""

    command: tuple[Part, ...] = Field(min_length=1, description="Program and arguments, run in the component's folder.")
    inputs: tuple[Part, ...] = Field(
        default=("**",),
        min_length=1,
        description="Globs of the files that the build reads, from the component's folder; `!` leaves out, `../` reaches"
        " other files of the project."
        " What git ignores and what the build makes are never inputs.",
    )
    outputs: tuple[RelativePath, ...] = Field(
        default=("dist",),
        min_length=1,
        description="Files and folders that the build makes, below the component's folder.",
    )
    environment: dict[VariableName, str] = Field(
        default_factory=dict, description="Environment variables of the build; part of what identifies it."
    )
    pass_through: tuple[VariableName, ...] = Field(
        default=(), description="Variables of whoever builds that the build may see, and that identify it as well."
    )
    timeout: Duration = Field(default=1800.0, gt=0, description="How long the build may take.")


class Publish(Section):
    """One place where a component is published; the registry's name alone is enough."""

    shorthand: ClassVar[Shorthand | None] = Shorthand(
        ("npm",), r"^[A-Za-z0-9][A-Za-z0-9._-]*$", lambda name: {"to": name}
    )

    to: Name = Field(description="Name of a registry in `registries`.")
    name: Part | None = Field(
        default=None, description="What it is called there; the name in its own files, or the component's, when absent."
    )
    files: RelativePath | None = Field(
        default=None,
        description="What is published, below the component's folder. npm: the package's folder (`.`). PyPI: the folder of"
        " wheels and sdists (`dist`). OCI: the image layout (`dist`). CDN: the folder or file (`dist`).",
    )


class _Registry(Section):
    url: str = Field(pattern=r"^https?://[^\s]+$", description="Base address.")
    rate: float = Field(default=100.0, gt=0, le=1000, description="Most requests in a second.")
    timeout: Duration = Field(default=30.0, gt=0, description="How long one answer may take.")
    attempts: int = Field(default=5, ge=1, le=50, description="How often a request is tried that may yet succeed.")


class NpmRegistry(_Registry):
    """A registry that speaks npm's protocol."""

    kind: Literal["npm"] = Field(default="npm", description="The kind of registry.")
    token: SecretReference | None = Field(default=None, description="Token that may publish.")
    access: Literal["public", "restricted"] = Field(default="public", description="Who may read a scoped package.")
    tag: Part = Field(
        default="latest",
        description="The dist-tag of a release; a prerelease gets its own first word (`next` of 2.0.0-next.1).",
    )


class PypiRegistry(_Registry):
    """A Python package index: `url` is its simple API, `upload` takes the files."""

    kind: Literal["pypi"] = Field(default="pypi", description="The kind of registry.")
    upload: str | None = Field(
        default=None, pattern=r"^https?://[^\s]+$", description="Address that takes uploads; `url` when absent."
    )
    username: SecretReference | None = Field(
        default=None, description="User; `__token__` when only `password` is given."
    )
    password: SecretReference | None = Field(default=None, description="Password or token.")


class OciRegistry(_Registry):
    """A registry of container images (OCI distribution)."""

    kind: Literal["oci"] = Field(default="oci", description="The kind of registry.")
    repository: Part = Field(default="{name}", description="Repository of a component's images; `{name}` is replaced.")
    username: SecretReference | None = Field(default=None, description="User.")
    password: SecretReference | None = Field(default=None, description="Password or token.")
    tags: tuple[Part, ...] = Field(
        default=("v{version}", "{major}.{minor}", "{version}-{sha}", "latest"),
        min_length=1,
        description="Tags of a release, immutable ones first; `{version}`, `{major}`, `{minor}`, `{sha}`, `{branch}` are"
        " replaced. Those that hold the whole version or the sha are never moved.",
    )
    prerelease_tags: tuple[Part, ...] = Field(
        default=("v{version}",), min_length=1, description="Tags of a prerelease, in the same words."
    )


class Purge(Section):
    """A cache in front of a CDN's store that is told when a pointer has moved."""

    kind: Literal["cloudfront", "cloud-cdn", "fastly", "cloudflare", "http"] = Field(description="Whose cache it is.")
    target: Part = Field(
        description="Distribution (cloudfront), PROJECT/URL-MAP (cloud-cdn), service (fastly), zone (cloudflare), or the"
        " address that is sent PURGE for each path (http)."
    )
    token: SecretReference | None = Field(default=None, description="Token that may purge.")
    endpoint: str | None = Field(
        default=None, pattern=r"^https?://[^\s]+$", description="Another address of the cache's API."
    )


class CdnRegistry(Section):
    """An object store whose files browsers load: immutable versions, and pointers that move."""

    kind: Literal["cdn"] = Field(default="cdn", description="The kind of registry.")
    store: str = Field(
        pattern=r"^(file|s3|gs|az)://[^\s]+$",
        description="Where the files lie: file://FOLDER (relative to the file, or absolute), s3://BUCKET/PREFIX, gs://… or az://….",
    )
    endpoint: str | None = Field(
        default=None, pattern=r"^https?://[^\s]+$", description="Address of an S3-compatible store."
    )
    region: str | None = Field(default=None, description="Region of the store.")
    key: SecretReference | None = Field(default=None, description="Access key; the machine's own identity when absent.")
    secret: SecretReference | None = Field(default=None, description="Secret key.")
    public_url: str | None = Field(
        default=None,
        pattern=r"^https?://[^\s]+$",
        description="Where browsers find the files; asked after an upload, so that a wrong header is seen before a user sees it.",
    )
    immutable: Part = Field(
        default="{name}/v{version}/", description="Folder of a version; `{name}`, `{version}`, `{major}` are replaced."
    )
    pointer: Part | None = Field(
        default="{name}/v{major}/", description="Folder that always holds the newest release of a major version."
    )
    pointer_max_age: Duration = Field(
        default=60.0, ge=0, description="How long browsers may keep a pointer's file: the longest way back."
    )
    pointer_shared_max_age: Duration = Field(
        default=3600.0, ge=0, description="How long caches in between may keep it until they are told to purge it."
    )
    purge: tuple[Purge, ...] = Field(default=(), description="Caches that are told when a pointer has moved.")
    timeout: Duration = Field(default=30.0, gt=0, description="How long one answer may take.")


Registry = Annotated[
    Annotated[NpmRegistry | PypiRegistry | OciRegistry | CdnRegistry, Field(discriminator="kind")],
    BeforeValidator(bare),
]


class VersionMap(Section):
    """A file that maps versions to where they are; it gets the new entry before the package that reads it is published."""

    file: RelativePath = Field(
        description="The file: TypeScript or JavaScript, JSON or TOML, relative to crossfade.yaml."
    )
    name: Part = Field(
        description="The object in it that is the map (`CDN_VERSION_MAP`; dots go deeper in JSON and TOML)."
    )
    of: Name = Field(description="The component whose versions it lists.")
    key: Part = Field(
        default="{version}", description="Key of an entry; `{version}`, `{major}`, `{minor}`, `{name}` are replaced."
    )
    value: Part = Field(default="v{version}", description="Value of an entry, in the same words.")


class Versioning(Section):
    """How versions follow from changesets."""

    compatibility: Literal["changesets-3", "changesets-2", "crossfade"] = Field(
        default="crossfade",
        description="`changesets-3` and `changesets-2` do exactly what @changesets/cli of that version does.",
    )
    breaking_below_one: Literal["minor", "major"] = Field(
        default="minor",
        description="What a breaking change does to a version below 1.0.0; compatibility with changesets means `major`.",
    )
    changelog: Literal["changesets", "keep-a-changelog"] = Field(
        default="keep-a-changelog", description="How changelogs are written."
    )
    tag: Part = Field(
        default="{name}@{version}",
        description="Git tag of a component's release; `{name}`, `{version}` are replaced. A single component at the top has `v{version}`.",
    )
    lock_files: bool = Field(default=True, description="Update lock files of npm, pnpm, yarn and uv with the versions.")
    maps: tuple[VersionMap, ...] = Field(default=(), description="Files that map versions to where they are.")
    migration_guides: RelativePath = Field(
        default="docs/migrations", description="Folder of the guides that a major needs: NAME-vMAJOR.md."
    )
    notice: Duration = Field(
        default=1209600.0,
        ge=0,
        description="How long before a major its users must have been told; 0s asks for no notice.",
    )
    notes: RelativePath | None = Field(
        default=None, description="A Jinja template for release notes of your own, relative to the file."
    )
