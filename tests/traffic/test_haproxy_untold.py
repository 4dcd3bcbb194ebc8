"""Requests that HAProxy began and never told: found, and never invented."""

import random

from crossfade.traffic.untold import LEARNING, Untold

NONE = {"blue": 0, "green": 0}


def beats(untold, told, begun, times, flying=0):
    for _ in range(told):
        untold.tell("blue")
    seen = [untold.compare({"blue": (begun, flying), "green": (0, 0)}, trust=True) for _ in range(times)]
    return sum(each["blue"] for each in seen)


def test_totals_that_are_some_moments_old_invent_nothing():
    """At every beat some requests have been told that are not yet in the totals, as on a busy machine."""
    chance, untold, told, begun = random.Random(1), Untold(), 0, 0
    for _ in range(2_000):
        fresh = chance.randrange(50)
        told += fresh
        begun = max(begun, told - chance.randrange(50))
        assert beats(untold, fresh, begun, 1) == 0
    assert beats(untold, 0, told + 3, 2) == 3
    assert beats(untold, 0, told + 3, 5) == 0


def test_a_counter_that_came_later_learns_first():
    untold = Untold()
    assert beats(untold, 2, 1_000, LEARNING + 3) == 0
    assert beats(untold, 10, 1_012, 4) == 2


def test_another_process_of_the_proxy_is_learned_anew():
    untold = Untold()
    assert beats(untold, 100, 100, 3) == 0
    assert beats(untold, 5, 5, LEARNING + 3) == 0
    assert beats(untold, 5, 11, 4) == 1


def test_datagrams_that_were_lost_are_no_errors():
    untold = Untold()
    assert beats(untold, 100, 100, 3) == 0
    assert untold.compare({"blue": (150, 0), "green": (0, 0)}, trust=False) == NONE
    assert beats(untold, 0, 150, LEARNING + 3) == 0
    assert beats(untold, 1, 153, 4) == 2
