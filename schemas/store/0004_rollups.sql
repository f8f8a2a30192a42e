-- Per-minute roll-ups. They are aggregating projections, not materialized views: a crash between the
-- insert of a row and the insert into a view's table would leave the two apart for good, since
-- ingestion goes on from what `inferences` holds. A projection is written with its part.
ALTER TABLE inferences
    ADD PROJECTION IF NOT EXISTS per_minute
    (
        SELECT
            toStartOfMinute(time),
            model,
            version,
            role,
            slices,
            count(),
            count(confidence),
            sum(confidence),
            sum(latency_ms),
            quantilesTDigestState(0.5, 0.95, 0.99)(latency_ms)
        GROUP BY toStartOfMinute(time), model, version, role, slices
    );

ALTER TABLE inferences MATERIALIZE PROJECTION per_minute;

ALTER TABLE outcomes
    MODIFY SETTING
        deduplicate_merge_projection_mode = 'rebuild',
        lightweight_mutation_projection_mode = 'rebuild',
        materialize_ttl_recalculate_only = 1;

-- An outcome may lie on its topic twice, under one id.
ALTER TABLE outcomes
    ADD PROJECTION IF NOT EXISTS per_minute
    (
        SELECT
            toStartOfMinute(inference_time),
            model,
            version,
            slices,
            uniqExactIfState(outcome_id, was_correct IS NOT NULL),
            uniqExactIfState(outcome_id, was_correct)
        GROUP BY toStartOfMinute(inference_time), model, version, slices
    );

ALTER TABLE outcomes MATERIALIZE PROJECTION per_minute;

CREATE OR REPLACE VIEW answers_per_minute AS
SELECT
    minute,
    model,
    version,
    role,
    arrayJoin(arrayConcat(['all'], arrayMap((k, v) -> concat(k, '=', v), mapKeys(slices), mapValues(slices)))) AS slice,
    sum(n) AS answers,
    sum(n_confidence) AS with_confidence,
    sum(s_confidence) AS confidence_sum,
    sum(s_latency) AS latency_ms_sum,
    quantilesTDigestMerge(0.5, 0.95, 0.99)(latency) AS latency_ms
FROM
(
    SELECT
        toStartOfMinute(time) AS minute,
        model,
        version,
        role,
        slices,
        count() AS n,
        count(confidence) AS n_confidence,
        sum(confidence) AS s_confidence,
        sum(latency_ms) AS s_latency,
        quantilesTDigestState(0.5, 0.95, 0.99)(latency_ms) AS latency
    FROM inferences
    GROUP BY minute, model, version, role, slices
)
GROUP BY minute, model, version, role, slice;

-- By the time of the answer, so that a minute's outcomes stand beside its answers.
CREATE OR REPLACE VIEW outcomes_per_minute AS
SELECT
    minute,
    model,
    version,
    arrayJoin(arrayConcat(['all'], arrayMap((k, v) -> concat(k, '=', v), mapKeys(slices), mapValues(slices)))) AS slice,
    uniqExactIfMerge(known_ids) AS known,
    uniqExactIfMerge(right_ids) AS right
FROM
(
    SELECT
        toStartOfMinute(inference_time) AS minute,
        model,
        version,
        slices,
        uniqExactIfState(outcome_id, was_correct IS NOT NULL) AS known_ids,
        uniqExactIfState(outcome_id, was_correct) AS right_ids
    FROM outcomes
    GROUP BY minute, model, version, slices
)
GROUP BY minute, model, version, slice;
