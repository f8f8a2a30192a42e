-- One table per topic, one row per record. topic, partition and offset say where a row came from and
-- are the order key, so that a record stored twice is one row. Nested records are kept as JSON.
-- Tables are not partitioned by time: an insert stays one part, and so is atomic.

CREATE TABLE IF NOT EXISTS inferences
(
    topic LowCardinality(String),
    partition Int32,
    offset Int64,
    stored_at DateTime64(3, 'UTC') DEFAULT now64(3),
    request_id String,
    model LowCardinality(String),
    version Int32,
    digest String,
    role LowCardinality(String),
    input Nullable(String),
    input_hash String,
    features Map(String, Float64),
    slices Map(String, String),
    output String,
    confidence Nullable(Float64),
    latency_ms Float64,
    tokens Int32,
    cost Float64,
    subject Nullable(String),
    epoch Int64,
    propensity Float64,
    time DateTime64(3, 'UTC'),
    INDEX by_request_id request_id TYPE bloom_filter(0.001) GRANULARITY 1
)
ENGINE = ReplacingMergeTree
ORDER BY (topic, partition, offset)
SETTINGS non_replicated_deduplication_window = 10000, index_granularity = 1024;

CREATE TABLE IF NOT EXISTS feedback
(
    topic LowCardinality(String),
    partition Int32,
    offset Int64,
    stored_at DateTime64(3, 'UTC') DEFAULT now64(3),
    feedback_id String,
    request_id String,
    model LowCardinality(String),
    kind LowCardinality(String),
    rating Nullable(Float64),
    label Nullable(String),
    edited Nullable(String),
    reason Nullable(String),
    reviewer Nullable(String),
    time DateTime64(3, 'UTC'),
    INDEX by_request_id request_id TYPE bloom_filter(0.001) GRANULARITY 1,
    INDEX by_feedback_id feedback_id TYPE bloom_filter(0.001) GRANULARITY 1
)
ENGINE = ReplacingMergeTree
ORDER BY (topic, partition, offset)
SETTINGS non_replicated_deduplication_window = 10000, index_granularity = 1024;

CREATE TABLE IF NOT EXISTS outcomes
(
    topic LowCardinality(String),
    partition Int32,
    offset Int64,
    stored_at DateTime64(3, 'UTC') DEFAULT now64(3),
    outcome_id String,
    request_id String,
    model LowCardinality(String),
    version Int32,
    slices Map(String, String),
    output String,
    confidence Nullable(Float64),
    kind LowCardinality(String),
    label Nullable(String),
    rating Nullable(Float64),
    edited Nullable(String),
    was_correct Nullable(Bool),
    inference_time DateTime64(3, 'UTC'),
    feedback_time DateTime64(3, 'UTC'),
    time DateTime64(3, 'UTC'),
    INDEX by_request_id request_id TYPE bloom_filter(0.001) GRANULARITY 1,
    INDEX by_outcome_id outcome_id TYPE bloom_filter(0.001) GRANULARITY 1
)
ENGINE = ReplacingMergeTree
ORDER BY (topic, partition, offset)
SETTINGS non_replicated_deduplication_window = 10000, index_granularity = 1024;

CREATE TABLE IF NOT EXISTS drift_alerts
(
    topic LowCardinality(String),
    partition Int32,
    offset Int64,
    stored_at DateTime64(3, 'UTC') DEFAULT now64(3),
    alert_id String,
    model LowCardinality(String),
    version Int32,
    monitor LowCardinality(String),
    signal LowCardinality(String),
    slice String,
    detector String,
    statistic Float64,
    threshold Float64,
    events Int64,
    window_start DateTime64(3, 'UTC'),
    window_end DateTime64(3, 'UTC'),
    severity LowCardinality(String),
    evidence Map(String, Float64),
    time DateTime64(3, 'UTC')
)
ENGINE = ReplacingMergeTree
ORDER BY (topic, partition, offset)
SETTINGS non_replicated_deduplication_window = 10000, index_granularity = 1024;

