"""Placeholders: filled once, and never left behind in silence."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossfade.config.placeholders import fill, names


@given(st.text())
def test_any_text_can_be_written_by_doubling_its_braces(text):
    doubled = text.replace("{", "{{").replace("}", "}}")
    assert names(doubled) == ()
    assert fill(doubled, {}) == text


@given(st.text(alphabet="{}ab_1", max_size=12))
def test_names_and_fill_agree(text):
    try:
        found = names(text)
    except ValueError:
        with pytest.raises(ValueError, match=r"brace|placeholder"):
            fill(text, {})
        return
    assert isinstance(fill(text, dict.fromkeys(found, 1)), str)


def test_what_is_put_in_is_not_looked_at_again():
    assert fill("{{{version}}}{port}", {"version": "{port}", "port": 1}) == "{{port}}1"


def test_an_unknown_one_is_named_with_those_that_are_known():
    with pytest.raises(ValueError, match=r"\{prot\} is not a placeholder \(\{port\}, \{version\}\)"):
        fill("{prot}", {"port": 1, "version": "1"})
