-- What people said, told apart. Nothing is settled here: every view keeps all that was said.

-- Training pairs: a text, what was answered, and the answer as somebody rewrote it.
CREATE OR REPLACE VIEW training_pairs AS
SELECT
    o.model AS model,
    o.request_id AS request_id,
    o.outcome_id AS outcome_id,
    a.version AS version,
    a.input AS input,
    o.output AS output,
    assumeNotNull(o.edited) AS edited,
    a.slices AS slices,
    a.subject AS subject,
    o.inference_time AS answered_at,
    o.feedback_time AS edited_at
FROM
(
    SELECT * FROM outcomes FINAL
    WHERE edited IS NOT NULL
    ORDER BY partition, offset
    LIMIT 1 BY outcome_id
) AS o
INNER JOIN (SELECT * FROM answers WHERE role = 'live') AS a USING (model, request_id, version);

-- Requests of which reviewers gave different labels; a reviewer's own last label counts.
CREATE OR REPLACE VIEW reviewer_disagreements AS
SELECT
    model,
    request_id,
    groupArray(said) AS labels,
    groupArray(who) AS reviewers,
    max(said_at) AS last_at
FROM
(
    SELECT
        model,
        request_id,
        coalesce(reviewer, feedback_id) AS who,
        argMax(assumeNotNull(label), (time, feedback_id)) AS said,
        max(time) AS said_at
    FROM feedback FINAL
    WHERE kind = 'review' AND label IS NOT NULL
    GROUP BY model, request_id, who
    ORDER BY said_at, who
)
GROUP BY model, request_id
HAVING uniqExact(said) > 1;

-- Every rating of an answer, once.
CREATE OR REPLACE VIEW ratings AS
SELECT
    model,
    request_id,
    outcome_id,
    version,
    slices,
    output,
    assumeNotNull(o.rating) AS rating,
    inference_time AS answered_at,
    feedback_time AS rated_at
FROM outcomes AS o FINAL
WHERE o.rating IS NOT NULL
ORDER BY partition, offset
LIMIT 1 BY outcome_id;
