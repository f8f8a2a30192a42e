-- The review queue asks for these before ingestion has met the first record of their version.
ALTER TABLE feedback
    ADD COLUMN IF NOT EXISTS propensity Nullable(Float64),
    ADD COLUMN IF NOT EXISTS picked Nullable(String),
    ADD COLUMN IF NOT EXISTS instructions Nullable(String),
    ADD COLUMN IF NOT EXISTS retracts Nullable(String);
