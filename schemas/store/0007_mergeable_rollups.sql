-- Percentiles of minutes cannot be merged into those of a day, their states can.
CREATE OR REPLACE VIEW answers_rolled_up AS
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
    quantilesTDigestMergeState(0.5, 0.95, 0.99)(latency) AS latency_ms_state
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

CREATE OR REPLACE VIEW answers_per_minute AS
SELECT
    * EXCEPT latency_ms_state,
    finalizeAggregation(latency_ms_state) AS latency_ms
FROM answers_rolled_up;
