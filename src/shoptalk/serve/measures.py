"""What Prometheus reads: of this process, by stable names; no label holds anything that a visitor wrote."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

_SECONDS = (0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0)


class Measures:
    """The server's counters."""

    content_type = CONTENT_TYPE_PLAIN_0_0_4

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "shoptalk_requests", "Requests by route and status", ("method", "route", "status"), registry=self.registry
        )
        self.request_seconds = Histogram(
            "shoptalk_request_seconds", "Until a response began", ("route",), buckets=_SECONDS, registry=self.registry
        )
        self.replies = Counter("shoptalk_replies", "Replies stored", ("decision", "path"), registry=self.registry)
        self.slow_rules = Counter(
            "shoptalk_slow_rules", "Replies that left a rule's pattern unread", ("rule",), registry=self.registry
        )
        self.reply_seconds = Histogram(
            "shoptalk_reply_seconds", "Working out a reply", buckets=_SECONDS, registry=self.registry
        )
        self.waiting = Gauge("shoptalk_waiting", "Conversations being answered", registry=self.registry)
        self.jobs = Counter("shoptalk_jobs", "Jobs ended", ("kind", "outcome"), registry=self.registry)

    def page(self) -> bytes:
        """All of them as text."""
        return generate_latest(self.registry)
