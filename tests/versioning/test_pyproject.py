"""pyproject.toml, VERSION files and the ledger: what is read, and that an edit changes nothing else."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossfade.core.errors import BadInputError
from crossfade.versioning.dynamic_versions import VersionPlace
from crossfade.versioning.ledger import read_ledger, write_ledger
from crossfade.versioning.pyproject import Python, read_pyproject
from crossfade.versioning.values import Bump, Dependency
from crossfade.versioning.version_files import VersionFile, edited_assigned, read_assigned, read_version_file

WHOLE = """\
# The API.
[build-system]
requires = ["hatchling>=1.27", 'build_tools ~= 1.4']

[project]
name = 'Shop_API'   # as it is called
version = '1.4.0rc1' # not yet
classifiers = ["Private :: Do Not Upload"]
dependencies = [
  "core[fast,safe] >=1.2, <2 ; python_version > '3.11'",  # the engine
    'core>=1.0,<2;python_version <= "3.11"',
  "Navi.Core (>=1.2)",
  "other @ https://example.com/other.whl ; sys_platform == 'linux'",
  "plain",
]

[project.optional-dependencies]
all = ["core==1.2.*", "httpx"]

[dependency-groups]
dev = [{include-group = "lint"}, "core~=1.2"]
lint = ["ruff"]

[tool.other]
core = ">=1.2"
"""
POETRY = """\
[tool.poetry]
name = "api"
version = "1.0"

[tool.poetry.dependencies]
python = "^3.11"
core = "^1.2"   # caret
navi = { version = "~1.2", extras = ["x"] }
here = { path = "../here", develop = true }
many = [ { version = "^1.0", python = "<3.12" }, { version = "^1.1", python = ">=3.12" } ]

[tool.poetry.group.test.dependencies]
core = ">=1.0,<2"
"""


def edit(text, version=None, **new):
    """Raise every range on the names in `new` to the version that is given there."""
    found = read_pyproject(text, "pyproject.toml")
    python = Python()
    ranges = [
        (each.dependency, python.raised(each.dependency.range, new[each.dependency.name], Bump.MAJOR))
        for each in found.requirements
        if each.dependency.name in new and python.is_range(each.dependency.range)
    ]
    return python.edited(text, "pyproject.toml", version, ranges)


def changed(old, new):
    """The lines that differ, as they are now."""
    pairs = zip(old.split("\n"), new.split("\n"), strict=True)
    return [line for before, line in pairs if before != line]


def test_a_whole_file_is_read():
    found = read_pyproject(WHOLE, "pyproject.toml")
    assert (found.name, str(found.version), found.private) == ("Shop_API", "1.4.0-rc.1", True)
    assert [each.dependency for each in found.requirements] == [
        Dependency("core", ">=1.2, <2"),
        Dependency("core", ">=1.0,<2"),
        Dependency("navi-core", ">=1.2"),
        Dependency("other", "@ https://example.com/other.whl"),
        Dependency("plain", ""),
        Dependency("core", "==1.2.*", "optionalDependencies"),
        Dependency("httpx", "", "optionalDependencies"),
        Dependency("core", "~=1.2", "devDependencies"),
        Dependency("ruff", "", "devDependencies"),
        Dependency("hatchling", ">=1.27", "devDependencies"),
        Dependency("build-tools", "~= 1.4", "devDependencies"),
    ]


def test_an_edit_keeps_everything_else():
    new = edit(WHOLE, "1.4.0", core="2.1.0", **{"navi-core": "1.3.0", "build-tools": "2.0.0"})
    assert changed(WHOLE, new) == [
        """requires = ["hatchling>=1.27", 'build_tools ~= 2.0']""",
        "version = '1.4.0' # not yet",
        """  "core[fast,safe] >=2.1.0, <3 ; python_version > '3.11'",  # the engine""",
        """    'core>=2.1.0,<3;python_version <= "3.11"',""",
        '  "Navi.Core (>=1.3.0)",',
        'all = ["core==2.1.*", "httpx"]',
        'dev = [{include-group = "lint"}, "core~=2.1"]',
    ]
    assert edit(new, "1.4.0", core="2.1.0") == new
    assert edit(WHOLE, plain="2.0.0") == WHOLE
    assert '"plain>=2.0.0rc1"' in edit(WHOLE, plain="2.0.0-rc.1")


def test_windows_line_ends_stay():
    text = WHOLE.replace("\n", "\r\n")
    assert edit(text, "1.5.0", core="2.0.0") == edit(WHOLE, "1.5.0", core="2.0.0").replace("\n", "\r\n")


