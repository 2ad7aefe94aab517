"""Metrics of a server for Prometheus, in a registry for each service."""

from __future__ import annotations

from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768)


class Metrics:
    """Counts and times of requests, records, batches and jobs."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        options: dict[str, Any] = {"registry": self.registry}
        self.requests = Counter("trimer_requests", "HTTP requests by route and status", ("route", "status"), **options)
        self.seconds = Histogram("trimer_request_seconds", "Time of a request", ("route",), buckets=SECONDS, **options)
        self.records = Counter(
            "trimer_records", "Records by model, operation and outcome", ("model", "operation", "outcome"), **options
        )
        self.batch_rows = Histogram("trimer_batch_records", "Records computed together", buckets=SIZES, **options)
        self.batch_tokens = Histogram("trimer_batch_tokens", "Tokens computed together", buckets=SIZES, **options)
        self.waiting = Gauge("trimer_waiting_records", "Records that wait for a batch", **options)
        self.active = Gauge("trimer_active_requests", "Requests in progress", **options)
        self.ready = Gauge("trimer_ready", "1 after the warm-up", **options)
        self.jobs = Gauge("trimer_jobs", "Jobs by state", ("state",), **options)

    def batch(self, rows: int, tokens: int) -> None:
        """Count a batch."""
        self.batch_rows.observe(rows)
        self.batch_tokens.observe(tokens)

    def text(self) -> bytes:
        """The metrics in the text format of Prometheus."""
        return generate_latest(self.registry)