CREATE TABLE IF NOT EXISTS retrain_requests
(
    topic LowCardinality(String),
    partition Int32,
    offset Int64,
    stored_at DateTime64(3, 'UTC') DEFAULT now64(3),
    retrain_id String,
    model LowCardinality(String),
    reason LowCardinality(String),
    since Nullable(DateTime64(3, 'UTC')),
    focus_slices Array(String),
    exclusions Array(String),
    alerts Array(String),
    seed_uri Nullable(String),
    drill Nullable(String),
    actor String,
    words String,
    time DateTime64(3, 'UTC')
)
ENGINE = ReplacingMergeTree
ORDER BY (topic, partition, offset)
SETTINGS non_replicated_deduplication_window = 10000, index_granularity = 1024;

CREATE TABLE IF NOT EXISTS candidates
(
    topic LowCardinality(String),
    partition Int32,
    offset Int64,
    stored_at DateTime64(3, 'UTC') DEFAULT now64(3),
    retrain_id String,
    model LowCardinality(String),
    version Int32,
    parent Nullable(Int32),
    adapter_uri String,
    adapter_digest String,
    base String,
    base_digest String,
    method LowCardinality(String),
    dataset_id String,
    dataset_uri String,
    model_card_uri String,
    run_uri String,
    repo_hash String,
    reason LowCardinality(String),
    drill Nullable(String),
    train_rows Int32,
    test_rows Int32,
    train_seconds Float64,
    time DateTime64(3, 'UTC')
)
ENGINE = ReplacingMergeTree
ORDER BY (topic, partition, offset)
SETTINGS non_replicated_deduplication_window = 10000, index_granularity = 1024;

CREATE TABLE IF NOT EXISTS verdicts
(
    topic LowCardinality(String),
    partition Int32,
    offset Int64,
    stored_at DateTime64(3, 'UTC') DEFAULT now64(3),
    verdict_id String,
    model LowCardinality(String),
    version Int32,
    retrain_id String,
    adapter_digest String,
    adapter_uri String,
    champion Nullable(Int32),
    result LowCardinality(String),
    axes String,
    reference Map(String, Float64),
    repo_hash String,
    report_uri String,
    words String,
    time DateTime64(3, 'UTC')
)
ENGINE = ReplacingMergeTree
ORDER BY (topic, partition, offset)
SETTINGS non_replicated_deduplication_window = 10000, index_granularity = 1024;

CREATE TABLE IF NOT EXISTS rollouts
(
    topic LowCardinality(String),
    partition Int32,
    offset Int64,
    stored_at DateTime64(3, 'UTC') DEFAULT now64(3),
    model LowCardinality(String),
    epoch Int64,
    champion Nullable(Int32),
    challenger Nullable(Int32),
    stage String,
    previous Nullable(Int32),
    since DateTime64(3, 'UTC'),
    paused Bool,
    quarantined Array(String),
    versions Map(String, String),
    repo_hash String,
    words String,
    time DateTime64(3, 'UTC')
)
ENGINE = ReplacingMergeTree
ORDER BY (topic, partition, offset)
SETTINGS non_replicated_deduplication_window = 10000, index_granularity = 1024;

CREATE TABLE IF NOT EXISTS routing
(
    topic LowCardinality(String),
    partition Int32,
    offset Int64,
    stored_at DateTime64(3, 'UTC') DEFAULT now64(3),
    model LowCardinality(String),
    epoch Int64,
    base String,
    base_digest String,
    arms String,
    shadows String,
    salt String,
    sticky_by String,
    rollback_to Nullable(Int32),
    scope Map(String, String),
    repo_hash String,
    time DateTime64(3, 'UTC')
)
ENGINE = ReplacingMergeTree
ORDER BY (topic, partition, offset)
SETTINGS non_replicated_deduplication_window = 10000, index_granularity = 1024;

