"""A version map gets its entry and nothing else changes: real Node evaluates what was edited."""

import itertools
import json
import subprocess
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossfade.config.publishing import VersionMap
from crossfade.core.errors import BadInputError
from crossfade.core.semver import SemVer
from crossfade.versioning.maps import MapEntry, add_entry, map_entry, remove_entry

NEW = MapEntry("1.3.0", "v1.3.0")
GUIDE = """\
// packages/navi-js/src/shared.ts
const CDN_VERSION_MAP = {
  "1.0.0": "v1.0.0",
  "1.1.0": "v1.1.0",
  "1.2.0": "v1.2.0", // ← Added during release
  "2.0.0": "v2.0.0", // ← Future major version
};
"""
EVALUATE = """
const { stripTypeScriptTypes } = require("node:module");
process.removeAllListeners("warning");
const read = (text) => new Function(stripTypeScriptTypes(text.replaceAll("export ", "")) + "; return CDN_VERSION_MAP;")();
const cases = JSON.parse(require("node:fs").readFileSync(0, "utf8"));
console.log(JSON.stringify(cases.map((text) => Object.entries(read(text)))));
"""


def add(text, entry=NEW, file="src/shared.ts", name="CDN_VERSION_MAP"):
    return add_entry(text, entry, file=file, name=name)


def remove(text, entry=NEW, file="src/shared.ts", name="CDN_VERSION_MAP"):
    return remove_entry(text, entry, file=file, name=name)


def evaluate(node, texts):
    """The entries of CDN_VERSION_MAP in each text, as the real engine has them."""
    done = subprocess.run(
        [node, "--no-warnings", "-e", EVALUATE], input=json.dumps(texts), capture_output=True, text=True, check=True
    )
    return [[tuple(pair) for pair in each] for each in json.loads(done.stdout)]


def test_the_map_of_the_guide_gets_its_entry_in_order():
    line = '  "1.3.0": "v1.3.0",\n'
    before, after = GUIDE.split('  "2.0.0"')
    assert add(GUIDE) == f'{before}{line}  "2.0.0"{after}'
    assert add(add(GUIDE)) == add(GUIDE)
    assert remove(add(GUIDE)) == GUIDE
    assert remove(GUIDE) == GUIDE


def styles():
    """Every way in which people write such a map, by what differs."""
    wrappers = [
        ("const CDN_VERSION_MAP = ", ";"),
        ("export const CDN_VERSION_MAP: Record<string, string> = ", " as const;"),
        ("let CDN_VERSION_MAP: { readonly [version: string]: string } = Object.freeze(", ");"),
        ("var CDN_VERSION_MAP = (", ") satisfies Record<string, string>"),
        (
            "// CDN_VERSION_MAP = {}\nconst other = `CDN_VERSION_MAP = {${'}'}`, re = /[/'\"{]/g;\nconst CDN_VERSION_MAP = ",
            "",
        ),
    ]
    entries = [
        [],
        ['"1.0.0": "v1.0.0"'],
        ["'1.0.0': 'v1.0.0'", "'2.0.0': 'v2.0.0'"],
        ['"2.0.0": "v2.0.0"', '"1.0.0": "v1.0.0"'],
        ["latest: 'v9'", '"1.0.0": `v1.0.0`', "...{ x: 'y' }"],
        ["['1.0.0']: 'v' + '1.0.0'"],
    ]
    layouts = [
        lambda each, comma: "{ " + ", ".join(each) + comma + " }" if each else "{}",
        lambda each, comma: (
            "{\n" + "".join(f"  {one}{',' if comma or one is not each[-1] else ''}\n" for one in each) + "}"
        ),
        lambda each, comma: (
            "{\r\n\t/* first, a word */\r\n"
            + "".join(f"\t{one}{',' if comma or one is not each[-1] else ''} // it's, {{so}}\r\n" for one in each)
            + "\t// the end\r\n}"
        ),
        lambda each, _: "{" + "\n  , ".join(each) + "\n  }",
    ]
    for (before, after), each, layout, comma in itertools.product(wrappers, entries, layouts, ["", ","]):
        yield before + layout(each, comma if each else "") + after + "\n"


