"""Git tags of releases: how they are written and read, and which are still to be made.

A tag says for ever which commit a release was made from, so a tag that stands already is compared and never moved.

>>> TagScheme("{name}@{version}").write("@shop/api", "1.0.0"), TagScheme.of("{name}@{version}", single=True).write("api", "1.0.0")
('@shop/api@1.0.0', 'v1.0.0')
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from crossfade.config.faults import suggest
from crossfade.config.placeholders import PlaceholderError, fill, names
from crossfade.core.errors import BadInputError, CrossfadeError, UnreachableError
from crossfade.core.reference import Reference
from crossfade.core.semver import VERSION, SemVer, parse_version
from crossfade.versioning.git import git
from crossfade.versioning.values import Package, Rules

USUAL = "{name}@{version}"
SINGLE = "v{version}"
_WORDS = ("name", "version")
_ILLEGAL = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|//|@\{|/\.|\.lock(/|$)|^[-/.]|[/.]$|^@$")
_FORMAT = "%(refname:strip=2)%00%(objecttype)%00%(objectname)%00%(*objectname)"


@dataclass(frozen=True, slots=True)
class Tag:
    """A tag that a release is to have: its name, the commit it stands on (full id), and what it says."""

    name: str
    commit: str
    message: str


@dataclass(frozen=True, slots=True)
class Standing:
    """A tag that is there: the commit that it leads to, and whether it is annotated (has an author and a message)."""

    name: str
    commit: str
    annotated: bool


@dataclass(frozen=True, slots=True)
class TagScheme:
    """How tags are written: a text with `{name}` and `{version}`.

    BadInputError (`tags.bad-scheme`) for other words, or for one without `{version}`.
    """

    text: str

    def __post_init__(self) -> None:
        try:
            used = names(self.text)
        except PlaceholderError as error:
            raise _bad_scheme(self.text, str(error), "correct `versioning.tag`") from None
        for word in used:
            if word not in _WORDS:
                raise _bad_scheme(self.text, f"{{{word}}} is not a word of tags", suggest(word, _WORDS))
        if "version" not in used:
            raise _bad_scheme(self.text, "every release would have the same tag", "put {version} into `versioning.tag`")

    @classmethod
    def of(cls, text: str, *, single: bool) -> TagScheme:
        """The scheme that counts: a single component at the top of its repository has `v{version}`, unless told otherwise.

        Several components need `{name}`, else two of them share a tag: BadInputError.
        """
        scheme = cls(SINGLE if single and text == USUAL else text)
        if not single and not scheme.named:
            raise _bad_scheme(
                text, "two components of one version would have the same tag", "put {name} into `versioning.tag`"
            )
        return scheme

    @property
    def named(self) -> bool:
        """Whether a tag tells its component."""
        return "name" in names(self.text)

    def write(self, component: str, version: SemVer | str) -> str:
        """The tag of a release; BadInputError (`tags.bad-name`) when git cannot have it."""
        tag = fill(self.text, {"name": component, "version": str(version)})
        if _ILLEGAL.search(tag):
            raise BadInputError(
                "tags.bad-name",
                f"git does not allow the tag {tag!r}",
                where=component,
                next="change `versioning.tag`, or the component's name",
            )
        return tag

    def read(self, tag: str, components: Collection[str]) -> Reference | None:
        """The release that a tag stands for; None when it is the tag of something else.

        A scheme without `{name}` needs exactly one component.

        >>> TagScheme("{name}-{version}").read("api-1.0.0-rc.1", {"api", "web"})
        Reference(component='api', version=SemVer(major=1, minor=0, patch=0, prerelease=('rc', '1'), build=()))
        >>> TagScheme("{name}-{version}").read("other-1.0.0", {"api", "web"}) is None
        True
        """
        only = next(iter(components)) if len(components) == 1 else ""
        for wildcard in (".+?", ".+"):  # the shortest name that leaves a version, else the longest
            match = re.fullmatch(self._pattern(wildcard), tag)
            if match is None:
                return None
            name = match["name"] if self.named else only
            if name in components:
                return Reference(name, parse_version(match["version"]))
        return None

    def _pattern(self, wildcard: str) -> str:
        """The scheme as a regular expression; a word that is said twice must say the same."""
        groups = {"name": f"(?P<name>{wildcard})", "version": f"(?P<version>{VERSION})"}
        pattern = ""
        for piece in re.split(r"(\{\{|\}\}|\{\w+\})", self.text):
            word = piece.strip("{}") if piece.startswith("{") else ""
            if word in groups:
                pattern += groups[word]
                groups[word] = f"(?P={word})"
            else:
                pattern += re.escape(piece[0] if piece in ("{{", "}}") else piece)
        return pattern


def tags_of(packages: Sequence[Package], rules: Rules, scheme: TagScheme, commit: str) -> tuple[Tag, ...]:
    """The tags that the versions in the repository are to have on `commit`; a tag's message is its name.

    What the rules skip has none, and neither have private packages unless `rules.tag_private`.

    >>> packages = [Package("api", "1.0.0"), Package("site", "1.0.0", private=True), Package("notes", "")]
    >>> [tag.name for tag in tags_of(packages, Rules(version_private=True), TagScheme(USUAL), "a" * 40)]
    ['api@1.0.0']
    """
    tagged = [each for each in packages if not rules.skips(each) and (rules.tag_private or not each.private)]
    return tuple(Tag(name, commit, name) for name in (scheme.write(each.name, each.version) for each in tagged))


def missing(wanted: Sequence[Tag], there: Mapping[str, Standing]) -> tuple[Tag, ...]:
    """The tags of `wanted` that are still to be made, in order.

    BadInputError (`tags.elsewhere`) when one stands on another commit; every such tag is told at once, with both commits.

    >>> missing([Tag("v1.0.0", "a" * 40, "")], {"v1.0.0": Standing("v1.0.0", "b" * 40, True)})
    Traceback (most recent call last):
    crossfade.core.errors.BadInputError: the tag v1.0.0 stands on another commit: on bbbbbbbbbbbb, and not on aaaaaaaaaaaa
      where: v1.0.0
      next:  a release is made once: give it a new version, or delete the tag if that release was never published
    """
    elsewhere = [(tag, there[tag.name]) for tag in wanted if tag.name in there and there[tag.name].commit != tag.commit]
    if elsewhere:
        told = "; ".join(
            f"the tag {tag.name} stands on another commit: on {standing.commit[:12]}, and not on {tag.commit[:12]}"
            for tag, standing in elsewhere
        )
        raise BadInputError(
            "tags.elsewhere",
            told,
            where=", ".join(tag.name for tag, _ in elsewhere),
            next="a release is made once: give it a new version, or delete the tag if that release was never published",
        )
    return tuple(tag for tag in dict.fromkeys(wanted) if tag.name not in there)


def read_tags(root: Path) -> dict[str, Standing]:
    """Every tag of the repository at `root`, by name; tags of anything but commits are left out."""
    standing = {}
    for line in git(root, "for-each-ref", f"--format={_FORMAT}", "refs/tags").splitlines():
        name, kind, itself, peeled = line.split("\0")
        if kind == "commit" or peeled:
            standing[name] = Standing(name, peeled or itself, annotated=kind == "tag")
    return standing


def read_remote_tags(root: Path, remote: str = "origin") -> dict[str, Standing]:
    """Every tag of another repository, such as `origin`, by name: a clone without tags does not know what is released.

    UnreachableError (`tags.no-remote`) when it does not answer.
    """
    try:
        told = git(root, "ls-remote", "--tags", "--end-of-options", remote)
    except CrossfadeError as error:
        if error.code != "git.failed":
            raise
        raise UnreachableError(
            "tags.no-remote",
            f"the tags of {remote} cannot be asked for: {error.what}",
            where=str(root),
            next="see `git remote -v`, and whether you may read it",
        ) from None
    found = dict(line.split("\t", 1)[::-1] for line in told.splitlines() if "\t" in line)
    tags = {ref.removeprefix("refs/tags/"): at for ref, at in found.items() if not ref.endswith("^{}")}
    return {
        name: Standing(name, found.get(f"refs/tags/{name}^{{}}", at), annotated=f"refs/tags/{name}^{{}}" in found)
        for name, at in tags.items()
    }


def create_tags(root: Path, wanted: Sequence[Tag]) -> tuple[Tag, ...]:
    """Make the annotated tags that are not there yet, and return those. A second call makes none.

    Nothing is made when one of `wanted` stands on another commit, or on a commit that is not there.
    """
    to_make = missing(wanted, read_tags(root))
    for commit in {tag.commit for tag in to_make}:
        _check_commit(root, commit)
    for tag in to_make:
        try:
            git(
                root,
                "tag",
                "--annotate",
                "--cleanup=whitespace",
                "--file=-",
                tag.name,
                tag.commit,
                given=tag.message + "\n",
            )
        except CrossfadeError:
            if read_tags(root).get(tag.name, Standing("", "", annotated=False)).commit != tag.commit:
                raise  # else somebody else has made the same tag in this very moment
    return to_make


def head(root: Path) -> str:
    """The full id of the commit that is checked out."""
    return git(root, "rev-parse", "--verify", "HEAD^{commit}").strip()


def _check_commit(root: Path, commit: str) -> None:
    try:
        git(root, "cat-file", "-e", f"{commit}^{{commit}}")
    except CrossfadeError as error:
        if error.code != "git.failed":
            raise
        raise BadInputError(
            "tags.no-commit", f"there is no commit {commit!r} to tag", where=str(root), next="fetch it, then try again"
        ) from None


def _bad_scheme(text: str, what: str, hint: str) -> BadInputError:
    return BadInputError("tags.bad-scheme", what, where=f"versioning.tag: {text}", next=hint)
