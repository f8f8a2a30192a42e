"""Every metric that a service may show, in one place."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

RECORDS = Counter("driftgate_records", "Records read, by topic.", ["topic"])
EMITTED = Counter("driftgate_emitted", "Events sent, by topic.", ["topic"])
DEAD = Counter(
    "driftgate_dead_letters", "Records given up, by topic and reason.", ["topic", "reason"]
)
SKIPPED = Counter("driftgate_skipped", "Malformed records left to ingest-logger.", ["topic"])
RETRIES = Counter("driftgate_retries", "Retriable errors, by what failed.", ["error"])
POSITION = Gauge("driftgate_position", "Next offset to read.", ["topic", "partition"])
CLOCK = Gauge("driftgate_clock_seconds", "The service's time, seconds since 1970.")

ROWS = Counter("driftgate_rows", "Rows stored, by table.", ["table"])
BATCH = Histogram(
    "driftgate_batch_rows", "Rows in one insert.", buckets=[1, 10, 100, 1e3, 1e4, 1e5]
)
STORE_SECONDS = Histogram("driftgate_store_seconds", "Time of one call of the store.", ["call"])
QUERYABLE = Histogram(
    "driftgate_queryable_seconds",
    "From a record's arrival on Kafka until it can be queried; the oldest of each insert.",
    buckets=[0.05, 0.1, 0.2, 0.4, 0.8, 1.5, 3, 10, 60, 600, 3600],
)
LAG = Gauge("driftgate_lag", "Records behind the end of a partition.", ["topic", "partition"])
BLOCKED = Gauge("driftgate_blocked", "Partitions not read on: too much of them is bad.")
JOIN_DELAY = Histogram(
    "driftgate_join_delay_seconds",
    "From an inference to its feedback, by the events' times.",
    buckets=[60, 600, 3600, 86_400, 7 * 86_400, 30 * 86_400, 180 * 86_400],
)
OUTCOMES = Counter("driftgate_outcomes", "Feedback joined to its inference.")
ORPHANS = Counter("driftgate_orphans", "Feedback given up because its inference never came.")

ALERTS = Counter("driftgate_alerts", "Drift alerts, by monitor.", ["model", "monitor"])
RETRAINS = Counter(
    "driftgate_retrain_requests", "Retrain requests, by reason.", ["model", "reason"]
)
DROPPED = Counter(
    "driftgate_observations_dropped",
    "Answers and outcomes that the drift-detector did not keep: too far ahead, or too many.",
    ["model"],
)
TRAIN_SECONDS = Histogram(
    "driftgate_train_seconds", "Time of one training.", ["model"], buckets=[5, 15, 60, 300, 1800]
)
VERDICTS = Counter("driftgate_verdicts", "Verdicts, by result.", ["model", "result"])
STAGES = Counter(
    "driftgate_rollout_changes", "Changes of a rollout, by new stage.", ["model", "stage"]
)

PREDICT_SECONDS = Histogram(
    "driftgate_predict_seconds",
    "Time from request to answer.",
    ["model"],
    buckets=[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5],
)
ANSWERS = Counter(
    "driftgate_answers", "Answers, by version and role.", ["model", "version", "role"]
)
FAILED = Counter(
    "driftgate_failed_answers",
    "Answers that a version could not compute, by version and role.",
    ["model", "version", "role"],
)
SHADOWS_SHED = Counter(
    "driftgate_shadows_shed",
    "Answers of shadows that were lost: too many waited, the version had left, they could not be "
    "logged, or the router ended.",
    ["model", "version"],
)
SPOOLED = Gauge("driftgate_spooled", "Events in the router's spool that Kafka has not yet.")
SET_ASIDE = Gauge(
    "driftgate_set_aside", "Events that stay in the router's spool, since Kafka does not take them."
)
UNLOGGED = Counter(
    "driftgate_unlogged",
    "Events that were dropped: the spool was full (when_full=shed), and Kafka away or took no such "
    "record.",
)
EPOCH = Gauge("driftgate_epoch", "Epoch of the routing that is served.", ["model"])
