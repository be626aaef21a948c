"""Calls per second from counters: what is compared, what a restart or a silent node does to the figures."""

import pytest

from agent.wall.rates import KEPT_SECONDS, Course


def counted(judged: int, rejected: int = 0, shadowed: int = 0) -> dict[str, dict[str, int]]:
    return {"intl-a": {"judged": judged, "rejected": rejected, "shadowed": shadowed, "labelled": 0}}


def test_the_first_look_has_nothing_to_compare_with() -> None:
    course = Course()
    assert course.total is None
    course.look(100.0, {"gw1": counted(1_000)})
    assert course.total is None and course.points()["times"] == []


def test_rates_are_differences_over_the_time_between() -> None:
    course = Course()
    course.look(100.0, {"gw1": counted(1_000, 10), "gw2": counted(50)})
    course.look(102.0, {"gw1": counted(1_100, 14, 6), "gw2": counted(70)})
    assert course.total == {"judged": 60.0, "rejected": 2.0, "labelled": 0.0, "shadowed": 3.0, "passed": 58.0}
    assert course.trunks["intl-a"]["judged"] == 60.0 and course.nodes == 2


def test_a_node_that_was_started_again_counts_from_nought() -> None:
    course = Course()
    course.look(100.0, {"gw1": counted(1_000)})
    course.look(101.0, {"gw1": counted(30)})
    assert course.total is not None and course.total["judged"] == 30.0


def test_a_silent_node_has_no_figure_and_nothing_is_made_up_when_it_is_back() -> None:
    course = Course()
    course.look(100.0, {"gw1": counted(1_000)})
    course.look(101.0, {"gw1": counted(1_010)})
    course.look(102.0, {})
    assert course.total is None and course.trunks == {}
    course.look(103.0, {"gw1": counted(900_000)})
    assert course.total is None
    course.look(104.0, {"gw1": counted(900_005)})
    assert course.total is not None and course.total["judged"] == 5.0


def test_the_course_is_columns_and_is_cut_by_age() -> None:
    course = Course()
    for second in range(int(KEPT_SECONDS) + 60):
        course.look(1_000.0 + second, {"gw1": counted(second * 2)})
    points = course.points()
    assert KEPT_SECONDS - 1 <= len(points["times"]) <= KEPT_SECONDS + 1
    assert set(points["judged"]) == {2.0}
    assert course.points(after=points["times"][-2])["times"] == points["times"][-1:]


@pytest.mark.parametrize("name", ["judged", "rejected", "labelled", "shadowed", "passed"])
def test_every_figure_has_a_column_as_long_as_the_times(name: str) -> None:
    course = Course()
    for second in range(5):
        course.look(float(second), {"gw1": counted(second)})
    assert len(course.points()[name]) == len(course.points()["times"]) == 4