CREATE TABLE IF NOT EXISTS routing_acks
(
    topic LowCardinality(String),
    partition Int32,
    offset Int64,
    stored_at DateTime64(3, 'UTC') DEFAULT now64(3),
    router LowCardinality(String),
    model LowCardinality(String),
    epoch Int64,
    status LowCardinality(String),
    digests Array(String),
    reason Nullable(String),
    time DateTime64(3, 'UTC')
)
ENGINE = ReplacingMergeTree
ORDER BY (topic, partition, offset)
SETTINGS non_replicated_deduplication_window = 10000, index_granularity = 1024;

CREATE TABLE IF NOT EXISTS commands
(
    topic LowCardinality(String),
    partition Int32,
    offset Int64,
    stored_at DateTime64(3, 'UTC') DEFAULT now64(3),
    command_id String,
    model LowCardinality(String),
    kind LowCardinality(String),
    version Nullable(Int32),
    args Map(String, String),
    actor String,
    reason LowCardinality(String),
    time DateTime64(3, 'UTC')
)
ENGINE = ReplacingMergeTree
ORDER BY (topic, partition, offset)
SETTINGS non_replicated_deduplication_window = 10000, index_granularity = 1024;

CREATE TABLE IF NOT EXISTS models
(
    topic LowCardinality(String),
    partition Int32,
    offset Int64,
    stored_at DateTime64(3, 'UTC') DEFAULT now64(3),
    model LowCardinality(String),
    repo_hash String,
    repo_uri String,
    actor String,
    time DateTime64(3, 'UTC')
)
ENGINE = ReplacingMergeTree
ORDER BY (topic, partition, offset)
SETTINGS non_replicated_deduplication_window = 10000, index_granularity = 1024;

CREATE TABLE IF NOT EXISTS audit
(
    topic LowCardinality(String),
    partition Int32,
    offset Int64,
    stored_at DateTime64(3, 'UTC') DEFAULT now64(3),
    audit_id String,
    model LowCardinality(String),
    service LowCardinality(String),
    decision LowCardinality(String),
    version Nullable(Int32),
    inputs String,
    result String,
    words String,
    previous_hash String,
    hash String,
    time DateTime64(3, 'UTC')
)
ENGINE = ReplacingMergeTree
ORDER BY (topic, partition, offset)
SETTINGS non_replicated_deduplication_window = 10000, index_granularity = 1024;

CREATE TABLE IF NOT EXISTS clock
(
    topic LowCardinality(String),
    partition Int32,
    offset Int64,
    stored_at DateTime64(3, 'UTC') DEFAULT now64(3),
    world String,
    time DateTime64(3, 'UTC'),
    positions Map(String, Int64)
)
ENGINE = ReplacingMergeTree
ORDER BY (topic, partition, offset)
SETTINGS non_replicated_deduplication_window = 10000, index_granularity = 1024;

-- Dead letters of every topic. source_* say where the record lay that could not be handled.
CREATE TABLE IF NOT EXISTS dead_letters
(
    topic LowCardinality(String),
    partition Int32,
    offset Int64,
    stored_at DateTime64(3, 'UTC') DEFAULT now64(3),
    source_topic LowCardinality(String),
    source_partition Int32,
    source_offset Int64,
    key Nullable(String),
    value Nullable(String),
    reason LowCardinality(String),
    message String,
    schema_id Nullable(Int32),
    service LowCardinality(String),
    first_seen DateTime64(3, 'UTC')
)
ENGINE = ReplacingMergeTree
ORDER BY (topic, partition, offset)
SETTINGS non_replicated_deduplication_window = 10000;

-- How far ingestion got: everything below next_offset is stored, dead-lettered and joined.
CREATE TABLE IF NOT EXISTS ingest_marks
(
    topic LowCardinality(String),
    partition Int32,
    next_offset Int64
)
ENGINE = ReplacingMergeTree(next_offset)
ORDER BY (topic, partition);
