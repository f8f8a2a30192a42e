-- What settles something takes the latest word on each request: the rule of `driftgate.latest_word`,
-- over all that was ever said. The two are held to each other by tests/contract/test_latest_word.py.
CREATE OR REPLACE VIEW latest_words AS
SELECT o.*
FROM
(
    SELECT * FROM outcomes FINAL
    WHERE kind IN ('rating', 'edit', 'correction', 'review')
) AS o
LEFT JOIN
(
    SELECT model, request_id, ifNull(reviewer, '') AS who, max(feedback_time) AS withdrawn_at
    FROM outcomes FINAL
    WHERE kind = 'retraction' AND retracts IS NULL
    GROUP BY model, request_id, who
) AS r ON o.model = r.model AND o.request_id = r.request_id AND ifNull(o.reviewer, '') = r.who
WHERE o.feedback_time > r.withdrawn_at  -- 1970 where nothing was withdrawn
  AND (o.label IS NOT NULL OR o.rating IS NOT NULL OR o.edited IS NOT NULL)
  AND (o.model, o.request_id, o.outcome_id) NOT IN
  (
      SELECT model, request_id, assumeNotNull(retracts) FROM outcomes FINAL
      WHERE kind = 'retraction' AND retracts IS NOT NULL
  )
ORDER BY
    indexOf(['rating', 'edit', 'correction', 'review'], o.kind) DESC,
    o.feedback_time DESC,
    o.outcome_id DESC
LIMIT 1 BY o.model, o.request_id;

-- Who rates an answer as good says that its label is right; a rating of 0.5 says nothing.
CREATE OR REPLACE VIEW labels AS
SELECT
    model,
    request_id,
    coalesce(w.label, if(w.rating > 0.5, w.output, NULL)) AS label,
    time AS labelled_at
FROM latest_words AS w
WHERE w.label IS NOT NULL OR w.rating > 0.5;

-- Live answers with what is now known about them. failure_cluster: answered as -> should have been.
CREATE OR REPLACE VIEW inference_log AS
SELECT
    a.request_id AS request_id,
    a.model AS model,
    a.version AS version,
    a.input_hash AS input_hash,
    a.features AS features,
    a.slices AS slices,
    a.output AS output,
    a.confidence AS confidence,
    a.time AS served_at,
    o.known AS known,
    if(o.known, o.was_correct, NULL) AS was_correct,
    if(o.known AND o.label IS NOT NULL AND o.label != a.output,
       concat(a.output, ' -> ', assumeNotNull(o.label)), NULL) AS failure_cluster
FROM (SELECT * FROM answers WHERE role = 'live') AS a
LEFT JOIN
(
    SELECT
        model,
        request_id,
        true AS known,
        if(w.label IS NULL AND w.rating = 0.5, NULL, w.was_correct) AS was_correct,
        label
    FROM latest_words AS w
) AS o USING (model, request_id);
