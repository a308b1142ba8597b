"""Routes and drills as users write them, and what the plan makes of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from bench.errors import UserError
from bench.plan.drill import Drill
from bench.plan.route import Retry, Route
from bench.plan.schedule import compile_plan
from bench.plan.suite import load_suite
from bench.plan.target import Target, load_target, target_files
from bench.units import MS
from bench.userfile import builtin_names, parse_model
from tests.support.planned import plan, profile, stage, suite, target

LEG = 'description = "a leg"\nbase_url = "http://127.0.0.1:9/v1"\nmodel = "m"\n'
POISSON: dict[str, Any] = {"arrivals": {"kind": "poisson", "rate": "100/s"}, "duration": "60s"}


def routed(count: int = 2, **keys: Any) -> Target:
    legs = [target(f"leg{number}") for number in range(count)]
    made = Target.model_validate(
        {"description": "d", "name": "r", "route": {"legs": [leg.name for leg in legs], **keys}}
    )
    return made.model_copy(update={"legs": tuple(legs)})


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        ({"legs": []}, "legs"),
        ({"hedge": {"after": "0s"}}, "hedge.after: '0s' does not fit"),
        ({"hedge": {"aftr": "1s"}}, "hedge.aftr: unknown key; did you mean 'after'?"),
        ({"legs": ["a"], "deadline": {"after": "1s"}}, "deadline needs a second leg"),
        (
            {"fallback": False, "hedge": {"after": "1s"}},
            "hedge needs a second leg to go to, and fallback",
        ),
        (
            {"deadline": {"after": "1s"}, "hedge": {"after": "1s"}},
            "deadline and hedge exclude each other",
        ),
        ({"pick": "weighted"}, "needs 2 weights, one a leg"),
        ({"weights": [1, 1]}, 'weights go with pick = "weighted"'),
        ({"pick": "weighted", "weights": [1, 0]}, "weights[1]"),
        ({"pick": "context", "context_up_to": [1, 2]}, "needs 1 context_up_to"),
        ({"legs": ["a", "b", "c"], "pick": "context", "context_up_to": [9, 9]}, "must rise"),
        ({"pick": "nearest", "distances": ["1ms"]}, "needs 2 distances"),
        (
            {"sequential": {"timeout": "5s", "slower_than": "3s"}, "commit": "first_token"},
            "slower_than throws",
        ),
        ({"breaker": {}}, "nothing would open the circuit breaker"),
        ({"breaker": {"status_urls": ["ftp://h", ""]}}, "is not a URL"),
        ({"breaker": {"status_urls": ["http://h"]}}, "needs 2 entries, one a leg"),
        ({"retry": {"attempts": 1}}, "retry.attempts"),
    ],
)
def test_routes_that_make_no_sense_are_refused(keys: dict[str, Any], text: str) -> None:
    """Each with a sentence that names the key."""
    with pytest.raises(UserError) as caught:
        parse_model(Route, {"legs": ["a", "b"], **keys}, "f")
    assert text in str(caught.value)


def test_a_route_names_other_targets_that_are_there(tmp_path: Path) -> None:
    """An unknown target, the route itself and another route are refused with file and key; sound
    ones are loaded, equal names told apart.
    """
    (tmp_path / "leg.toml").write_text(LEG)
    for name, legs, text in (
        ("r", '["leg.toml", "nobody"]', "no target named 'nobody'"),
        ("r", '["./r.toml"]', "'./r.toml' is the route itself"),
        ("s", '["r.toml"]', "'r.toml' is a route; routes do not nest"),
    ):
        path = tmp_path / f"{name}.toml"
        path.write_text(f'description = "d"\n[route]\nlegs = {legs}\n')
        with pytest.raises(UserError) as caught:
            load_target(str(path))
        assert str(caught.value).startswith(f"{path}: route.legs: {text}")
    good = tmp_path / "good.toml"
    good.write_text(
        'description = "d"\n[route]\nlegs = ["leg.toml", "leg.toml"]\nhedge = { after = "1s" }\n'
    )
    loaded = load_target(str(good))
    assert [leg.name for leg in loaded.endpoints] == ["leg", "leg#2"]
    assert target_files(str(good)) == [good, tmp_path / "leg.toml", tmp_path / "leg.toml"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('base_url = "http://h/v1"\n', "base_url belongs to the targets of a route"),
        ('api_key_env = "K"\n', "api_key_env belongs to"),
        ("legs = []\n", "legs: unknown key; a route names its targets in route.legs"),
    ],
)
def test_a_route_has_no_endpoint_of_its_own(tmp_path: Path, text: str, message: str) -> None:
    """URL, key and loaded legs cannot be written beside [route]; without a route the URL is
    required.
    """
    path = tmp_path / "r.toml"
    path.write_text(f'description = "d"\n{text}[route]\nlegs = ["default"]\n')
    with pytest.raises(UserError, match=r"r\.toml") as caught:
        load_target(str(path))
    assert message in str(caught.value)
    path.write_text('description = "d"\nmodel = "m"\n')
    with pytest.raises(UserError, match=r"base_url is required; add it, or a \[route\]"):
        load_target(str(path))


def test_the_built_in_routers_load_with_their_legs() -> None:
    """Each shipped router has its legs, all on the embedded gateway, and the published one its
    figures.
    """
    routers = [load_target(name) for name in builtin_names("targets") if name.startswith("router-")]
    assert len(routers) >= 7
    assert all(router.embedded and len(router.legs) == 2 for router in routers)
    published = load_target("router-published").route
    assert published is not None
    assert published.sequential is not None
    assert (published.step_ns, published.sequential.slower_than) == (5_000 * MS, 3_000 * MS)
    split = load_target("router-weighted").route
    assert split is not None
    assert split.weights == [90, 10]


def test_weighted_legs_are_drawn_by_session_and_seed() -> None:
    """90/10 within its binomial interval; the same seed the same legs; a session never changes its
    leg.
    """
    keys: dict[str, Any] = {"pick": "weighted", "weights": [90, 10]}
    made = compile_plan(suite(stage(profile(**POISSON), routed(**keys))), 3).schedule
    again = compile_plan(suite(stage(profile(**POISSON), routed(**keys))), 3).schedule
    other = compile_plan(suite(stage(profile(**POISSON), routed(**keys))), 4).schedule
    low, high = stats.binom.interval(0.9999, len(made), 0.1)
    assert low <= np.count_nonzero(made["leg"] == 1) <= high
    assert np.array_equal(made, again)
    assert not np.array_equal(made["leg"][:2000], other["leg"][:2000])
    talks = {**POISSON, "sessions": {"turns": {"fixed": 3}, "think": "1s"}}
    table = compile_plan(suite(stage(profile(**talks), routed(**keys))), 3).schedule
    assert all(len(set(table["leg"][table["session"] == number])) == 1 for number in range(200))


def test_a_route_moves_nothing_else_in_the_plan() -> None:
    """Due times, sizes and texts of a routed lane are those of an unrouted one; rows without a
    route have leg -1.
    """
    plain = plan(3, **POISSON).schedule
    split = compile_plan(suite(stage(profile(**POISSON), routed(pick="spread"))), 3).schedule
    rest = [name for name in plain.dtype.names or () if name != "leg"]
    assert np.array_equal(plain[rest], split[rest])
    assert set(plain["leg"]) == {-1}
    assert set(split["leg"]) == {0, 1}


def test_context_and_distance_choose_as_written() -> None:
    """Up to 100 tokens leg 0, up to 1,000 leg 1, beyond leg 2; the nearest leg first, then by
    distance; order as given.
    """
    sizes = [{"weight": 1, "fixed": tokens} for tokens in (100, 101, 1000, 1001)]
    by_size = routed(3, pick="context", context_up_to=[100, 1000])
    table = compile_plan(suite(stage(profile(**POISSON, prompt_tokens=sizes), by_size))).schedule
    chosen = {
        tokens: set(table["leg"][table["prompt_tokens"] == tokens])
        for tokens in (100, 101, 1000, 1001)
    }
    assert chosen == {100: {0}, 101: {1}, 1000: {1}, 1001: {2}}
    near = routed(3, pick="nearest", distances=["40ms", "10ms", "20ms"])
    assert set(compile_plan(suite(stage(profile(**POISSON), near))).schedule["leg"]) == {1}
    assert near.route is not None
    assert near.route.order_from(1) == [1, 2, 0]
    assert routed(3).route.order_from(2) == [2, 0, 1]  # type: ignore[union-attr]


def test_back_off_doubles_up_to_its_cap() -> None:
    """200, 400, 800, 1,000, 1,000 ms by hand; a shorter retry-after changes nothing, a longer one
    wins.
    """
    rule = Retry.model_validate({"backoff": "200ms", "longest": "1s"})
    assert [rule.wait_ns(calls, -1) // MS for calls in range(1, 6)] == [200, 400, 800, 1000, 1000]
    assert (rule.wait_ns(1, 150), rule.wait_ns(1, 2500)) == (200 * MS, 2500 * MS)


def test_the_manifest_knows_a_routes_legs_and_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """The lane's record names policy and legs; a leg's header value is in none of it."""
    monkeypatch.setenv("LEG_SECRET", "sk-very-secret")
    secret = target("leg0", headers={"x-key": "${LEG_SECRET}", "x-plain": "plain-secret"})
    made = routed(hedge={"after": "1s"})
    made = made.model_copy(update={"legs": (secret, made.legs[1])})
    record = compile_plan(suite(stage(profile(**POISSON), made))).lanes[0].record()
    assert record["route"]["hedge"] == {"after": "1000000000ns"}
    assert [leg["name"] for leg in record["legs"]] == ["leg0", "leg1"]
    assert "secret" not in str(record)
    assert plan(**POISSON).lanes[0].record()["route"] is None


def test_an_embedded_leg_gets_the_gateways_address() -> None:
    """Only the legs that the gateway serves are moved to it."""
    outside, inside = target("a"), target("b", base_url="embedded")
    made = routed().model_copy(update={"legs": (outside, inside)})
    moved = made.served_at("http://127.0.0.1:5/s/v1")
    assert made.embedded
    assert [leg.base_url for leg in moved.legs] == [outside.base_url, "http://127.0.0.1:5/s/v1"]


# ---- drills


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        ({"at": "1s"}, "does nothing"),
        ({"at": "1s", "change": {}, "command": ["x"]}, "not both"),
        ({"at": "1s", "command": []}, "command"),
        ({"at": "1s", "command": "rm -rf"}, "command"),
        ({"at": "1s", "do": "cut", "url": "http://h/change"}, "url is where a change is posted"),
        ({"at": "1s", "do": "cut", "timeout": "11min"}, "at most 10 minutes"),
        ({"at": 1, "do": "cut"}, "is not a duration"),
    ],
)
def test_drills_that_cannot_be_are_refused(keys: dict[str, Any], text: str) -> None:
    """Each with a sentence; a shell's line is no argument list."""
    with pytest.raises(UserError) as caught:
        parse_model(Drill, keys, "f")
    assert text in str(caught.value)