def test_poetry_has_tables_of_its_own():
    found = read_pyproject(POETRY, "pyproject.toml")
    assert (found.name, str(found.version)) == ("api", "1.0.0")
    assert {each.dependency for each in found.requirements} == {
        Dependency("core", "^1.2"),
        Dependency("navi", "~1.2"),
        Dependency("here", "@ ../here"),
        Dependency("many", "^1.0"),
        Dependency("many", "^1.1"),
        Dependency("core", ">=1.0,<2", "devDependencies"),
    }
    new = edit(POETRY, "1.1.0", core="2.0.0", navi="1.3.0", many="2.0.0-beta.1")
    assert changed(POETRY, new) == [
        'version = "1.1.0"',
        'core = "^2.0.0"   # caret',
        'navi = { version = "~1.3.0", extras = ["x"] }',
        'many = [ { version = "^2.0.0b1", python = "<3.12" }, { version = "^2.0.0b1", python = ">=3.12" } ]',
        'core = ">=2.0.0,<3"',
    ]


NAME = st.sampled_from(["core", "Navi_Core", "a.b"])
SPECIFIER = st.sampled_from(["", ">=1.2", " >= 1.2 , < 2", "~=1.4", "==1.*", "(>=1,<2)", "[x, y]>=1", "[x] (==1.2.3)"])
MARKER = st.sampled_from(["", "; python_version > '3.8'", ' ;extra == "a;b"', " ; os_name == 'nt' # no"])
STYLE = st.sampled_from([("[", ", ", "]"), ("[\n  ", ",\n  ", "\n]"), ("[ # first\n\t", ", # one\n\t", ", # last\n]")])


@given(
    entries=st.lists(st.tuples(NAME, SPECIFIER, MARKER), min_size=1, max_size=4), style=STYLE, version=st.integers(2, 9)
)
def test_any_list_of_requirements_is_edited_in_its_own_style(entries, style, version):
    opened, between, closed = style
    quoted = [f"'{one}'" if '"' in one else f'"{one}"' for one in map("".join, entries)]
    text = f'[project]\nname = "x"\nversion = "1.0"\ndependencies = {opened}{between.join(quoted)}{closed}\n'
    new = edit(text, None, core=f"{version}.1.0", **{"navi-core": f"{version}.1.0", "a-b": f"{version}.1.0"})
    before, after = tomllib.loads(text)["project"], tomllib.loads(new)["project"]
    assert {**before, "dependencies": 0} == {**after, "dependencies": 0}
    for (name, _, marker), one in zip(entries, after["dependencies"], strict=True):
        assert one.startswith(name)
        assert one.endswith(marker)
    for each in read_pyproject(new, "x").requirements:
        assert Python().satisfies(f"{version}.1.0", each.dependency.range)
    assert len(new.split("\n")) == len(text.split("\n"))
    assert [new.count(each) for each in ("# first", "# one", "# last")] == [
        text.count(each) for each in ("# first", "# one", "# last")
    ]


DYNAMIC = '[project]\nname = "my-api"\ndynamic = ["version"]\n'
PLACES = {
    "hatch": (
        '[tool.hatch.version]\npath = "a/__init__.py"',
        "a/__init__.py",
        '"""Doc."""\n__version__ = "1.0rc1"  # so\n',
    ),
    "hatch pattern": (
        "[tool.hatch.version]\npath = \"v.txt\"\npattern = '^release (?P<version>.+)$'",
        "v.txt",
        "x\nrelease 1.0rc1\n",
    ),
    "setuptools file": ('[tool.setuptools.dynamic]\nversion = {file = "VERSION"}', "VERSION", "1.0rc1\n"),
    "setuptools attr": (
        '[tool.setuptools.dynamic]\nversion = {attr = "a.b.number"}',
        "src/a/b/__init__.py",
        "number: str = '1.0rc1'\n",
    ),
    "pdm": ('[tool.pdm.version]\nsource = "file"\npath = "a.py"', "a.py", "__version__='1.0rc1'\n"),
    "flit": ('[build-system]\nbuild-backend = "flit_core.buildapi"', "my_api.py", '__version__ = "1.0rc1"\n'),
}


@pytest.mark.parametrize(("tables", "path", "module"), PLACES.values(), ids=PLACES)
def test_a_dynamic_version_stands_in_the_file_that_the_backend_names(tables, path, module):
    text = f"{DYNAMIC}{tables}\n"
    found = read_pyproject(text, "pyproject.toml")
    place = next(each for each in found.version_in if each.path == path)
    assert found.version is None
    assert read_assigned(module, place, path) == "1.0.0-rc.1"
    assert edited_assigned(module, place, path, "1.1.0-beta.2") == module.replace("1.0rc1", "1.1.0b2")
    assert Python(dynamic=True).edited(text, "pyproject.toml", "1.1.0", ()) == text


