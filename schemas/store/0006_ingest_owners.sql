-- Who may store the records of a partition: the owner of the highest epoch. Inserts of others are
-- refused, however late they come.
CREATE TABLE IF NOT EXISTS ingest_owners
(
    topic LowCardinality(String),
    partition Int32,
    epoch Int64,
    owner String,
    since DateTime64(3, 'UTC') DEFAULT now64(3)
)
ENGINE = MergeTree
ORDER BY (topic, partition, epoch);
