"""From a build's files to an artifact."""

from __future__ import annotations

import pytest

from crossfade.artifacts.gathering import digest, gather
from crossfade.artifacts.port import Coordinate
from crossfade.core.errors import BadInputError


def write(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name.rpartition("/")[2])


def test_python_distributions_of_this_version_alone(tmp_path):
    write(
        tmp_path,
        "nextgen_market-1.1.0-py3-none-any.whl",
        "nextgen-market-1.1.0.tar.gz",
        "nextgen_market-1.1.0rc1-py3-none-any.whl",
        "nextgen_market-1.1.01.tar.gz",
        "nextgen_market_api-1.1.0-py3-none-any.whl",
        "notes.txt",
    )
    found = gather("pypi", "api", Coordinate("Nextgen.Market", "1.1.0"), tmp_path)
    assert [each.name for each in found.files] == [
        "nextgen-market-1.1.0.tar.gz",
        "nextgen_market-1.1.0-py3-none-any.whl",
    ]


def test_an_image_layout_is_one_thing(tmp_path):
    write(tmp_path, "image/index.json", "image/blobs/sha256/aa")
    found = gather("oci", "api", Coordinate("api", "1.0.0"), tmp_path / "image")
    assert found.files == (tmp_path / "image",)


def test_every_file_of_a_folder_for_the_cdn(tmp_path):
    write(tmp_path, "loader.js", "locales/de.json", ".cache/x", "locales/.hidden")
    found = gather("cdn", "loader", Coordinate("loader", "1.0.0"), tmp_path)
    assert [each.relative_to(found.root).as_posix() for each in found.files] == ["loader.js", "locales/de.json"]


def test_one_file_for_the_cdn(tmp_path):
    write(tmp_path, "dist/loader.js")
    found = gather("cdn", "loader", Coordinate("loader", "1.0.0"), tmp_path / "dist" / "loader.js")
    assert (found.files, found.root) == ((tmp_path / "dist" / "loader.js",), tmp_path / "dist")


@pytest.mark.parametrize(
    ("kind", "names"), [("pypi", ["other-1.0.0.tar.gz"]), ("oci", ["manifest.json"]), ("cdn", [".keep"])]
)
def test_nothing_of_the_kind(tmp_path, kind, names):
    write(tmp_path, *names)
    with pytest.raises(BadInputError) as caught:
        gather(kind, "api", Coordinate("api", "1.0.0"), tmp_path)
    assert caught.value.code == "publish.nothing-built"
    assert "crossfade build api" in caught.value.next


def test_nothing_at_all(tmp_path):
    with pytest.raises(BadInputError, match="it is not there"):
        gather("npm", "core", Coordinate("core", "1.0.0"), tmp_path / "core.tgz")


def test_the_digest_is_of_names_and_bytes(tmp_path):
    write(tmp_path, "one/a.js", "one/b.js", "two/a.js", "two/b.js")
    one = gather("cdn", "x", Coordinate("x", "1.0.0"), tmp_path / "one")
    two = gather("cdn", "x", Coordinate("x", "1.0.0"), tmp_path / "two")
    same = digest(one)
    assert same == digest(two)  # wherever it lies
    (tmp_path / "two" / "a.js").write_text("other")
    assert digest(two) != same
    (tmp_path / "one" / "b.js").rename(tmp_path / "one" / "c.js")
    assert digest(gather("cdn", "x", one.at, tmp_path / "one")) != same


def test_the_digest_of_a_layout_is_of_all_in_it(tmp_path):
    write(tmp_path, "image/index.json", "image/blobs/sha256/aa")
    layout = gather("oci", "api", Coordinate("api", "1.0.0"), tmp_path / "image")
    before = digest(layout)
    (tmp_path / "image" / "blobs" / "sha256" / "aa").write_text("other")
    assert digest(layout) != before
