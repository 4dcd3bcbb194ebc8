"""What a page of the simple API says: the files of a project, as JSON (PEP 691) or HTML (PEP 503), yanked or not (PEP 592)."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from typing import Any, NamedTuple
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

from crossfade.core.errors import CrossfadeError

ACCEPT = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1, */*;q=0.01"
"""What we can read, the best first."""

NO_REASON = "yanked without a reason"


class IndexFile(NamedTuple):
    """One file of a project. `sha256` is hex, None when the index does not tell; `yanked` is the reason or None."""

    filename: str
    url: str
    sha256: str | None
    yanked: str | None


def normal_name(name: str) -> str:
    """The name as indexes compare it (PEP 503).

    >>> normal_name("Navi_Core.js")
    'navi-core-js'
    """
    from packaging.utils import canonicalize_name  # noqa: PLC0415 - imported when an index is asked, not before

    return canonicalize_name(name)


def read_page(content_type: str, body: str, url: str) -> tuple[IndexFile, ...]:
    """The files that a project's page lists; `url` is the page's own address.

    CrossfadeError `pypi.bad-answer` when it is no page of the simple API.

    >>> page = '<a href="../../files/a-1.0.tar.gz#sha256=ab">a-1.0.tar.gz</a>'
    >>> read_page("text/html", page, "http://index/simple/a/")[0].url
    'http://index/files/a-1.0.tar.gz'
    """
    kind = content_type.partition(";")[0].strip().lower()
    if kind in {"application/vnd.pypi.simple.v1+json", "application/vnd.pypi.simple.latest+json"}:
        return _from_json(body, url)
    if kind in {"text/html", "application/vnd.pypi.simple.v1+html", "application/vnd.pypi.simple.latest+html"}:
        page = _Page(url)
        page.feed(body)
        page.close()
        return tuple(page.files)
    raise _bad(url, f"it has the type {kind or 'unknown'}")


def version_of(filename: str, name: str) -> str | None:
    """The version of a wheel or sdist of `name`, normalised by PEP 440; None for any other file.

    >>> version_of("navi_core-1.0.0rc1-py3-none-any.whl", "navi-core"), version_of("navi-core-1.0.tar.gz", "navi_core")
    ('1.0.0rc1', '1.0')
    >>> version_of("navi_core-1.0.exe", "navi-core"), version_of("other-1.0.tar.gz", "navi-core")
    (None, None)
    """
    from packaging.utils import (  # noqa: PLC0415 - imported when an index is asked, not before
        InvalidSdistFilename,
        InvalidWheelFilename,
        parse_sdist_filename,
        parse_wheel_filename,
    )

    try:
        whole = parse_wheel_filename(filename)[:2] if filename.endswith(".whl") else parse_sdist_filename(filename)
    except (InvalidWheelFilename, InvalidSdistFilename):
        return None
    return str(whole[1]) if whole[0] == normal_name(name) else None


def same_version(one: str, other: str) -> bool:
    """Whether both spell one version by PEP 440.

    >>> same_version("1.0", "1.0.0"), same_version("1.0-rc.1", "1.0rc1"), same_version("1.0", "1.1")
    (True, True, False)
    """
    from packaging.version import InvalidVersion, Version  # noqa: PLC0415 - imported when an index is asked, not before

    try:
        return Version(one) == Version(other)
    except InvalidVersion:
        return one == other


def _from_json(body: str, url: str) -> tuple[IndexFile, ...]:
    try:
        page: Any = json.loads(body)
        version = str(page.get("meta", {}).get("api-version", "1.0"))
        if version.partition(".")[0] != "1":
            raise _bad(url, f"it speaks version {version} of the simple API")
        return tuple(
            IndexFile(
                str(each["filename"]),
                urljoin(url, str(each["url"])),
                each.get("hashes", {}).get("sha256"),
                _reason(each.get("yanked", False)),
            )
            for each in page["files"]
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _bad(url, "its JSON is not a project's page") from error


def _reason(yanked: object) -> str | None:
    if yanked is False or yanked is None:
        return None
    return yanked if isinstance(yanked, str) and yanked.strip() else NO_REASON


def _bad(url: str, why: str) -> CrossfadeError:
    return CrossfadeError(
        "pypi.bad-answer",
        f"the answer is no page of the simple API: {why}",
        where=url,
        next="let `url` of the registry lead to its simple API, such as https://HOST/simple/",
    )


class _Page(HTMLParser):
    """The links of one page; what is no link to a file is passed over."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.files: list[IndexFile] = []
        self._at = url

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        said = dict(attrs)
        try:
            href = urljoin(self._at, said.get("href") or "#")
        except ValueError:
            return  # no address, whatever it is
        if tag == "base":
            self._at = href
        if tag == "a" and said.get("href"):
            url, fragment = urldefrag(href)
            filename = unquote(urlsplit(url).path.rpartition("/")[2])
            algorithm, _, digest = fragment.partition("=")
            yanked = (said["data-yanked"] or NO_REASON) if "data-yanked" in said else None
            self.files.append(IndexFile(filename, url, digest.lower() if algorithm == "sha256" else None, yanked))
