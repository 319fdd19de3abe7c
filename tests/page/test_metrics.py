"""`/metrics` of a real poller, read by Prometheus's own parsers."""

import time

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as plain

HOSTILE = "a \"quoted\" \\ name\nof two lines"
OPENMETRICS = "application/openmetrics-text"
PATIENCE = 60


def values(families, name):
    """The values of one metric by group."""
    samples = (sample for family in families for sample in family.samples)
    return {sample.labels.get("group"): sample.value for sample in samples if sample.name == name}


@pytest.mark.groups("small", HOSTILE)
@pytest.mark.parametrize("parse, accept, kind", [
    (openmetrics, OPENMETRICS, "application/openmetrics-text; version=1.0.0; charset=utf-8"),
    (plain, "text/plain", "text/plain; version=0.0.4; charset=utf-8"),
])
def test_prometheus_reads_them_in_both_formats(poller, parse, accept, kind):
    poller.buildkite.scheduled["small"] = 7
    poller.start()
    give_up = time.monotonic() + PATIENCE
    launched = {}
    while launched.get("small") != 2:
        assert time.monotonic() < give_up, launched
        status, content_type, text = poller.get("/metrics", accept)
        assert (status, content_type) == (200, kind)
        families = list(parse(text))
        launched = values(families, "clockout_group_launched_instances_total")
    assert values(families, "clockout_group_waiting_jobs") == {"small": 7, HOSTILE: 0}
    assert values(families, "clockout_poll_max_instances") == {None: 2000}
    assert values(families, "clockout_source_up") == {None: 1}
    assert [family.name for family in families if not family.documentation] == []
    assert {family.type for family in families} <= {"counter", "gauge", "info"}
    assert "not-told-to-anybody" not in text
