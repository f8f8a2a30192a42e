"""What is asked of the store about a trial. `$rows` is where its answers lie, `$by_request` whether
a request stands for itself also where it has a person, `$latest` the words that count."""

# ruff: noqa: S608 - what is put into these texts is written here, or checked by model.yaml's types
from __future__ import annotations

from string import Template

BEGINS = """
SELECT partition, min(offset) AS first FROM inferences
WHERE model = {model:String} AND time >= {since:DateTime64(3, 'UTC')}
GROUP BY partition
"""

# Every request of the stage that both versions answered, once: what a client asked twice counts by
# its first answer. Of the two it says which was heard, and with what chance that was the new one.
ANSWERED = """
answered AS
(
    SELECT
        request_id,
        argMinIf(output, (partition, offset), role = 'live') AS live,
        argMinIf(version, (partition, offset), role = 'live') = {new:Int32} AS of_new,
        argMinIf(output, (partition, offset), role = 'shadow') AS other,
        argMinIf(propensity, (partition, offset), role = 'live') AS propensity,
        anyIf(slices, role = 'live') AS slices,
        anyIf(subject, role = 'live') AS person,
        $by_request OR ifNull(person, '') = '' AS alone,
        if(alone, request_id, assumeNotNull(person)) AS key,
        minIf(toUnixTimestamp64Milli(time), role = 'live') AS at
    FROM inferences
    WHERE $rows AND model = {model:String} AND version IN ({old:Int32}, {new:Int32})
        AND time >= {since:DateTime64(3, 'UTC')} AND time <= {until:DateTime64(3, 'UTC')}
    GROUP BY request_id
    HAVING countIf(role = 'live') > 0 AND uniqExact(version) = 2
)"""

WORDS = """
words AS
(
    SELECT *, $taught AS target, toUnixTimestamp64Milli(feedback_time) AS said FROM $latest
)"""

KNOWN = Template(
    f"WITH {ANSWERED} SELECT count() AS both, countIf(live != other) AS differ FROM answered"
)

# One row for all people alike. `bad`: anything that counts against the version that was heard;
# `counts`: the same, said in time.
BY_PERSON = """
SELECT slice, chance, is_new, went_bad, closed, worse, count() AS people
FROM
(
    SELECT
        slice,
        key,
        any(of_new) AS is_new,
        any(chance_of_new) AS chance,
        max(bad) AS went_bad,
        groupArray((moment, counts)) AS all_moments,
        min(moment) AS first,
        arrayFilter(m -> m.1 < first + {window:Int64}, all_moments) AS moments,
        first + if(any(alone), 0, {window:Int64}) + {settled:Int64} <= {now:Int64} AS closed,
        arraySum(m -> m.2, moments) / length(moments)
            * if(is_new, 1 / chance, -1 / (1 - chance)) AS worse
    FROM
    (
        SELECT
            *,
            if(of_new, propensity, 1 - propensity) AS chance_of_new,
            arrayFilter(
                s -> has(mapKeys(slices), splitByChar('=', s)[1])
                    AND slices[splitByChar('=', s)[1]] = substring(s, position(s, '=') + 1),
                {slices:Array(String)}
            ) AS inside,
            arrayJoin(arrayConcat(['all'], inside)) AS slice
        FROM ($moments)
        WHERE propensity > 0 AND propensity < 1
    )
    GROUP BY slice, key
)
GROUP BY slice, chance, is_new, went_bad, closed, worse
"""

HEARD = Template(
    f"WITH {ANSWERED}, {WORDS}"
    + BY_PERSON.replace(
        "$moments",
        """
            SELECT
                a.*, ifNull(w.was_correct = false, false) AND a.live != a.other AS bad,
                bad AND w.said <= a.at + {settled:Int64} AS counts, a.at AS moment
            FROM answered AS a LEFT JOIN words AS w USING (request_id)
        """,
    )
)
TOLD = Template(
    f"WITH {ANSWERED}, {WORDS}"
    + BY_PERSON.replace(
        "$moments",
        """
            SELECT
                a.*, ifNull(w.was_correct = false, false) AND a.live != a.other AS bad,
                bad AS counts, w.said AS moment
            FROM answered AS a INNER JOIN words AS w USING (request_id)
            WHERE w.was_correct IS NOT NULL
        """,
    )
)
PAIRS = Template(
    f"WITH {ANSWERED}, {WORDS}"
    + """
SELECT a.key AS key, a.alone AS alone, a.slices AS slices, a.of_new AS is_new, a.live AS live,
    a.other AS other, assumeNotNull(w.target) AS target, w.said AS said
FROM answered AS a INNER JOIN words AS w USING (request_id)
WHERE w.target IS NOT NULL
ORDER BY said, a.request_id
"""
)


# Live answers with a number each; `value` is that of the metric.
NUMBERS = """
numbers AS
(
    SELECT
        request_id, version = {new:Int32} AS of_new, propensity, slices, subject,
        $by_request OR ifNull(subject, '') = '' AS alone,
        if(alone, request_id, assumeNotNull(subject)) AS key,
        toUnixTimestamp64Milli(time) AS moment, toFloat64($column) AS value
    FROM inferences
    WHERE $rows AND model = {model:String} AND version IN ({old:Int32}, {new:Int32})
        AND role = 'live' AND time >= {since:DateTime64(3, 'UTC')}
        AND time <= {until:DateTime64(3, 'UTC')}
    ORDER BY partition, offset
    LIMIT 1 BY request_id
)"""
SENT = """
numbers AS
(
    SELECT
        request_id, version = {new:Int32} AS of_new, heard AS propensity, slices, subject,
        $by_request OR ifNull(subject, '') = '' AS alone,
        if(alone, request_id, assumeNotNull(subject)) AS key,
        toUnixTimestamp64Milli(inference_time) AS moment, assumeNotNull(value) AS value
    FROM outcomes FINAL
    WHERE model = {model:String} AND version IN ({old:Int32}, {new:Int32})
        AND kind = 'metric' AND metric = {metric:String} AND isFinite(value)
        AND inference_time >= {since:DateTime64(3, 'UTC')}
        AND time <= {until:DateTime64(3, 'UTC')}
    ORDER BY feedback_time DESC, outcome_id DESC
    LIMIT 1 BY request_id
)"""
WORSE = BY_PERSON.replace(
    "$moments", "SELECT *, value $worse {limit:Float64} AS bad, bad AS counts FROM numbers"
)
USUAL = """
SELECT count() AS answers, quantileExact({at:Float64})(value) AS usual
FROM numbers WHERE NOT of_new
"""
