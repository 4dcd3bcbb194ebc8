"""Repositories made up from a seed, with what is done in them; the same seed makes the same repository."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field
from typing import Any

NOW = 1_763_712_345_678
TOOLS = {
    "npm": {"package-lock.json": "{}\n"},
    "yarn": {"yarn.lock": ""},
    "bun": {"bun.lock": ""},
    "pnpm": {"pnpm-workspace.yaml": 'packages:\n  - "packages/*"\n  - "apps/**"\n'},
    "lerna": {"lerna.json": '{"packages": ["packages/*", "apps/*"]}'},
}
SUMMARIES = (
    "Fix the thing.",
    "New events.\n\nWith details:\n\n- one\n- two  \n\n```js\nlet a = 1;\n```",
    "",
    "Ünïcode – and `code` & <tags>",
    "Two\nlines",
    "  padded  ",
    "With a rule\n\n---\n\nbelow",
)


@dataclass
class Case:
    """What stands in a repository at first, and the steps that are taken in it."""

    name: str
    steps: list[dict[str, Any]] = field(default_factory=list)
    git: bool = False


@dataclass
class Made:
    """A package that was made up."""

    name: str
    folder: str
    version: str | None
    manifest: dict[str, Any] = field(default_factory=dict)


class Maker:
    """Makes up one repository."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.seed = seed
        self.files: dict[str, str] = {}
        self.packages: list[Made] = []
        self.written = 0

    def case(self) -> Case:
        r = self.random
        scenario = r.choice(["version"] * 6 + ["twice", "pre", "pre", "pre", "snapshot", "ignore", "status", "shape"])
        uses_git = scenario == "status" or r.random() < 0.15
        self.repository()
        config = self.config(commit=uses_git and r.random() < 0.15)
        self.files[".changeset/config.json"] = json.dumps(config, indent=2)
        if r.random() < 0.3:
            self.files[".changeset/README.md"] = "# Changesets\n\nnot one\n"
            self.files[".changeset/.hidden.md"] = "not one either"
            self.files[".changeset/AGENTS.md"] = "for programs"
        case = Case(f"{self.seed}-{scenario}", git=uses_git)
        self.add(case, {"do": "write", "files": self.files})
        if uses_git:
            case.steps.append({"do": "git", "commands": [["init", "-q", "-b", "main"], *commit("start")]})
        getattr(self, f"_{scenario}")(case)
        return case

    def add(self, case: Case, step: dict[str, Any]) -> None:
        case.steps.append(step)
        if (
            case.git
            and step["do"] in {"write", "version", "pre"}
            and len(case.steps) > 2
            and self.random.random() < 0.5
        ):
            case.steps.append({"do": "git", "commands": commit(f"step {len(case.steps)}")})

    # --- what is done ---

    def _version(self, case: Case) -> None:
        self.add(case, {"do": "write", "files": self.changesets(self.random.choice([0, 1, 1, 2, 3, 5, 8]))})
        self.add(case, version())

    def _twice(self, case: Case) -> None:
        self._version(case)
        self._version(case)

    def _ignore(self, case: Case) -> None:
        self.add(case, {"do": "write", "files": self.changesets(2)})
        names = [each.name for each in self.packages]
        ignored = self.random.sample(names, min(len(names), self.random.choice([1, 2])))
        self.add(case, version(ignore=[*ignored, *(["nobody"] if self.random.random() < 0.1 else [])]))

    def _snapshot(self, case: Case) -> None:
        self.add(case, {"do": "write", "files": self.changesets(self.random.choice([1, 3]))})
        options: dict[str, Any] = {"snapshot": self.random.choice([True, "canary", "pr-12"])}
        if self.random.random() < 0.4:
            options["snapshotPrereleaseTemplate"] = self.random.choice(
                ["{tag}-{timestamp}", "{datetime}", "plain"]
                # Without git the real one makes a version that is none.
                + (["{commit-short}.{tag}", "{tag}.{commit}"] if case.git else [])
            )
        self.add(case, version(**options))

    def _pre(self, case: Case) -> None:
        r = self.random
        self.add(case, {"do": "pre", "command": "enter", "tag": "next"})
        for _ in range(r.choice([1, 2, 3])):
            self.add(case, {"do": "write", "files": self.changesets(r.choice([0, 1, 1, 2, 3]))})
            self.add(case, version(snapshot=True) if r.random() < 0.05 else version())
        if r.random() < 0.1:
            self.add(case, {"do": "pre", "command": "enter", "tag": "beta"})
        if r.random() < 0.9:
            self.add(case, {"do": "pre", "command": "exit", "tag": None})
            if r.random() < 0.2:
                self.add(case, {"do": "pre", "command": "enter", "tag": "beta"})
                self.add(case, {"do": "write", "files": self.changesets(1)})
            elif r.random() < 0.2:
                self.add(case, version(snapshot="late"))
            self.add(case, version())
            self.add(case, {"do": "pre", "command": "exit", "tag": None})

    def _shape(self, case: Case) -> None:
        """Pre mode as the second version of changesets kept it."""
        files = self.changesets(3)
        used = [name.removeprefix(".changeset/").removesuffix(".md") for name in files][:2]
        state = {
            "mode": "pre",
            "tag": "rc",
            "initialVersions": {each.name: each.version or "0.0.0" for each in self.packages},
            "changesets": [*used, "gone"],
        }
        self.add(case, {"do": "write", "files": {**files, ".changeset/pre.json": json.dumps(state, indent=2) + "\n"}})
        self.add(case, {"do": "pre", "command": "exit", "tag": None})
        self.add(case, version())

    def _status(self, case: Case) -> None:
        r = self.random
        case.steps.append({"do": "git", "commands": [["checkout", "-q", "-b", "work"]]})
        touched = {
            f"{r.choice(self.packages).folder}/src/new{number}.ts": "x\n" for number in range(r.choice([0, 1, 2]))
        }
        self.add(case, {"do": "write", "files": {**touched, **self.changesets(r.choice([0, 0, 1, 2]), plain=True)}})
        case.steps.append({"do": "git", "commands": commit("work")})
        since = r.choice([None, "main", "HEAD~1", "nowhere"])
        self.add(case, {"do": "status", "options": {"since": since} if since else {}})
        self.add(case, version())

    # --- what stands there ---

    def repository(self) -> None:
        r = self.random
        tool = r.choice([*TOOLS, "npm", "pnpm", "root"])
        count = 1 if tool == "root" else r.choice([1, 2, 3, 4, 5, 6, 9])
        for number in range(count):
            short = "abcdefghi"[number]
            name = f"@acme/{short}" if r.random() < 0.3 else f"pkg-{short}"
            folder = "." if tool == "root" else f"{r.choice(['packages', 'packages', 'apps'])}/{short}"
            version = None if r.random() < 0.03 else self.version()
            self.packages.append(Made(name, folder, version))
        for made in self.packages:
            made.manifest = self.manifest(made)
        if tool != "root":
            top: dict[str, Any] = {"name": "top", "private": True, "version": "1.0.0"}
            if r.random() < 0.2:
                del top["name"]
            patterns = r.choice(
                [
                    ["packages/*", "apps/*"],
                    ["packages/*", "apps/**"],
                    ["{packages,apps}/*"],
                    ["./packages/*", "apps/*/"],
                ]
            )
            if tool in {"npm", "yarn", "bun"}:
                top["workspaces"] = {"packages": patterns} if tool != "npm" and r.random() < 0.3 else patterns
            # Without a name at the top the real one fails to tell of a range there that does not hold.
            if r.random() < 0.4 and "name" in top:
                top["devDependencies"] = {self.packages[0].name: self.range(self.packages[0])}
            self.files["package.json"] = self.as_json(top)
            self.files.update(TOOLS[tool])
            if r.random() < 0.2:
                self.files["packages/node_modules/x/package.json"] = '{"name": "x", "version": "1.0.0"}'
                self.files["packages/empty/readme.txt"] = "no package"
        for made in self.packages:
            prefix = "" if made.folder == "." else f"{made.folder}/"
            self.files[f"{prefix}package.json"] = self.as_json(made.manifest)
            changelog = self.changelog(made)
            if changelog is not None:
                self.files[f"{prefix}CHANGELOG.md"] = changelog

    def version(self) -> str:
        r = self.random
        if r.random() < 0.06:
            return r.choice(["2.0.0-next.1", "1.0.0-beta.0", "1.2.3-alpha.7", "1.0.0+build.5"])
        return r.choice(["0.0.1", "0.1.0", "0.3.7", "1.0.0", "1.0.0", "1.2.3", "2.1.0", "10.0.4"])

    def manifest(self, made: Made) -> dict[str, Any]:
        r = self.random
        found: dict[str, Any] = {"name": made.name}
        if made.version is not None:
            found["version"] = made.version
        if r.random() < 0.12:
            found["private"] = True
        if r.random() < 0.3:
            found["description"] = r.choice(['a "quoted" – text', "version", '{"version": "0"}'])
        own = self.packages.index(made)
        others = [each for each in self.packages if each is not made]
        for each in others:
            backwards = self.packages.index(each) > own
            if r.random() < (0.04 if backwards else 0.45):
                kind = r.choice(
                    ["dependencies"] * 5
                    + [
                        "devDependencies",
                        "devDependencies",
                        "peerDependencies",
                        "peerDependencies",
                        "optionalDependencies",
                    ]
                )
                found.setdefault(kind, {})[each.name] = self.range(each)
                if kind == "peerDependencies" and r.random() < 0.5:
                    found.setdefault("devDependencies", {})[each.name] = self.range(each)
        if r.random() < 0.4:
            found.setdefault("dependencies", {})["left-pad"] = "^1.0.0"
        if r.random() < 0.3:
            found["exports"] = {".": {"version": "9.9.9"}, "dependencies": {"pkg-a": "1"}}
        if r.random() < 0.2:
            items = list(found.items())
            r.shuffle(items)
            found = dict(items)
        return found

    def range(self, of: Made) -> str:
        r = self.random
        if of.version is None:  # the real one fails to tell of any other range of what has no version
            return r.choice(["workspace:*", "latest"])
        now = of.version
        major, minor, *_ = now.split("-")[0].split("+")[0].split(".")
        if r.random() < 0.6:
            return r.choice([f"^{now}", f"^{now}", f"~{now}", now, "workspace:*", "workspace:^"])
        return r.choice(
            [
                f">={now}", f">={now} <{int(major) + 1}.0.0", f"<{int(major) + 1}.0.0 >={now}", "*", "x", f"{major}.x",
                f"{major}", f"^{major}.{minor}", "workspace:~", f"workspace:^{now}", f"workspace:{now}", f"workspace:~{now}",
                f"workspace:{of.folder}", f"workspace:./{of.folder}", "workspace:nowhere", f"file:../{of.folder}",
                f"link:../{of.folder}", "npm:other@^1.0.0", "latest", "^99.0.0", f"<={now}", ">0.0.0", f"^{now} || ^99.0.0",
                "", f"{now} - 99", f"v{now}", f"={now}", f"> {major}", "https://example.test/x.tgz", "workspace:",
                f"^{now} ", f"~{major}.{minor}.x", ">=0.0.0", "workspace:x", "^0.0.0-0",
            ]
        )  # fmt: skip

    def as_json(self, found: dict[str, Any]) -> str:
        r = self.random
        indent = r.choice([2, 2, 2, 4, "\t", None])
        text = json.dumps(found, indent=indent, ensure_ascii=r.random() < 0.3)
        if r.random() < 0.15:
            text = text.replace("\n", "\r\n")
        if r.random() < 0.1:
            text = text.replace('": ', '"  :  ')
        return text + r.choice(["\n", "\n", "", "\n\n"])

    def changelog(self, made: Made) -> str | None:
        return self.random.choice(
            [
                None, None, "", f"# {made.name}\n\n## 0.0.1\n\n### Patch Changes\n\n- old\n", f"# {made.name}\n",
                f"# {made.name}", "# Changes\n\nA preface.\n\n### 1.0.0 (2020-01-01)\n\n- old\n", "no heading\nat all\n",
                f"# {made.name}\r\n\r\n## 0.0.1\r\n\r\n- old\r\n", "## 1.0\n",
            ]
        )  # fmt: skip

    def config(self, *, commit: bool) -> dict[str, Any]:  # noqa: C901, PLR0912 - one line for each setting
        r = self.random
        names = [each.name for each in self.packages]
        config: dict[str, Any] = {"baseBranch": "main"}
        if r.random() < 0.12:
            config["changelog"] = r.choice(
                [False, False, "@changesets/changelog-git", ["@changesets/cli/changelog", None]]
            )
        if r.random() < 0.5:
            config["format"] = False
        if commit:
            config["commit"] = r.choice([True, "@changesets/cli/commit", ["@changesets/cli/commit", {"skipCI": True}]])
        if r.random() < 0.2 and len(names) > 1:
            config["fixed"] = [r.sample(names, r.choice([2, min(3, len(names))]))]
        if r.random() < 0.2 and len(names) > 1:
            free = [name for name in names if name not in config.get("fixed", [[]])[0] or r.random() < 0.1]
            config["linked"] = [r.sample(free, min(len(free), r.choice([2, 3])))] if free else []
        if r.random() < 0.08:
            config[r.choice(["fixed", "linked"])] = r.choice(
                [[["pkg-*"]], [["@acme/*", "pkg-a"]], [["nothing-*"]], [["*", "!pkg-b"]]]
            )
        if r.random() < 0.15:
            config["ignore"] = r.choice([[names[-1]], [r.choice(names)], ["@acme/*"], ["pkg-*", "!pkg-a"]])
        if r.random() < 0.2:
            config["updateInternalDependencies"] = r.choice(["minor", "patch"])
        if r.random() < 0.6:
            config["privatePackages"] = r.choice(
                [
                    True,
                    False,
                    {"version": True},
                    {"version": True, "tag": True},
                    {"version": False, "tag": True} if r.random() < 0.1 else {},
                ]
            )
        if r.random() < 0.12:
            config["bumpVersionsWithWorkspaceProtocolOnly"] = True
        if r.random() < 0.25:
            config["snapshot"] = r.choice(
                [
                    {"useCalculatedVersion": True},
                    {"prereleaseTemplate": "{tag}-{timestamp}"},
                    {"useCalculatedVersion": True, "prereleaseTemplate": "{datetime}"},
                ]
            )
        if r.random() < 0.3:
            unsafe: dict[str, Any] = {}
            if r.random() < 0.5:
                unsafe["onlyUpdatePeerDependentsWhenOutOfRange"] = True
            if r.random() < 0.5:
                unsafe["updateInternalDependents"] = "always"
            config["___experimentalUnsafeOptions_WILL_CHANGE_IN_PATCH"] = unsafe
        if r.random() < 0.03:
            config.update(
                r.choice(
                    [
                        {"access": "nobody"},
                        {"updateInternalDependencies": "major"},
                        {"ignore": "pkg-a"},
                        {"fixed": ["pkg-a"]},
                        {"changelog": True},
                        {"commit": 1},
                        {"snapshot": {"prereleaseTemplate": ""}},
                    ]
                )
            )
        return config

    def changesets(self, count: int, *, plain: bool = False) -> dict[str, str]:
        r = self.random
        found = {}
        for _ in range(count):
            self.written += 1
            # With --since the real one does not see names that git quotes.
            first = r.choice(["calm", "Zed", "brave", "élan", "9"] if not plain else ["calm", "Zed"])
            name = f"{first}-{self.written}"
            found[f".changeset/{name}.md"] = self.changeset()
        return found

    def changeset(self) -> str:
        r = self.random
        if r.random() < 0.012:
            return r.choice(
                [
                    "",
                    "no front matter\n",
                    "---\npkg-a: huge\n---\n\nx\n",
                    "---\n- a\n---\nx\n",
                    '---\n"pkg-a": patch\n',
                    '---\n"pkg-a": [\n---\nx',
                ]
            )
        names = [each.name for each in self.packages] + (["stranger"] if r.random() < 0.01 else [])
        chosen = r.sample(names, min(len(names), r.choice([0, 1, 1, 1, 1, 2, 3])))
        quote = r.choice(['"', '"', "'"])
        lines = [f"{quote}{name}{quote}: {r.choice(['major', 'minor', 'patch', 'patch', 'none'])}" for name in chosen]
        if r.random() < 0.05:
            lines = ["# a comment", *(line.replace(": ", ":   ") + "  # why" for line in lines)]
        if chosen and r.random() < 0.05:
            lines = ["{" + ", ".join(lines) + "}"]
        text = "---\n" + "".join(f"{line}\n" for line in lines) + f"---\n\n{r.choice(SUMMARIES)}\n"
        if r.random() < 0.08:
            text = text.replace("\n", "\r\n")
        return text


def version(**options: Any) -> dict[str, Any]:
    return {"do": "version", "now": NOW, "options": options}


def commit(message: str) -> list[list[str]]:
    return [["add", "-A"], ["commit", "-q", "--allow-empty", "-m", message]]
