-- What views and look-ups name must be there before ingestion meets the first record of its version.
ALTER TABLE outcomes
    ADD COLUMN IF NOT EXISTS reviewer Nullable(String),
    ADD COLUMN IF NOT EXISTS propensity Nullable(Float64),
    ADD COLUMN IF NOT EXISTS picked Nullable(String),
    ADD COLUMN IF NOT EXISTS instructions Nullable(String),
    ADD COLUMN IF NOT EXISTS metric Nullable(String),
    ADD COLUMN IF NOT EXISTS value Nullable(Float64),
    ADD COLUMN IF NOT EXISTS retracts Nullable(String),
    ADD COLUMN IF NOT EXISTS subject Nullable(String),
    ADD COLUMN IF NOT EXISTS heard Float64 DEFAULT 1.0;

ALTER TABLE inferences
    ADD COLUMN IF NOT EXISTS refused Bool DEFAULT false,
    ADD COLUMN IF NOT EXISTS broken Bool DEFAULT false;

-- What versions did on each router; see ServingCounts.
CREATE TABLE IF NOT EXISTS serving_counts
(
    topic LowCardinality(String),
    partition Int32,
    offset Int64,
    stored_at DateTime64(3, 'UTC') DEFAULT now64(3),
    router LowCardinality(String),
    started String,
    model LowCardinality(String),
    epoch Int64,
    versions String,
    time DateTime64(3, 'UTC')
)
ENGINE = ReplacingMergeTree
ORDER BY (topic, partition, offset)
SETTINGS non_replicated_deduplication_window = 10000, index_granularity = 1024;
