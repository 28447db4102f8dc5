"""Rules, dashboard and document speak of metrics and labels that really exist."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from prometheus_client import CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase

from slipway_addon_manager.metrics import AddonMetrics
from slipway_api.metrics import WebMetrics
from slipway_chassis.calls import ProviderCalls
from slipway_chassis.metrics import ServiceMetrics
from slipway_chassis.tls import SERVICES
from slipway_healer.metrics import HealerMetrics
from slipway_monitor.metrics import MonitorMetrics
from slipway_provisioner.metrics import ProvisionerMetrics

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy/prometheus/rules.yaml"
DASHBOARD = ROOT / "deploy/grafana/slipway.json"
DOCUMENT = ROOT / "docs/observability.md"
NAME = re.compile(r"\bslipway_[a-z_]+\b")
SELECTOR = re.compile(r"\b(slipway_[a-z_]+)(?:\{([^}]*)\})?")
GROUPED = re.compile(r"by \(([^)]*)\) *\(((?:[^()]|\([^()]*\))*)\)")
OF_PROMETHEUS = {"job", "instance", "le"}
SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "gauge": ("",)}


def metrics() -> dict[str, set[str]]:
    """Every name that a scrape can show, with its labels."""
    registry = CollectorRegistry()
    made = (ServiceMetrics, ProviderCalls, WebMetrics, HealerMetrics, MonitorMetrics, AddonMetrics, ProvisionerMetrics)
    owners = [each(registry) for each in made]
    found: dict[str, set[str]] = {}
    for owner in owners:
        for metric in vars(owner).values():
            if isinstance(metric, MetricWrapperBase):
                described = next(iter(metric.describe()))
                labels = set(metric._labelnames)
                found |= {f"{described.name}{suffix}": labels for suffix in SUFFIXES[described.type]}
    return found


METRICS = metrics()


def rules() -> list[dict[str, str]]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def panels() -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(DASHBOARD.read_text())["panels"]
    return found


def expressions() -> Iterator[str]:
    yield from (rule["expr"] for rule in rules())
    for panel in panels():
        targets = panel.get("targets", [])
        assert isinstance(targets, list)
        yield from (target["expr"] for target in targets)


@pytest.mark.parametrize("expression", sorted(set(expressions())))
def test_an_expression_names_metrics_and_labels_that_exist(expression: str) -> None:
    assert set(NAME.findall(expression)) <= METRICS.keys()
    for name, matchers in SELECTOR.findall(expression):
        asked = set(re.findall(r"(\w+)\s*(?:=|!)", matchers))
        assert asked <= METRICS[name] | OF_PROMETHEUS, f"{name} has no such label"
    for labels, inside in GROUPED.findall(expression):
        named = [METRICS[name] for name in NAME.findall(inside)]
        for known in named:
            assert set(re.split(r",\s*", labels)) <= known | OF_PROMETHEUS, f"nothing to group by in {inside}"


def test_every_metric_of_a_service_is_on_the_dashboard_or_in_a_rule() -> None:
    used = {name for expression in expressions() for name in NAME.findall(expression)}
    whole = {re.sub("_(bucket|sum|count|total)$", "", name) for name in used}
    known = {re.sub("_(bucket|sum|count|total)$", "", name) for name in METRICS}
    assert known - whole <= {"slipway_service_info", "slipway_unrouted", "slipway_monitor_alerts",
                             "slipway_monitor_projects_unreached", "slipway_addon_manager_deleted",
                             "slipway_addon_manager_refused"}  # fmt: skip


def test_the_document_names_every_metric_and_no_other() -> None:
    told = set(NAME.findall(DOCUMENT.read_text())) - {"slipway_chassis"}
    shown = {re.sub("_(bucket|sum|count)$", "", name) for name in METRICS}
    assert told == shown


def test_every_metric_is_named_by_the_scheme() -> None:
    own = {name.split("_")[1] for name in METRICS} & {"api", "healer", "monitor", "provisioner", "addon"}
    assert own == {"api", "healer", "monitor", "provisioner", "addon"}
    assert not [name for name in METRICS if re.search("_(ms|minutes|hours|percent)$", name)]


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_a_rule_says_what_is_wrong_and_what_to_do(rule: dict[str, dict[str, str]]) -> None:
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert rule["annotations"].keys() == {"summary", "action"}


def test_prometheus_scrapes_every_service_where_compose_has_it_listen() -> None:
    scraped = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yaml").read_text())["scrape_configs"]
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    listening = {
        f"slipway-{service.replace('_', '-')}": compose[service.replace("_", "-")]["environment"][
            f"SLIPWAY_{service.upper()}_HTTP_PORT"
        ]
        for service in SERVICES
    }
    assert {
        each["job_name"]: each["static_configs"][0]["targets"][0].rpartition(":")[2] for each in scraped
    } == listening


def test_panels_have_places_and_numbers_of_their_own() -> None:
    numbers = [panel["id"] for panel in panels()]
    places = [(each["gridPos"]["x"], each["gridPos"]["y"]) for each in panels()]  # type: ignore[index]
    assert len(set(numbers)) == len(numbers)
    assert len(set(places)) == len(places)


@pytest.fixture
def promtool() -> str:
    found = os.environ.get("PROMTOOL") or shutil.which("promtool")
    if found is None:
        pytest.skip("no promtool: install the distribution's package prometheus, or set PROMTOOL to the program")
    return found


def test_promtool_accepts_configuration_and_rules(promtool: str) -> None:
    folder = ROOT / "deploy/prometheus"
    for arguments in (["check", "config", "prometheus.yaml"], ["test", "rules", "rules_test.yaml"]):
        ran = subprocess.run([promtool, *arguments], cwd=folder, capture_output=True, text=True)
        assert ran.returncode == 0, ran.stdout + ran.stderr


def test_promtool_accepts_the_dashboard(promtool: str, tmp_path: Path) -> None:
    recorded = [{"record": f"slipway:{number}", "expr": each} for number, each in enumerate(sorted(set(expressions())))]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": [{"name": "all", "rules": recorded}]}))
    ran = subprocess.run([promtool, "check", "rules", "rules.yaml"], cwd=tmp_path, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr
