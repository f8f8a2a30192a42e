-- A look-up needs little of a projection: where the answers lie. The rest is read from there by the
-- order key, one granule an answer. To keep more than that a second time costs more, at every insert
-- and every merge, than it saves at a look-up, as long as few answers get feedback.
-- Until it is made for older rows too, look-ups read the hash of each of these. Where migration 0003
-- is still making the projection that goes, the engine refuses this: start again when it is done.
ALTER TABLE inferences DROP PROJECTION IF EXISTS by_request;

ALTER TABLE inferences
    ADD PROJECTION IF NOT EXISTS by_request_hash
    (
        SELECT
            request_hash,
            topic,
            partition,
            offset
        ORDER BY request_hash
    )
    WITH SETTINGS (
        index_granularity = 128,
        min_compress_block_size = 8192,
        max_compress_block_size = 16384
    );

ALTER TABLE inferences MATERIALIZE PROJECTION by_request_hash;
