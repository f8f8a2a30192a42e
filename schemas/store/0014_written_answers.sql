-- What services ask of written answers must be there before ingestion meets the first record of its
-- version.
ALTER TABLE inferences
    ADD COLUMN IF NOT EXISTS tokens_in Int32 DEFAULT 0,
    ADD COLUMN IF NOT EXISTS tokens_out Int32 DEFAULT 0,
    ADD COLUMN IF NOT EXISTS finish_reason LowCardinality(String) DEFAULT '',
    ADD COLUMN IF NOT EXISTS first_token_ms Nullable(Float64),
    ADD COLUMN IF NOT EXISTS logprob Nullable(Float64),
    ADD COLUMN IF NOT EXISTS prompt LowCardinality(String) DEFAULT '';

ALTER TABLE outcomes
    ADD COLUMN IF NOT EXISTS edit_distance Nullable(Float64),
    ADD COLUMN IF NOT EXISTS changed Map(String, String) DEFAULT map();

-- As before: a view has the columns that its table had when the view was made.
CREATE OR REPLACE VIEW answers AS
SELECT * FROM inferences FINAL
ORDER BY partition, offset
LIMIT 1 BY model, request_id, version, role;

-- Training pairs, as before, with the prompt that was answered and what the edit did.
CREATE OR REPLACE VIEW training_pairs AS
SELECT
    o.model AS model,
    o.request_id AS request_id,
    o.outcome_id AS outcome_id,
    a.version AS version,
    a.prompt AS prompt,
    a.input AS input,
    o.output AS output,
    assumeNotNull(o.edited) AS edited,
    o.edit_distance AS edit_distance,
    o.changed AS changed,
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