def test_node_finds_the_new_entry_beside_the_old_ones(require):
    texts = list(dict.fromkeys(styles()))
    node = require("node")
    before, after = evaluate(node, texts), evaluate(node, [add(text) for text in texts])
    assert len(texts) > 150
    for text, old, new in zip(texts, before, after, strict=True):
        assert [pair for pair in new if pair != NEW] == old, text
        assert NEW in new, text
    there_and_back = [remove(add(text)) for text in texts]
    kept = [one for one, other in zip(there_and_back, texts, strict=True) if one == other]
    # Only an empty object is written differently on the way back, when there was space in it.
    assert all(evaluate(node, [text]) == [[]] for text in set(texts) - set(kept))
    assert len(kept) > 150
    assert evaluate(node, there_and_back) == before


VERSIONS = st.builds(SemVer, st.integers(0, 3), st.integers(0, 12), st.integers(0, 3)).map(str)


@given(versions=st.lists(VERSIONS, unique=True, max_size=6), new=VERSIONS, indent=st.sampled_from([2, 4, "\t", None]))
def test_json_gets_one_entry_and_keeps_its_order(versions, new, indent):
    tree = {"a": [1, {"map": 2}], "cdn": {"map": {version: f"v{version}" for version in versions}}, "z": None}
    text = json.dumps(tree, indent=indent) + "\n"
    edited = add_entry(text, MapEntry(new, f"v{new}"), file="map.json", name="cdn.map")
    keys = list(json.loads(edited)["cdn"]["map"])
    assert [key for key in keys if key != new or new in versions] == versions
    assert json.loads(edited)["cdn"]["map"] == {**tree["cdn"]["map"], new: f"v{new}"}
    if versions == sorted(versions, key=lambda each: tuple(map(int, each.split(".")))):
        assert keys == sorted(keys, key=lambda each: tuple(map(int, each.split("."))))
    if new not in versions:
        assert remove_entry(edited, MapEntry(new, f"v{new}"), file="map.json", name="cdn.map") == text
        assert edited == json.dumps(json.loads(edited), indent=indent) + "\n" or not versions


TOML = st.sampled_from(
    [
        '# versions\n[cdn.map] # here\n{}\n[other]\n"1.3.0" = "no"\n',
        'title = "x"\n[cdn."map"]\n{}',
        '[[lists]]\nmap = 1\n\n[ cdn . map ]\n{}\n[cdn.after]\ntext = """\n[cdn.map]\n"""\n',
    ]
)


@given(
    template=TOML,
    versions=st.lists(VERSIONS, unique=True, min_size=1, max_size=5),
    new=VERSIONS,
    quote=st.sampled_from("\"'"),
)
def test_toml_gets_one_entry_and_keeps_every_byte(template, versions, new, quote):
    lines = "".join(f"{quote}{each}{quote} = {quote}v{each}{quote} # since\n" for each in versions)
    text = template.format(lines)
    entry = MapEntry(new, f"v{new}")
    edited = add_entry(text, entry, file="map.toml", name="cdn.map")
    table = tomllib.loads(edited)["cdn"]["map"]
    assert table == {**{each: f"v{each}" for each in versions}, new: f"v{new}"}
    if new not in versions:
        added = [line for line in edited.splitlines() if line not in text.splitlines()]
        assert len(added) == 1
        assert remove_entry(edited, entry, file="map.toml", name="cdn.map") == text


def test_toml_tables_in_braces_and_at_the_top():
    inline = 'map = { "1.0.0" = "v1.0.0" } # kept\nrest = 1\n'
    edited = add_entry(inline, NEW, file="map.toml", name="map")
    assert tomllib.loads(edited) == {"map": {"1.0.0": "v1.0.0", "1.3.0": "v1.3.0"}, "rest": 1}
    assert "# kept\nrest = 1\n" in edited
    assert tomllib.loads(remove_entry(edited, NEW, file="map.toml", name="map")) == tomllib.loads(inline)
    assert add_entry('"1.0.0" = "v1.0.0"', NEW, file="map.toml", name=".") == '"1.0.0" = "v1.0.0"\n"1.3.0" = "v1.3.0"'
    empty = add_entry("[map]\n", NEW, file="map.toml", name="map")
    assert empty == '[map]\n"1.3.0" = "v1.3.0"\n'


def test_a_whole_json_file_is_a_map_as_well():
    text = '{\n  "1.0.0": "v1.0.0"\n}\n'
    assert add_entry(text, NEW, file="map.json", name=".") == '{\n  "1.0.0": "v1.0.0",\n  "1.3.0": "v1.3.0"\n}\n'
    assert add_entry("{}", NEW, file="map.json", name=".") == '{\n  "1.3.0": "v1.3.0"\n}'


