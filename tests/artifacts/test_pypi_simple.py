"""Pages of the simple API, in every form that indexes write them."""

import json

import pytest

from crossfade.artifacts.registries.pypi.simple import NO_REASON, IndexFile, read_page, same_version, version_of
from crossfade.core.errors import CrossfadeError

AT = "https://index.test/anna/simple/navi-core/"
JSON = "application/vnd.pypi.simple.v1+json"
SHA = "a1" * 32


def test_html_with_everything_in_it():
    page = f"""<!DOCTYPE html><html><head><meta name="pypi:repository-version" content="1.0"></head><body>
    <a href="../../files/navi_core-1.0-py3-none-any.whl#sha256={SHA.upper()}" data-requires-python="&gt;=3.11">
      navi_core-1.0-py3-none-any.whl</a><br>
    <a href="/packages/navi-core-1.0.tar.gz#md5=00" data-yanked="loses &quot;carts&quot;">navi-core-1.0.tar.gz</a>
    <A HREF="https://files.test/navi_core-1.1%2Blocal-py3-none-any.whl" DATA-YANKED>x</A>
    <a href="http://[bad">bad</a> <a>nothing</a> <a href>nothing</a>
    <a name="top">no link</a>
    </body></html>"""
    assert read_page("text/html; charset=utf-8", page, AT) == (
        IndexFile(
            "navi_core-1.0-py3-none-any.whl",
            "https://index.test/anna/files/navi_core-1.0-py3-none-any.whl",
            SHA,
            None,
        ),
        IndexFile("navi-core-1.0.tar.gz", "https://index.test/packages/navi-core-1.0.tar.gz", None, 'loses "carts"'),
        IndexFile(
            "navi_core-1.1+local-py3-none-any.whl",
            "https://files.test/navi_core-1.1%2Blocal-py3-none-any.whl",
            None,
            NO_REASON,
        ),
    )


def test_a_base_moves_the_links_after_it():
    page = '<base href="https://files.test/x/"><a href="y/a-1.0.tar.gz">a</a>'
    assert [each.url for each in read_page("application/vnd.pypi.simple.v1+html", page, AT)] == [
        "https://files.test/x/y/a-1.0.tar.gz"
    ]


def test_json_with_everything_in_it():
    files = [
        {"filename": "a-1.0.tar.gz", "url": "../a-1.0.tar.gz", "hashes": {"sha256": SHA}, "yanked": "broken"},
        {"filename": "a-1.1.tar.gz", "url": "https://files.test/a-1.1.tar.gz", "hashes": {}, "yanked": True},
        {"filename": "a-1.2.tar.gz", "url": "a-1.2.tar.gz", "hashes": {"blake2b": "00"}, "yanked": False},
        {"filename": "a-1.3.tar.gz", "url": "a-1.3.tar.gz", "hashes": {}, "yanked": " "},
    ]
    found = read_page(JSON, json.dumps({"meta": {"api-version": "1.3"}, "name": "a", "files": files}), AT)
    assert [(each.sha256, each.yanked) for each in found] == [
        (SHA, "broken"),
        (None, NO_REASON),
        (None, None),
        (None, NO_REASON),
    ]
    assert found[0].url == "https://index.test/anna/simple/a-1.0.tar.gz"


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (JSON, "no json"),
        (JSON, "[]"),
        (JSON, "{}"),
        (JSON, '{"files": [{}]}'),
        (JSON, '{"files": 7}'),
        (JSON, '{"meta": {"api-version": "2.0"}, "files": []}'),
        ("application/json", '{"message": "hello"}'),
        ("", ""),
    ],
)
def test_what_is_no_page_is_an_error(kind, body):
    with pytest.raises(CrossfadeError) as caught:
        read_page(kind, body, AT)
    assert (caught.value.code, caught.value.where) == ("pypi.bad-answer", AT)


@pytest.mark.parametrize(
    ("filename", "version"),
    [
        ("navi_core-1.0.0-py3-none-any.whl", "1.0.0"),
        ("Navi.Core-1.0.0-7-cp311-cp311-manylinux_2_17_x86_64.whl", "1.0.0"),
        ("navi-core-1.0.tar.gz", "1.0"),
        ("navi_core-1!2.0rc1.zip", "1!2.0rc1"),
        ("navi_core-1.0.0-py3-none-any.whl.metadata", None),
        ("navi_core_extra-1.0.tar.gz", None),
        ("navi_core-1.0.win32.exe", None),
        ("navi_core-latest.tar.gz", None),
        ("..", None),
    ],
)
def test_which_files_are_of_a_project(filename, version):
    assert version_of(filename, "navi-core") == version


def test_versions_are_compared_as_python_does():
    assert same_version("1.0.0-rc.1", "1.0rc1")
    assert not same_version("1.0", "1.0.post1")
    assert same_version("odd", "odd")
    assert not same_version("odd", "1.0")
