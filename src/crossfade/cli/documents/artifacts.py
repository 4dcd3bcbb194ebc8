"""What is built, published and withdrawn."""

from __future__ import annotations

from typing import Annotated, Any, TypedDict

from crossfade.cli.documents.faults import ErrorObject


class BuildOutputObject(TypedDict):
    """One file, link or empty folder that a build made."""

    path: Annotated[str, "below the component's folder"]
    kind: Annotated[str, "file, link or folder"]
    sha256: Annotated[str, "of a file's bytes, or of where a link leads; empty for a folder"]
    size: Annotated[int, "in bytes"]
    executable: bool


class ComponentBuildObject(TypedDict):
    """What came of one component."""

    component: str
    status: Annotated[str, "built, restored, unchanged, failed, stopped, interrupted"]
    identity: Annotated[str, "digest over all that may change the outcome (sha256)"]
    version: str | None
    digest: Annotated[str | None, "one digest over all outputs (sha256); null where there are none"]
    outputs: list[BuildOutputObject]
    metadata: Annotated[dict[str, Any] | None, "what is known about the build that made the outputs first"]
    metadata_file: Annotated[str | None, "where that lies as a file"]
    seconds: Annotated[float, "how long it took; 0 where nothing was built"]
    log: Annotated[str, "the file with all that the build printed"]
    kept: Annotated[bool, "whether it can be taken the next time"]
    notes: Annotated[list[str], "what a person ought to know although it went well"]
    error: ErrorObject | None


class BuildObject(TypedDict):
    """`crossfade build`. Where a build failed, `error` is there as well: that of the first one."""

    ok: bool
    builds: Annotated[list[ComponentBuildObject], "in the order in which they depend on each other"]


class BuildDecisionObject(TypedDict):
    """What would be done about one component."""

    component: str
    action: Annotated[str, "build, restore or keep"]
    identity: Annotated[str, "as it will be, once it is built"]
    why: list[str]


class BuildPlanObject(TypedDict):
    """`crossfade build --dry-run`."""

    builds: list[BuildDecisionObject]


class PruneObject(TypedDict):
    """`crossfade build --prune`."""

    builds: Annotated[int, "kept builds thrown away"]
    logs: Annotated[int, "logs thrown away"]
    bytes_freed: int
    bytes_left: int


class PublishedObject(TypedDict):
    """One version in one registry."""

    component: str
    registry: str
    name: Annotated[str, "what it is called there"]
    version: str


class ItemObject(TypedDict):
    """One artifact on its way to one registry."""

    component: str
    registry: str
    name: Annotated[str, "what it is called there"]
    version: str
    state: Annotated[str, "wanted, uploaded, verified or tagged"]
    tags: Annotated[list[str], "names that people follow and that lead to it, such as latest"]
    digest: Annotated[str, "of what was packed (sha256)"]
    integrity: Annotated[dict[str, str], "what the registry says of the bytes, by the name of the hash"]
    fault: ErrorObject | None
    waits_for: Annotated[str | None, "the item that holds it up"]


class PublicationObject(TypedDict):
    """One walk to the registries, whole or not yet."""

    id: str
    revision: Annotated[str, "the commit that was published"]
    done: bool
    ending: Annotated[str | None, "how it ended; null while `crossfade publish` would go on with it"]
    items: list[ItemObject]


class PublishObject(TypedDict):
    """`crossfade publish`."""

    dry_run: bool
    absent: Annotated[list[PublishedObject], "what was not there when it was looked"]
    untagged: Annotated[list[PublishedObject], "what was there, and had no tag in git"]
    published: Annotated[list[PublishedObject], "what was where it is to be"]
    publication: Annotated[PublicationObject | None, "how it went; null where nothing was to be done"]


class PublicationsObject(TypedDict):
    """`crossfade publish --list`, newest first."""

    publications: list[PublicationObject]


class WithdrawnObject(TypedDict):
    """One version taken back in one registry."""

    component: str
    registry: str
    name: Annotated[str, "what it is called there"]
    version: str
    back_to: Annotated[str | None, "the version that names lead back to"]
    done: Annotated[list[str], "what was done"]
    left: Annotated[list[str], "what could not be taken back, and what a person can do about it"]
    fault: ErrorObject | None


class WithdrawObject(TypedDict):
    """`crossfade withdraw`."""

    dry_run: bool
    withdrawn: list[WithdrawnObject]
