"""The publishing journal in both databases: begun once, gone on with, superseded, never with other bytes."""

from __future__ import annotations

import threading

import pytest

from crossfade.artifacts.journal import Fault, Item, Standing, key
from crossfade.artifacts.port import Coordinate
from crossfade.core.errors import BadInputError
from crossfade.core.ids import make_id

CORE = Item("core", "npm", Coordinate("@navi/core", "1.2.0"), "aa", ("latest",))
SHELL = Item("shell", "npm", Coordinate("@navi/shell", "1.2.0"), "bb", ("latest",), (CORE.key,))


def ids():
    count = iter(range(1000))
    return lambda now: make_id("pub", now, next(count).to_bytes(5))


@pytest.fixture
def publications(store):
    return store.publications


def begin(publications, items, new_id=None, revision="c1", done=()):
    return publications.begin(new_id or ids(), items, done=done, actor="ada", revision=revision)


def test_an_unfinished_one_is_gone_on_with(publications):
    new_id = ids()
    first = begin(publications, [CORE, SHELL], new_id)
    publications.note(first.id, CORE, Standing("tagged", {"core.tgz": "sha512-x"}), actor="ada")
    again = begin(publications, [CORE, SHELL], new_id, revision="c2")
    assert (again.id, again.revision) == (first.id, "c1")
    assert again.journal.standing(CORE.key) == Standing("tagged", {"core.tgz": "sha512-x"})
    assert [item.key for item in again.journal.ready()] == [SHELL.key]


def test_a_finished_one_is_not(publications):
    new_id = ids()
    first = begin(publications, [CORE], new_id)
    publications.finish(first.id, actor="ada")
    publications.finish(first.id, actor="ada")
    second = begin(publications, [CORE], new_id)
    assert second.id != first.id
    assert publications.find(first.id).ending == "done"
    assert [each.id for each in publications.newest(10)] == [second.id, first.id]


def test_newer_versions_supersede_what_was_not_finished(publications):
    new_id = ids()
    first = begin(publications, [CORE], new_id)
    newer = Item("core", "npm", Coordinate("@navi/core", "1.2.1"), "cc")
    second = begin(publications, [newer], new_id)
    assert publications.find(first.id).ending == "superseded"
    assert publications.find(second.id).ending is None


def test_what_shares_no_component_goes_on_beside_it(publications):
    new_id = ids()
    first = begin(publications, [CORE], new_id)
    begin(publications, [Item("api", "oci", Coordinate("api", "2.0.0"), "dd")], new_id)
    assert publications.find(first.id).ending is None


def test_other_bytes_under_the_same_version_are_refused(publications):
    first = begin(publications, [CORE])
    other = Item("core", "npm", CORE.at, "ee", CORE.tags)
    with pytest.raises(BadInputError) as caught:
        begin(publications, [other], revision="c2")
    assert caught.value.code == "publish.other-bytes"
    assert first.id in caught.value.what
    assert "@navi/core@1.2.0" in caught.value.what


def test_what_is_left_is_gone_on_with(publications):
    new_id = ids()
    first = begin(publications, [CORE, SHELL], new_id)  # killed before it could write that the core is done
    again = begin(publications, [SHELL], new_id, revision="c2", done=[(CORE.key, CORE.at)])
    assert again.id == first.id
    assert again.journal.standing(CORE.key).state == "tagged"
    assert [item.key for item in again.journal.ready()] == [SHELL.key]


def test_a_part_of_it_is_a_publication_of_its_own_with_the_same_bytes(publications):
    new_id = ids()
    first = begin(publications, [CORE, SHELL], new_id)
    part = begin(publications, [CORE], new_id)
    assert part.id != first.id
    assert publications.find(first.id).ending is None
    with pytest.raises(BadInputError, match="differs"):
        begin(publications, [Item("core", "npm", CORE.at, "ff")], new_id)
    assert [each.id for each in publications.complete([(CORE.key, CORE.at)])] == [part.id]
    publications.finish(part.id, actor="ada")
    (left,) = publications.complete([(CORE.key, CORE.at), (SHELL.key, SHELL.at)])
    assert left.id == first.id


def test_a_git_tag_is_recorded_once(publications, store):
    first = begin(publications, [CORE])
    for _ in range(2):
        publications.note_tag(first.id, "core", "core@1.0.0", commit="c" * 40, actor="ada")
    assert publications.find(first.id).journal.standing(CORE.key).state == "wanted"
    (told,) = [row for row in store.events() if row.kind == "publication.git-tag"]
    assert (told.component, told.text) == ("core", "core@1.0.0 stands on cccccccccccc")
    assert store.verify_audit().sound


def test_faults_are_remembered_and_recorded(publications, store):
    first = begin(publications, [CORE, SHELL])
    fault = Fault("registry.refused", "the token may not publish", "npm", "ask for one that may")
    publications.note(first.id, CORE, Standing("uploaded", fault=fault), actor="ada")
    found = publications.find(first.id).journal
    assert found.faults() == {CORE.key: fault}
    assert found.held_up() == {SHELL.key: CORE.key}
    kinds = [row.kind for row in store.events()]
    assert kinds == ["publication.begun", "publication.failed"]
    assert store.verify_audit().sound


def test_two_who_begin_at_once_share_one(publications):
    new_id = ids()
    found: list[str] = []
    start = threading.Barrier(4)

    def work():
        start.wait()
        found.append(begin(publications, [CORE, SHELL], new_id).id)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(set(found)) == 1


def test_an_unknown_one(publications):
    with pytest.raises(BadInputError) as caught:
        publications.find("pub_nothing")
    assert caught.value.code == "publish.unknown"


def test_keys():
    assert key("core", "npm") == CORE.key
