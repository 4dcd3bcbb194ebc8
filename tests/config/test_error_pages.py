"""The pages of the likeliest mistakes, word for word: they are a feature, and a change of them is seen."""

from __future__ import annotations

from pathlib import Path

import pytest

from crossfade.config.load import ConfigError, load_text

CASES = [
    case.split("\n", 1)
    for case in Path(__file__).with_name("error_pages.txt").read_text(encoding="utf-8").split("\n######## ")[1:]
]


@pytest.mark.parametrize(
    ("text", "page"), [body.split("\n--------\n") for _, body in CASES], ids=[name for name, _ in CASES]
)
def test_the_page(text, page):
    with pytest.raises(ConfigError) as caught:
        load_text(text + "\n", Path("crossfade.yaml"))
    assert str(caught.value) == page.rstrip("\n")


def test_the_likeliest_are_there():
    assert len(CASES) >= 15
