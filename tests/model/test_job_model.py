"""The real core, in every interleaving, keeps its promises; and with any one rule taken away the model sees it."""

from __future__ import annotations

import pytest
from broken_rules import BROKEN_RULES
from job_model import Environment, Explored, Model, explore

from app.lifecycle.states import EDGES

HONEST = {
    "one job, three sends, a cancel, a forged callback": Environment(sends=3, cancel=True, forged=1, sleepers=False),
    "one job, tasks that are forgotten, answers recorded twice": Environment(sends=2, forgets=True, repeats=True, held=True),
    "one job, a cancel, timers recorded late": Environment(sends=2, cancel=True, held=True),
    "two jobs, a forged callback": Environment(jobs=2, sends=1, forged=1, plain=True, sleepers=False, give_back=False),
    "one job, an operator who asks and names": Environment(sends=2, operator=True, forged=1, sleepers=False, give_back=False),
    "two jobs, one slot": Environment(jobs=2, sends=1, slots=1, sleepers=False, give_back=False),
}
LYING = Environment(sends=2, lying=True, sleepers=False, give_back=False)  #: answers 500 after it accepted
TWINS = Environment(jobs=2, sends=1, forged=1, twins=True, plain=True, give_back=False)


@pytest.fixture(scope="module")
def explored() -> dict[str, Explored]:
    """Each environment is walked once, however many tests look at it."""
    return {}


def _walk(explored: dict[str, Explored], name: str, env: Environment) -> Explored:
    if name not in explored:
        explored[name] = explore(Model(env))
    return explored[name]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", HONEST)
def test_no_interleaving_breaks_a_promise(explored: dict[str, Explored], name: str) -> None:
    result = _walk(explored, name, HONEST[name])

    print(f"{name}: {result.worlds} worlds, {result.steps} steps, {result.lives} lives")
    assert result.found == {}
    assert result.worlds > 10_000, "the environment has become too poor to say anything"


@pytest.mark.timeout(300)
def test_an_upstream_that_answers_500_after_accepting_bills_twice_and_that_is_all(explored: dict[str, Explored]) -> None:
    result = _walk(explored, "lying", LYING)

    print(f"lying: {result.worlds} worlds, {result.steps} steps, {result.lives} lives")
    assert set(result.found) == {"DUP"}, result.found


def test_identical_requests_are_told_apart_only_while_the_upstream_echoes_the_callback_url() -> None:
    """Not promised: a forger who holds a leaked callback URL can swap the pictures of twins."""
    assert "WRONG" in explore(Model(TWINS), until=frozenset({"WRONG"})).found


@pytest.mark.timeout(300)
def test_the_model_walks_every_arrow_of_the_chart(explored: dict[str, Explored]) -> None:
    everything = {**HONEST, "lying": LYING}
    walked = set().union(*(_walk(explored, name, env).arrows for name, env in everything.items()))

    assert walked == {(before, after) for before, afters in EDGES.items() for after in afters}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", BROKEN_RULES)
def test_a_rule_taken_away_is_caught(name: str) -> None:
    rule = BROKEN_RULES[name]
    model = Model(rule.env, decide=rule.decide, overdue=rule.overdue, held=rule.held)

    found = explore(model, until=rule.caught_as).found

    assert rule.caught_as & found.keys(), f"only {found}"


@pytest.mark.timeout(300)
def test_where_broken_rules_are_caught_the_real_ones_are_not(explored: dict[str, Explored]) -> None:
    for env in {rule.env for rule in BROKEN_RULES.values()} - set(HONEST.values()):
        caught_there = frozenset[str]().union(*(rule.caught_as for rule in BROKEN_RULES.values() if rule.env == env))
        name = "lying" if env == LYING else str(env)
        assert not caught_there & _walk(explored, name, env).found.keys()
