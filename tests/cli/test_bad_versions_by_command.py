"""What cannot be versioned is refused with its place and what to do next; every file stays as it was."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from monorepo import CONFIG, SHOP, WORKSPACE, Monorepo

from patience import PATIENCE

CHANGE = ".changeset/calm.md"
FAULTS = {
    "a cycle in manifests": (
        "packages/core/package.json",
        '{\n  "name": "@shop/core",\n  "version": "1.0.0",\n  "dependencies": {"web": "^1.0.0"}\n}\n',
        "@shop/core → web → @shop/core",
        "packages/core/package.json:4, crossfade.yaml:4",
    ),
    "a changeset that names nothing there is": (
        CHANGE, '---\n"billing": patch\n"croe": minor\n---\n\nEvents.\n', "'croe'", f"{CHANGE}:3"
    ),
    "a component twice, by both of its names": (
        CHANGE, '---\n"core": minor\n"@shop/core": patch\n---\n\nEvents.\n', "the same package", f"{CHANGE}:3"
    ),
    "a changeset without front matter": (CHANGE, "Events.\n", "there is no front matter", f"{CHANGE}:1"),
    "broken YAML in a changeset": (CHANGE, '---\n"core": [\n---\n', "no YAML", f"{CHANGE}:"),
    "a bump that is none": (CHANGE, '---\n"core": huge\n---\n', "'huge'", f"{CHANGE}:2"),
    "a manifest that is no JSON": (
        "packages/core/package.json", '{\n  "name": "@shop/core"\n  "version": "1.0.0"\n}\n', "", "packages/core/package.json:3"
    ),
    "a manifest that is no TOML": (
        "api/pyproject.toml", '[project]\nname = "shop-api\n', "", "api/pyproject.toml:2"
    ),
    "a version that is none": ("gateway/VERSION", "one\n", "", "gateway/VERSION:1"),
    "a ledger that is no JSON": (".changeset/versions.json", '{\n  "billing" "1.0.0"\n}\n', "", ".changeset/versions.json:2"),
    "a notice that is no JSON": (".changeset/notices/api-v2.json", "{\n", "", ".changeset/notices/api-v2.json:2"),
    "crossfade.yaml that is no YAML": ("crossfade.yaml", "project: shop\ncomponents: [\n", "", "crossfade.yaml:"),
    "a bad range": (
        "crossfade.yaml", CONFIG.replace("{api: ^1.0.0}", '{api: "one or two"}'), "no range of versions", "crossfade.yaml:6"
    ),
    "a range that today's version is not in": (
        "crossfade.yaml", CONFIG.replace("{api: ^1.0.0}", "{api: ^3.0.0}"), "api is at 1.0.0", "crossfade.yaml:6"
    ),
    "a cycle": (
        "crossfade.yaml",
        CONFIG.replace("source: packages/core", 'source: {path: packages/core, needs: {gateway: "^1.0.0"}}'),
        "@shop/core → gateway → api → @shop/core",
        "crossfade.yaml:3, crossfade.yaml:6, crossfade.yaml:5",
    ),
    "a need that nobody has": (
        "crossfade.yaml", CONFIG.replace("{api: ^1.0.0}", "{appi: ^1.0.0}"), "appi", "crossfade.yaml:6"
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Monorepo:
    """One shop for every fault; each is taken back."""
    made = Monorepo(tmp_path_factory.mktemp("shop"), SHOP)
    made.changeset("core: minor", summary="Events.", name="calm")
    made.commit("events")
    return made


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_told_with_its_place(shop: Monorepo, fault: str) -> None:
    file, text, says, where = FAULTS[fault]
    shop.write({file: text})
    try:
        shop.refused("version", says=says, where=where)
    finally:
        shop.git("checkout", "-q", ".")
        shop.git("clean", "-fdq")


def test_a_workspace_of_changesets_alone_tells_its_faults(tmp_path: Path) -> None:
    workspace = Monorepo(tmp_path, WORKSPACE)
    workspace.changeset("@shop/a: minor", "c: patch", summary="More.", name="calm")
    workspace.refused("version", says="'c'", where=".changeset/calm.md:3")
    workspace.refused("change", "status", says="'c'", where=".changeset/calm.md:3")
    workspace.changeset("@shop/a: minor", summary="More.", name="calm")
    workspace.write({"packages/b/package.json": '{\n  "name": "b",\n'})
    workspace.refused("version", says="", where="packages/b/package.json:")
    workspace.git("checkout", "-q", ".")
    workspace.write(
        {
            "packages/a/package.json": '{\n  "name": "@shop/a",\n  "version": "1.0.0", "dependencies": {"b": "^1.0.0"}\n}\n'
        }
    )
    assert workspace.run("version").code == 0  # changesets has nothing against a cycle


def test_outside_of_any_repository_it_says_where_it_looked(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "crossfade.cli.main", "version"],
        cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert str(tmp_path) in done.stderr
    assert "  next:  " in done.stderr


def test_somebody_who_changed_a_half_written_file_decides(tmp_path: Path) -> None:
    shop = Monorepo(tmp_path, SHOP)
    shop.changeset("core: minor", summary="Events.")
    script = "import os\nfrom crossfade.versioning import writing\nwriting._put = lambda *_: os.kill(os.getpid(), 9)"
    assert shop.run("version", script=script).code == -9
    shop.write({"packages/core/package.json": '{"name": "@shop/core", "version": "7.0.0"}\n'})
    for command in (("version",), ("change", "pre", "enter", "rc")):
        shop.refused(*command, says="was changed while versions were being written", where="packages/core/package.json")
    shop.write({".changeset/.versions.json": "{"})
    shop.refused("version", says="the note of an unfinished run cannot be read", where=".changeset/.versions.json")


def test_what_cannot_be_written_is_told(tmp_path: Path) -> None:
    shop = Monorepo(tmp_path, SHOP)
    shop.changeset("core: minor", summary="Events.")
    changelog = tmp_path / "packages" / "core" / "CHANGELOG.md"
    changelog.symlink_to("/dev/null/nowhere")
    half = shop.run("version")
    assert half.code == 7
    assert "packages/core/CHANGELOG.md" in half.err
    assert "then `crossfade version` goes on" in half.err
    assert '"1.1.0"' in shop.text("packages/core/package.json")
    changelog.unlink()
    assert shop.run("version").code == 0
    assert "Events." in shop.text("packages/core/CHANGELOG.md")

    notices = tmp_path / ".changeset" / "notices"
    notices.write_text("")
    shop.refused("change", "notice", "api", "2", "--how", "a mail", says="it cannot be written")
    notices.unlink()
    shop.refused("change", "notice", "api", "2", "--how", " ", says="a notice says how users were told")
    (tmp_path / ".changeset" / ".versions.json.new").mkdir()
    shop.changeset("core: minor", summary="More.")
    shop.refused("version", says="nothing was changed")
    shutil.rmtree(tmp_path / ".changeset")
    (tmp_path / ".changeset").write_text("")
    shop.refused("change", "add", "--minor", "core", "-m", "x", says="it cannot be written", where=".changeset/")


def test_a_tag_that_no_version_can_have_is_refused(tmp_path: Path) -> None:
    workspace = Monorepo(tmp_path, WORKSPACE)
    workspace.changeset("b: minor", summary="More.")
    workspace.refused("change", "pre", "enter", "next!", says="'next!' cannot stand in a version")
    workspace.refused("version", "--snapshot", "feature/x", says="'feature/x' cannot stand in a version")
    workspace.refused("version", "--snapshot", "x", "--template", "{tag}-{day}", says="the words are {tag}, {commit}")


def test_help_imports_nothing_that_versions_are_made_with() -> None:
    script = "import sys\nfrom crossfade.cli.main import main\nmain(sys.argv[1:])\nprint('@@', *sys.modules)"
    for arguments in (["--help"], ["version", "--help"], ["change", "add", "--help"]):
        done = subprocess.run(
            [sys.executable, "-c", script, *arguments], capture_output=True, text=True, timeout=PATIENCE, check=True
        )
        loaded = done.stdout.partition("@@ ")[2].split()
        assert "crossfade.cli.app" in loaded
        assert not [
            name for name in loaded if name.startswith(("crossfade.versioning", "crossfade.config.model", "jinja2"))
        ]
