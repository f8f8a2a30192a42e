-- A crash may send an outcome to its topic again, at another offset. Ingestion stores only ids that the
-- table does not hold, and asks this projection for them: where the rows of an id lie, ordered by a
-- hash of the id, as `by_request_hash` of `inferences` does. It takes the place of the bloom filter.
ALTER TABLE outcomes DROP INDEX IF EXISTS by_outcome_id;

ALTER TABLE outcomes
    ADD COLUMN IF NOT EXISTS outcome_hash UInt64 MATERIALIZED cityHash64(outcome_id);

ALTER TABLE outcomes
    ADD PROJECTION IF NOT EXISTS by_outcome_hash
    (
        SELECT
            outcome_hash,
            topic,
            partition,
            offset
        ORDER BY outcome_hash
    )
    WITH SETTINGS (
        index_granularity = 128,
        min_compress_block_size = 8192,
        max_compress_block_size = 16384
    );

ALTER TABLE outcomes MATERIALIZE PROJECTION by_outcome_hash;

-- Of an id that was stored more than once before, the first row stays, which the views count too.
ALTER TABLE outcomes DELETE WHERE (partition, offset) IN
(
    SELECT arrayJoin(arraySlice(arraySort(groupArray((partition, offset))), 2))
    FROM outcomes
    GROUP BY outcome_id
    HAVING count() > 1
);