def test_drills_count_from_their_stage_and_stand_in_order() -> None:
    """A second stage's drills move by the first's length and settling time."""
    first = stage(
        profile(arrivals={"kind": "constant", "rate": "10/s"}, duration="10s"),
        name="one",
        settle_ns=10**9,
    )
    cut, heal = (
        Drill.model_validate({"at": at, "do": do}) for at, do in (("5s", "cut"), ("2s", "heal"))
    )
    both = suite(
        first.model_copy(update={"drills": [cut, heal]}),
        first.model_copy(update={"name": "two", "drills": [heal]}),
    )
    made = compile_plan(both).drills
    assert [(drill.at_ns // 10**9, drill.stage, drill.drill.title) for drill in made] == [
        (2, "one", "heal"),
        (5, "one", "cut"),
        (13, "two", "heal"),
    ]


def test_a_suite_takes_drills_and_lists_the_legs_files(tmp_path: Path) -> None:
    """A change without any gateway to change is refused; the digests cover the files of a route's
    legs.
    """
    (tmp_path / "leg.toml").write_text(LEG)
    (tmp_path / "r.toml").write_text('description = "d"\n[route]\nlegs = ["leg.toml"]\n')
    path = tmp_path / "s.toml"
    text = (
        'description = "d"\n[[stage]]\nname = "a"\ntargets = ["r.toml"]\nprofile ='
        ' "steady"\n[[stage.drill]]\nat = "1s"\n'
    )
    path.write_text(text + "change = { outage = true }\n")
    with pytest.raises(UserError, match="no target of this stage is embedded"):
        load_suite(str(path))
    path.write_text(text + 'do = "cut"\ncommand = ["true"]\n')
    loaded = load_suite(str(path))
    assert [drill.command for drill in loaded.stages[0].drills] == [["true"]]
    assert tmp_path / "leg.toml" in loaded.files