def test_words_of_the_settings_become_the_entry():
    settings = VersionMap(file="a.ts", name="MAP", of="loader", key="{major}.{minor}", value="/{name}/v{version}/{x}")
    assert map_entry(settings, "loader", SemVer(1, 2, 3, ("rc", "1"))) == ("1.2", "/loader/v1.2.3-rc.1/{x}")


def test_text_that_needs_escapes_is_escaped(require):
    entry = MapEntry('it\'s "x"\\`${y}', "line\nbreak\u2028")
    texts = [f"const CDN_VERSION_MAP = {{ {q}1.0.0{q}: {q}a{q} }}" for q in "'\""]
    edited = [add(text, entry) for text in texts]
    assert [dict(each)[entry.key] for each in evaluate(require("node"), edited)] == [entry.value] * 2
    assert [remove(text, entry) for text in edited] == texts
    assert [add(text, entry) for text in edited] == edited


FAULTS = {
    "another value": ('const MAP = {\n  "1.3.0": "v1",\n}', "a.ts", "versions.map-conflict", "a.ts:2", "by hand"),
    "an expression": ('const MAP = {\n\n  "1.3.0": v(1) }', "a.ts", "versions.map-conflict", "a.ts:3", "by hand"),
    "no map": ("const MAPS = {};\n", "a.ts", "versions.map-missing", "a.ts:1", "did you mean `MAPS`?"),
    "only used": ("use(MAP);", "a.ts", "versions.map-missing", "a.ts:1", "write it there"),
    "in a comment": ("// const MAP = {}\n", "a.ts", "versions.map-missing", "a.ts:1", "write it there"),
    "two maps": (
        "const MAP = {};\nfunction f() { const MAP = {}; }",
        "a.js",
        "versions.map-ambiguous",
        "a.js:2",
        "another",
    ),
    "a Map": (
        "\nconst MAP = new Map([['1.0.0', 'v1.0.0']]);",
        "a.ts",
        "versions.map-not-an-object",
        "a.ts:2",
        "object",
    ),
    "never closed": ('\nconst MAP = {\n "1.0.0": "v1"', "a.ts", "versions.map-syntax", "a.ts:2", "correct"),
    "open comment": ("const a = 1;\n/* MAP = {}", "a.ts", "versions.map-syntax", "a.ts:2", "correct"),
    "open template": ("const a = 1;\n\nconst b = `MAP", "a.ts", "versions.map-syntax", "a.ts:3", "correct"),
    "broken JSON": ('{\n  "MAP": {,}\n}', "a.json", "versions.map-syntax", "a.json:2", "correct"),
    "JSON without it": ('{\n "MAPS": {}}', "a.json", "versions.map-missing", "a.json:1", "did you mean `MAPS`?"),
    "a JSON list": ('{\n "MAP": []}', "a.json", "versions.map-not-an-object", "a.json:2", "object"),
    "JSON with another": ('{"MAP": {\n"1.3.0": 1}}', "a.json", "versions.map-conflict", "a.json:2", "by hand"),
    "broken TOML": ("[MAP]\nx = \n", "a.toml", "versions.map-syntax", "a.toml:2", "correct"),
    "TOML without it": ("[MAPS]\n", "a.toml", "versions.map-missing", "a.toml:1", "did you mean `MAPS`?"),
    "a TOML text": ('a = 1\nMAP = "x"\n', "a.toml", "versions.map-not-an-object", "a.toml:2", "[MAP]"),
    "TOML with another": ('[MAP]\n\n"1.3.0" = "x"\n', "a.toml", "versions.map-conflict", "a.toml:3", "by hand"),
    "another kind": ("MAP: {}", "a.yaml", "versions.map-kind", "a.yaml:1", "TypeScript"),
}


@pytest.mark.parametrize("edit", [add_entry, remove_entry])
@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_what_cannot_be_edited_is_told_with_file_and_line(edit, fault):
    text, file, code, where, hint = fault
    with pytest.raises(BadInputError) as caught:
        edit(text, NEW, file=file, name="MAP")
    assert (caught.value.code, caught.value.where) == (code, where)
    assert hint in caught.value.next


@given(text=st.text(alphabet="MAP={}[]:,'\"`$\\/* \n1.3abc<>();", max_size=60))
def test_no_text_ends_in_anything_but_a_result_or_a_clear_error(text):
    for file in ("a.ts", "a.json", "a.toml"):
        try:
            edited = add_entry(text, NEW, file=file, name="MAP")
        except BadInputError as error:
            assert error.where.startswith(f"{file}:")  # noqa: PT017 - what is caught is one of two right answers
            continue
        assert add_entry(edited, NEW, file=file, name="MAP") == edited
