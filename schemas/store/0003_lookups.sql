-- Feedback finds its answer by request_id, and ids are random: a look-up of a thousand ids touches a
-- thousand places in every part. So `inferences` keeps what a look-up returns a second time, ordered
-- by a hash of the id, in small pieces. A projection is part of its part: both are there or neither.
-- The bloom filters say "maybe" of nearly every granule for so many ids, and cost more at an insert.
ALTER TABLE inferences
    MODIFY SETTING
        deduplicate_merge_projection_mode = 'rebuild',
        lightweight_mutation_projection_mode = 'rebuild',
        materialize_ttl_recalculate_only = 1;

ALTER TABLE inferences DROP INDEX IF EXISTS by_request_id;

ALTER TABLE inferences
    ADD COLUMN IF NOT EXISTS request_hash UInt64 MATERIALIZED cityHash64(request_id);

ALTER TABLE inferences
    ADD PROJECTION IF NOT EXISTS by_request
    (
        SELECT
            request_hash,
            topic,
            partition,
            offset,
            request_id,
            model,
            version,
            role,
            slices,
            output,
            confidence,
            time
        ORDER BY request_hash
    )
    WITH SETTINGS (
        index_granularity = 128,
        min_compress_block_size = 8192,
        max_compress_block_size = 16384
    );

ALTER TABLE inferences MATERIALIZE PROJECTION by_request;

-- The other way, a batch of new answers looks for earlier feedback: more ids than a look-up is good
-- for, against a table that is small. It reads this one column of it.
ALTER TABLE feedback DROP INDEX IF EXISTS by_request_id;

ALTER TABLE feedback
    ADD COLUMN IF NOT EXISTS request_hash UInt64 MATERIALIZED cityHash64(request_id);

ALTER TABLE feedback MODIFY SETTING materialize_ttl_recalculate_only = 1;
