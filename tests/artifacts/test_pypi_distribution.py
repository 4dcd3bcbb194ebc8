"""Wheels and sdists are what they are called, and the form says what they say."""

import hashlib
import zipfile

import pytest
from python_index_world import make_sdist, make_wheel, metadata, python_artifact

from crossfade.artifacts.port import Artifact, Coordinate
from crossfade.artifacts.registries.pypi.distribution import distributions
from crossfade.artifacts.registries.pypi.form import form_body
from crossfade.core.errors import BadInputError

AT = Coordinate("Navi.Core", "1.0.0-rc.1")


def artifact(*files, at=AT):
    return Artifact("core", at, files, files[0].parent if files else None)


def fault(*files, at=AT):
    with pytest.raises(BadInputError) as caught:
        distributions(artifact(*files, at=at))
    return caught.value


def test_wheels_come_first_and_say_what_they_are(tmp_path):
    sdist = make_sdist(tmp_path, "navi-core", "1.0.0rc1")
    linux = make_wheel(tmp_path, "navi-core", "1.0.0rc1", tag="cp311-cp311-manylinux_2_17_x86_64")
    pure = make_wheel(tmp_path, "navi-core", "1.0.0rc1", tag="py2.py3-none-any")
    found = distributions(artifact(sdist, linux, pure))
    assert [(each.kind, each.python) for each in found] == [
        ("bdist_wheel", "cp311"),
        ("bdist_wheel", "py2.py3"),
        ("sdist", "source"),
    ]
    assert found[0].sha256 == hashlib.sha256(linux.read_bytes()).hexdigest()
    form = found[0].form()
    assert {name: form[name] for name in ("name", "version", "metadata_version", "filetype", "pyversion")} == {
        "name": "navi-core",
        "version": "1.0.0rc1",
        "metadata_version": "2.4",
        "filetype": "bdist_wheel",
        "pyversion": "cp311",
    }
    assert form["keywords"] == "release,canary"
    assert form["project_urls"] == ["Source, https://example.test/src"]
    assert form["classifiers"] == ["Programming Language :: Python :: 3", "Typing :: Typed"]
    assert form["blake2_256_digest"] == hashlib.blake2b(linux.read_bytes(), digest_size=32).hexdigest()
    assert form["description"].strip() == "The long text, with ü."


def test_an_sdist_may_be_a_zip(tmp_path):
    path = tmp_path / "navi_core-1.0.0rc1.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("navi_core-1.0.0rc1/PKG-INFO", metadata("navi-core", "1.0.0rc1"))
    (found,) = distributions(artifact(path))
    assert (found.kind, found.metadata["name"]) == ("sdist", "navi-core")


def test_nothing_to_publish_is_an_error(tmp_path):
    with pytest.raises(BadInputError) as caught:
        distributions(Artifact("core", AT, (), tmp_path))
    assert caught.value.code == "pypi.no-files"


def test_files_of_something_else_are_named(tmp_path):
    assert fault(make_wheel(tmp_path, "navi-core", "1.0.0rc2")).code == "pypi.not-this-version"
    assert fault(make_sdist(tmp_path, "navi-portal", "1.0.0rc1")).code == "pypi.not-this-version"
    (tmp_path / "notes.txt").write_text("hello")
    assert fault(tmp_path / "notes.txt").where == str(tmp_path / "notes.txt")


def test_a_wheel_that_lies_about_its_version_is_seen(tmp_path):
    lying = fault(make_wheel(tmp_path, "navi-core", "1.0.0rc1", said="1.0.0"))
    assert lying.code == "pypi.not-this-version"
    assert "says inside that it is navi-core 1.0.0" in lying.what


@pytest.mark.parametrize("name", ["navi_core-1.0.0rc1-py3-none-any.whl", "navi_core-1.0.0rc1.tar.gz"])
@pytest.mark.parametrize("content", [b"", b"neither zip nor tar", b"PK\x03\x04 cut off", b"\x1f\x8b\x08 cut off"])
def test_a_broken_file_is_an_error_and_no_traceback(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    broken = fault(tmp_path / name)
    assert (broken.code, broken.where) == ("pypi.broken-file", str(tmp_path / name))


def test_an_archive_without_metadata_is_broken(tmp_path):
    for name in ("navi_core-1.0.0rc1-py3-none-any.whl", "navi_core-1.0.0rc1.zip"):
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            archive.writestr("readme", b"hello")
        assert "there is no" in fault(tmp_path / name).what
    assert fault(tmp_path / "navi_core-1.0.0rc1.tar.gz").code == "pypi.broken-file"


async def test_the_form_is_sent_byte_for_byte(tmp_path):
    (one, _) = distributions(python_artifact(tmp_path, "navi-core", "1.0.0rc1", size=700_000))
    kind, body = form_body({"a": "ü", "many": ["1", "2"]}, ("content", one.path), ("go", "now"), "xyz")
    sent = b"".join([chunk async for chunk in body.chunks()])
    assert kind == "multipart/form-data; boundary=xyz"
    assert len(sent) == body.size
    assert sent.count(b'name="many"') == 2
    last = b'\r\n--xyz\r\nContent-Disposition: form-data; name="go"\r\n\r\nnow\r\n--xyz--\r\n'
    assert sent.endswith(one.path.read_bytes() + last)
    assert sent.startswith('--xyz\r\nContent-Disposition: form-data; name="a"\r\n\r\nü\r\n'.encode())