def test_our_own_version_is_found(request):
    root = request.config.rootpath
    found = read_pyproject((root / "pyproject.toml").read_text(), "pyproject.toml")
    text = (root / found.version_in[0].path).read_text()
    assert found.name == "crossfade"
    assert f'"{read_assigned(text, found.version_in[0], "__init__.py")}"' in text


BROKEN = {
    "no TOML": ('[project]\nname = "a"\nversion = \n', "versions.bad-toml", "p.toml:3", "repair"),
    "no name": ("[tool.ruff]\nline-length = 1\n", "versions.no-name", "p.toml", "[project]"),
    "no version": ('[project]\nname = "a"\n', "versions.no-version", "p.toml", "0.0.0"),
    "a post-release": ('[project]\nname = "a"\nversion = "1.0.post1"\n', "versions.bad-version", "p.toml:3", "correct"),
    "a bad requirement": (
        '[project]\nname = "a"\nversion = "1"\ndependencies = [\n  "b",\n  "core >> 2",\n]\n',
        "versions.bad-range",
        "p.toml:6",
        "core[fast]>=1.2,<2",
    ),
    "from git": (f"{DYNAMIC}[tool.setuptools_scm]\n", "versions.dynamic", "p.toml", "without `dynamic`"),
    "from nowhere": (DYNAMIC, "versions.dynamic", "p.toml", "without `dynamic`"),
    "a bad pattern": (
        f'{DYNAMIC}[tool.hatch.version]\npath = "a"\npattern = "("\n',
        "versions.dynamic",
        "p.toml",
        "correct the pattern",
    ),
}


@pytest.mark.parametrize(("text", "code", "where", "hint"), BROKEN.values(), ids=BROKEN)
def test_what_cannot_be_read_is_told_with_file_and_line(text, code, where, hint):
    with pytest.raises(BadInputError) as caught:
        read_pyproject(text, "p.toml")
    assert (caught.value.code, caught.value.where) == (code, where)
    assert hint in caught.value.next


def test_a_version_that_python_cannot_say_is_refused_before_anything_is_written():
    with pytest.raises(BadInputError, match=r"1\.5\.0-next\.0 has no counterpart") as caught:
        edit(WHOLE, "1.5.0-next.0")
    assert (caught.value.code, caught.value.where) == ("versions.no-pep440", "pyproject.toml")
    with pytest.raises(BadInputError, match="no counterpart"):
        Python().raised(">=1", "1.5.0-next.0", Bump.MINOR)


def test_version_files():
    assert read_version_file("v1.2.3\n", "VERSION") == "1.2.3"
    assert VersionFile().edited("v1.2.3\r\n", "VERSION", "1.3.0-rc.1", ()) == "v1.3.0-rc.1\r\n"
    assert VersionFile().edited("\ufeff1.2.3", "VERSION", "1.3.0", ()) == "\ufeff1.3.0"
    assert VersionFile().satisfies("1.3.0", "^1.2")
    for text, what in [("", "one version"), ("1.2.3\n1.2.4\n", "one version"), ("1.2\n", "2 of 3 numbers")]:
        with pytest.raises(BadInputError, match=what) as caught:
            read_version_file(text, "svc/VERSION")
        assert caught.value.where == "svc/VERSION:1"
    with pytest.raises(BadInputError, match=r"no version in a\.py"):
        read_assigned("x = 1", VersionPlace("a.py", r"v=(?P<version>\d)"), "a.py")


@given(versions=st.dictionaries(st.from_regex(r"\A[a-z][a-z-]{0,6}\Z"), st.just("1.2.3"), max_size=5))
def test_a_ledger_comes_back_sorted(versions):
    text = write_ledger(versions)
    assert read_ledger(text) == versions
    assert text == write_ledger(dict(reversed(versions.items())))


@pytest.mark.parametrize(
    ("text", "code", "line"),
    [
        ('{\n  "a": "1.0.0",\n  "a": "1.1.0"\n}', "versions.ledger", 3),
        ('{\n  "a": 1\n}', "versions.bad-version", 2),
        ('{\n  "b": "1.0.0",\n\n  "a": "1.0"\n}', "versions.bad-version", 4),
        ('{\n  "a": "1.0.0",\n<<<<<<< HEAD\n}', "versions.bad-json", 3),
    ],
)
def test_a_broken_ledger_is_told_with_its_line(text, code, line):
    assert read_ledger(None) == {}
    with pytest.raises(BadInputError) as caught:
        read_ledger(text)
    assert (caught.value.code, caught.value.where) == (code, f".changeset/versions.json:{line}")
