-- Alerts are steps of incidents.
ALTER TABLE drift_alerts
    ADD COLUMN IF NOT EXISTS incident_id String DEFAULT '',
    ADD COLUMN IF NOT EXISTS transition LowCardinality(String) DEFAULT 'open',
    ADD COLUMN IF NOT EXISTS since_earliest DateTime64(3, 'UTC') DEFAULT toDateTime64(0, 3, 'UTC'),
    ADD COLUMN IF NOT EXISTS since_latest DateTime64(3, 'UTC') DEFAULT toDateTime64(0, 3, 'UTC'),
    ADD COLUMN IF NOT EXISTS streams Array(String) DEFAULT [],
    ADD COLUMN IF NOT EXISTS examples Array(String) DEFAULT [],
    ADD COLUMN IF NOT EXISTS cause String DEFAULT '',
    ADD COLUMN IF NOT EXISTS action String DEFAULT '',
    ADD COLUMN IF NOT EXISTS advice String DEFAULT '',
    ADD COLUMN IF NOT EXISTS summary String DEFAULT '';
