"""The page about metrics, the dashboard and the code name the same metrics."""

from __future__ import annotations

import json
import re
from pathlib import Path

import yaml

from airflow_provider_wts.hooks.metrics import METRICS

ROOT = Path(__file__).resolve().parent.parent.parent
PAGE = (ROOT / "docs" / "metrics.md").read_text("utf-8")
DASHBOARD = json.loads((ROOT / "docs" / "grafana-dashboard.json").read_text("utf-8"))


def exported(name: str) -> str:
    """Return the name as Prometheus has it."""
    return "airflow_" + name.replace(".", "_")


def named_in(text: str) -> set[str]:
    return {name.removesuffix("_total") for name in re.findall(r"airflow_wts_\w+", text)}


def test_the_page_describes_each_metric_with_kind_unit_and_tags() -> None:
    rows = re.findall(r"^\| `(wts\.\w+)` \| (\w+) \| ([\w ]+) \| (.+?) \|", PAGE, re.MULTILINE)
    described = {name: (kind, unit, tuple(re.findall(r"`(\w+)`", tags))) for name, kind, unit, tags in rows}
    assert described == {name: tuple(metric) for name, metric in METRICS.items()}


def test_the_mapping_of_the_page_makes_labels_of_all_tags() -> None:
    (mapping,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    expected = {
        f"airflow.{name}" + ".*" * len(metric.tags): (
            exported(name),
            {tag: f"${place}" for place, tag in enumerate(metric.tags, start=1)},
        )
        for name, metric in METRICS.items()
    }
    assert {one["match"]: (one["name"], one["labels"]) for one in yaml.safe_load(mapping)["mappings"]} == expected


def test_alerts_and_dashboard_name_only_our_metrics_and_the_dashboard_all() -> None:
    known = {exported(name) for name in METRICS}
    expressions = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
    assert named_in(" ".join(expressions)) == known
    assert named_in(PAGE) == known


def test_dashboard_and_alerts_group_and_filter_by_tags_of_the_metric() -> None:
    expressions = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
    expressions += re.findall(r"^\| [^|]+ \| `(.+?)` \|", PAGE.partition("## What to alert on")[2], re.MULTILINE)
    assert len(expressions) == len(DASHBOARD["panels"]) + 8
    for expression in expressions:
        names = {one for one in METRICS if exported(one) in named_in(expression)}
        tags = {tag for name in names for tag in METRICS[name].tags}
        used = set(re.findall(r'(\w+)=~?"', expression)) - {"__name__"}
        used |= {tag for group in re.findall(r"by \(([^)]+)\)", expression) for tag in group.split(", ")}
        assert used <= tags, expression
