"""What docs/operations/ holds: every expression parses, every name in it is told by `/metrics`, every alert is explained."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import promql_parser
import pytest
from ruamel.yaml import YAML

from app.lifecycle.answers import Refusal
from app.lifecycle.gate import Shut
from app.lifecycle.states import SETTLED, ErrorCode, JobState
from app.metrics import (
    CALLBACK_OUTCOMES,
    DELIVERY_OUTCOMES,
    IMAGE_OUTCOMES,
    NONE,
    CreditKind,
    Metrics,
    Operation,
    Phase,
)
from app.stats.gauges import GAUGES
from app.upstream.client import _OUTCOMES

ROOT = Path(__file__).parents[2]
HERE = ROOT / "docs/operations"
METRICS = (HERE / "metrics.md").read_text()
OPERATIONS = (ROOT / "docs/operations.md").read_text()
RULES: list[dict[str, Any]] = YAML(typ="safe").load((HERE / "alerts.yml").read_text())["groups"][0]["rules"]
DASHBOARD: dict[str, Any] = json.loads((HERE / "dashboard.json").read_text())
PANELS: list[dict[str, Any]] = DASHBOARD["panels"]


def counted() -> dict[str, set[str]]:
    """The names that a process counts, with their labels."""
    registry = Metrics()._registry
    found: dict[str, set[str]] = {}
    for collector in set(registry._collector_to_names):
        name = collector._name + ("_total" if collector._type == "counter" else "")  # type: ignore[attr-defined]
        found[name] = set(collector._labelnames)  # type: ignore[attr-defined]
    return found


def told() -> dict[str, set[str]]:
    """Every name of ours that `/metrics` tells, with its labels."""
    return {**counted(), **{name: set(labels) for name, (labels, _) in GAUGES.items()}}


def expressions() -> Iterator[str]:
    yield from (rule["expr"] for rule in RULES)
    yield from of_the_dashboard()


def of_the_dashboard() -> Iterator[str]:
    yield from (target["expr"].replace("$__rate_interval", "1m") for panel in PANELS for target in panel["targets"])


def selectors(expression: str) -> list[Any]:
    """The vector selectors of an expression; it raises where the expression is none."""
    found: list[Any] = []

    def look(node: Any) -> bool:
        if isinstance(node, promql_parser.VectorSelector):
            found.append(node)
        return True

    promql_parser.walk(promql_parser.parse(expression), look)
    return found


@pytest.mark.parametrize("expression", sorted(set(expressions())))
def test_every_expression_parses_and_asks_only_for_what_is_told(expression: str) -> None:
    asked = selectors(expression)
    assert asked, expression
    known = told()
    for selector in asked:
        if selector.name == "up" or selector.name.startswith("process_"):
            continue
        name = re.sub(r"_(bucket|count|sum)$", "", selector.name)
        assert name in known, name
        labels = {matcher.name for matcher in selector.matchers.matchers}
        assert labels <= known[name], (name, labels)


#: The public contract's list.
PROMISED = """
    gateway_jobs_accepted_total{tenant} gateway_jobs_settled_total{state,via,code} gateway_jobs{state}
    gateway_oldest_job_age_seconds{state} gateway_job_seconds{phase} gateway_upstream_requests_total{operation,outcome}
    gateway_upstream_request_seconds{operation} gateway_callbacks_total{outcome} gateway_callback_loss_ratio{}
    gateway_deliveries_total{outcome} gateway_deliveries_pending{} gateway_credits_total{tenant,kind} gateway_gate_open{for}
    gateway_images_total{outcome}"""

#: What a label can say, as far as expressions ask for it.
VALUES: dict[tuple[str, str], set[str]] = {
    ("gateway_gate_open", "for"): {"submit", "check"},
    ("gateway_gate_shut_seconds", "for"): {"submit", "check"},
    ("gateway_gate_shut_seconds", "reason"): set(Shut),
    ("gateway_oldest_job_age_seconds", "state"): set(JobState) - SETTLED,
    ("gateway_jobs", "state"): set(JobState),
    ("gateway_jobs_settled_total", "state"): set(SETTLED),
    ("gateway_jobs_settled_total", "code"): {*ErrorCode, NONE},
    ("gateway_job_seconds", "phase"): set(get_args(Phase)),
    ("gateway_upstream_requests_total", "operation"): set(get_args(Operation)),
    ("gateway_upstream_request_seconds", "operation"): set(get_args(Operation)),
    ("gateway_upstream_requests_total", "outcome"): {*Refusal, *_OUTCOMES.values(), "no_answer"},
    ("gateway_callbacks_total", "outcome"): set(CALLBACK_OUTCOMES),
    ("gateway_callback_lag_seconds", "quantile"): {"0.5", "0.95"},
    ("gateway_credits_total", "kind"): set(get_args(CreditKind)),
    ("gateway_deliveries_total", "outcome"): set(DELIVERY_OUTCOMES),
    ("gateway_receivers", "health"): {"failing", "parked"},
    ("gateway_images_total", "outcome"): set(IMAGE_OUTCOMES),
    ("up", "job"): {"gateway"},
}


def test_what_the_contract_promises_is_told() -> None:
    promised = {name: set(filter(None, labels.split(","))) for name, labels in re.findall(r"(\w+)\{([\w,]*)\}", PROMISED)}
    assert len(promised) == 14
    assert promised.items() <= told().items()


def wrong_values(expression: str) -> list[str]:
    """What an expression asks of a label that it never says: such an alert would never fire."""
    asked = [
        (re.sub(r"_(bucket|count|sum)$", "", selector.name), matcher.name, value)
        for selector in selectors(expression)
        for matcher in selector.matchers.matchers
        for value in matcher.value.split("|")
    ]
    return [f"{name}{{{label}={value}}}" for name, label, value in asked if value not in VALUES.get((name, label), ())]


@pytest.mark.parametrize("expression", sorted(set(expressions())))
def test_every_expression_asks_for_what_a_label_can_say(expression: str) -> None:
    assert wrong_values(expression) == []


def test_a_name_a_label_or_a_value_that_nobody_tells_is_found() -> None:
    """A control of the tests above."""
    assert "gateway_job_total" not in told()
    assert "tenant" not in told()["gateway_jobs"]
    assert wrong_values('sum(gateway_jobs{state=~"queued|waiting"})') == ["gateway_jobs{state=waiting}"]


def test_an_expression_that_is_none_is_found() -> None:
    """A control of the parser."""
    with pytest.raises(ValueError):
        selectors("sum(rate(gateway_jobs)")


def test_the_document_lists_every_metric_with_its_labels_and_no_other() -> None:
    rows = re.findall(r"^\| `(gateway_\w+)` \|([^|]*)\|", METRICS, re.MULTILINE)
    assert {name: set(re.findall(r"`(\w+)`", labels)) for name, labels in rows} == told()


def test_every_alert_has_its_paragraph_and_every_paragraph_its_alert() -> None:
    section = OPERATIONS.partition("\n## Alerts\n")[2].partition("\n## ")[0]
    paragraphs = dict(re.findall(r"^### (\w+)\n\n(.+?)(?=\n\n### |\Z)", section.strip(), re.MULTILINE | re.DOTALL))
    assert list(paragraphs) == [rule["alert"] for rule in RULES]
    for name, text in paragraphs.items():
        assert "*Look at*" in text, name
        assert "*Do*" in text, name


def test_every_alert_says_how_bad_it_is_and_where_to_read_on() -> None:
    for rule in RULES:
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert rule["annotations"]["runbook"] == f"docs/operations.md#{rule['alert'].lower()}"
        assert rule["annotations"]["summary"]


def test_gauges_of_the_database_are_never_summed() -> None:
    """Every replica tells the same."""
    for expression in expressions():
        for gauge in set(GAUGES) - {"gateway_database_up"}:
            assert not re.search(rf"\bsum\b[^()]*\((?:\w+\()?{gauge}\b", expression), expression


def test_the_panels_lie_side_by_side_and_each_says_what_it_shows() -> None:
    ids = [panel["id"] for panel in PANELS]
    assert len(set(ids)) == len(ids) > 20
    taken: set[tuple[int, int]] = set()
    for panel in PANELS:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells
        assert panel["description"], panel["title"]
        assert panel["datasource"]["uid"] == "${datasource}"


def test_every_alert_of_a_figure_has_a_panel_that_shows_it() -> None:
    shown = {
        s.name for panel in PANELS for t in panel["targets"] for s in selectors(t["expr"].replace("$__rate_interval", "1m"))
    }
    alerted = {selector.name for rule in RULES for selector in selectors(rule["expr"])}
    assert alerted - shown <= {"up", "gateway_callbacks_judged"}


@pytest.mark.long
@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "rules", str(HERE / "alerts.yml")),
        ("check", "config", "--syntax-only", str(HERE / "prometheus.yml")),
        ("test", "rules", str(Path(__file__).with_name("alerts.test.yml"))),
    ],
    ids=["rules", "config", "tests"],
)
def test_promtool_agrees(arguments: tuple[str, ...]) -> None:
    promtool = shutil.which("promtool")
    assert promtool is not None, "the long tests need promtool: install Debian's package prometheus, or put the binary on PATH"
    done = subprocess.run([promtool, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
