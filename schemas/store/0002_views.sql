-- What people and services ask. A request that a client tried twice has several rows: the first counts.
CREATE OR REPLACE VIEW answers AS
SELECT * FROM inferences FINAL
ORDER BY partition, offset
LIMIT 1 BY model, request_id, version, role;

-- The label of a request is the last that anybody gave, by the time of the feedback. Who rates an
-- answer as good says that its label is right.
CREATE OR REPLACE VIEW labels AS
SELECT
    o.model AS model,
    o.request_id AS request_id,
    argMax(coalesce(o.label, if(o.was_correct, o.output, NULL)), (o.feedback_time, o.outcome_id)) AS label,
    max(o.time) AS labelled_at
FROM outcomes AS o FINAL
WHERE o.label IS NOT NULL OR o.was_correct
GROUP BY o.model, o.request_id;

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
        argMax(u.was_correct, (u.feedback_time, u.outcome_id)) AS was_correct,
        argMax(u.label, (u.feedback_time, u.outcome_id)) AS label
    FROM outcomes AS u FINAL
    GROUP BY model, request_id
) AS o USING (model, request_id);
