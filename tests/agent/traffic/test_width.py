"""Width: each limit at its edge, and what is not known."""

from typing import Any

import pytest

from agent.settings import Settings
from agent.traffic.settings import WidthSettings
from agent.traffic.width import why_wide

SETTINGS = Settings()
KNOWN_OR_NOT = Settings(width=WidthSettings(unknown_is_wide=False))


def preview(covered: float | None = 1.0, share: float | None = 0.001, callers: int | None = 10, **more: Any) -> Any:
    """The part of a preview that decides."""
    return {"windows": {"day": _figures(covered, share, callers) | more}}


def _figures(covered: float | None, share: float | None, callers: int | None) -> dict[str, Any]:
    several = None if callers is None else {"estimate": callers, "low": callers, "high": callers}
    return {"covered": covered, "traffic_share": share, "callers": several}


@pytest.mark.parametrize(
    ("subject", "word"),
    [
        ("+77*", "2 digits; up to 3 a rule is wide (width.digits)"),
        ("+777*", "3 digits"),
        ("+62*", "our own country, +62 (gate.home_countries)"),
        ("+6281234567890", "our own country"),
        ("+628123*", "our own country"),
    ],
)
def test_digits_and_home_are_wide_without_any_figure(subject: str, word: str) -> None:
    assert word in " / ".join(why_wide(subject, "reject", (), None, KNOWN_OR_NOT))


def test_a_prefix_over_a_home_country_is_wide() -> None:
    own = SETTINGS.gate.model_copy(update={"home_countries": ("67012",)})
    reasons = why_wide("+6701*", "reject", (), preview(), SETTINGS.model_copy(update={"gate": own}))
    assert reasons == ("it reaches our own country, +67012 (gate.home_countries)",)


@pytest.mark.parametrize("subject", ["+7701*", "+77012345678"])
def test_a_narrow_rule_with_a_day_of_figures_is_not_wide(subject: str) -> None:
    assert why_wide(subject, "reject", (), preview(), SETTINGS) == ()


@pytest.mark.parametrize(
    ("share", "callers", "reasons"),
    [
        (0.005, 1_000, ()),
        (0.0051, 1_000, ("0.51% of a day's calls; the limit is 0.50% (width.share)",)),
        (0.005, 1_001, ("1,001 distinct callers in a day; the limit is 1,000 (width.callers)",)),
        (None, None, ()),
    ],
)
def test_the_limits_of_a_days_traffic(share: float | None, callers: int | None, reasons: tuple[str, ...]) -> None:
    assert why_wide("+7701*", "reject", (), preview(1.0, share, callers), SETTINGS) == reasons


@pytest.mark.parametrize("nothing", [None, preview(0.25), preview(None, None, None)])
def test_what_is_not_known_is_not_small(nothing: Any) -> None:
    (reason,) = why_wide("+7701*", "reject", ("intl-a",), nothing, SETTINGS)
    assert "+7701* on intl-a for" in reason and "width.unknown_is_wide" in reason
    assert why_wide("+7701*", "reject", (), nothing, KNOWN_OR_NOT) == ()
    assert why_wide("+77012345678", "reject", (), nothing, SETTINGS) == (), "a number has one caller"


def test_what_is_over_a_limit_already_says_only_that() -> None:
    (reason,) = why_wide("+7701*", "reject", (), preview(0.1, 0.2), SETTINGS)
    assert reason.startswith("20.00% of a day's calls;")


def test_an_upper_bound_below_the_limits_is_enough() -> None:
    bound = {"of": "+7701*", **_figures(1.0, 0.004, 900)}
    assert why_wide("+770123*", "reject", (), preview(0.0, None, None, at_most=bound), SETTINGS) == ()
    bound = {"of": "+7701*", **_figures(1.0, 0.006, 900)}
    (reason,) = why_wide("+770123*", "reject", (), preview(0.0, None, None, at_most=bound), SETTINGS)
    assert reason.startswith("0.60% of a day's calls, which all of +7701* had: it may be less")


@pytest.mark.parametrize("action", ["allow", "label"])
def test_only_what_refuses_calls_is_wide(action: str) -> None:
    assert why_wide("+77*", action, (), preview(1.0, 0.5, 10_000), SETTINGS) == ()
