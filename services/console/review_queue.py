"""What the store holds of the review sample: who is drawn, what was answered, what was said."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from string import Template
from typing import Any, Literal

from driftgate import buckets
from driftgate.errors import BadConfig
from driftgate.events import DAY_MS, Feedback
from driftgate.model_repo import ModelYaml
from driftgate.review import chance, drawn, salt, twice
from driftgate.review.question import Answer, Question, heard, shuffled
from driftgate.review.queue import Words, closed_for, words
from driftgate.review.sample import threshold
from driftgate.review.statistics import Drawn, Reviewed, Rules, Statistics, statistics
from driftgate.store import Store
from driftgate.tasks import task_of

Value = Literal["disagreement", "confidence"]

DRAWN = buckets.SQL.format(salt="{salt:String}", key="request_id") + " < {drawn:Int64}"
MINE = "murmurHash3_32(concat({mine:String}, request_id))"
ASKED = """
    model = {model:String} AND time >= fromUnixTimestamp64Milli({since:Int64})
    AND input IS NOT NULL"""

# The oldest day first; within a day each reviewer has an order of their own, so that two who work
# at the same time rarely get the same request.
NEXT_DRAWN = f"""
SELECT request_id FROM inferences
WHERE {ASKED} AND role = 'live' AND {DRAWN}
GROUP BY request_id
ORDER BY toDate(min(time)), {MINE}, request_id
LIMIT {{limit:Int64}}
"""  # noqa: S608
# What is drawn is left to the sample: were the doubtful ones of it asked first, it would no longer
# be a random one while it is not asked whole.
NEXT_PICKED: dict[Value, str] = {
    "disagreement": f"""
SELECT request_id FROM inferences
WHERE {ASKED} AND NOT {DRAWN}
GROUP BY request_id
HAVING uniqExact(output) > 1 AND countIf(role = 'live') > 0
ORDER BY toDate(min(time)) DESC, {MINE}, request_id
LIMIT {{limit:Int64}}
""",  # noqa: S608
    "confidence": f"""
SELECT request_id FROM inferences
WHERE {ASKED} AND NOT {DRAWN} AND role = 'live' AND confidence IS NOT NULL
GROUP BY request_id
ORDER BY floor(min(confidence), 2), {MINE}, request_id
LIMIT {{limit:Int64}}
""",  # noqa: S608
}

SAID = Template("""
SELECT feedback_id, request_id, model, kind, label, edited, reason, reviewer, propensity, picked,
    instructions, retracts, toUnixTimestamp64Milli(time) AS ms
FROM feedback FINAL
WHERE model = {model:String} AND kind IN ('review', 'retraction') AND $where
ORDER BY partition, offset
LIMIT 1 BY feedback_id
""")
SAID_OF = SAID.substitute(
    where="request_hash = cityHash64({id:String}) AND request_id = {id:String}"
)
IS_STORED = "SELECT count() AS rows FROM feedback WHERE feedback_id = {id:String}"
SAID_SINCE = SAID.substitute(where="time >= fromUnixTimestamp64Milli({since:Int64})")

LOOKED_UP = 1000
# As ingestion finds the answer that a feedback is about: by the projection of hashes.
ANSWERS = """
SELECT request_id, version, role, input, output, slices, toUnixTimestamp64Milli(time) AS ms
FROM inferences
WHERE (topic, partition, offset) IN
(
    SELECT topic, partition, offset FROM inferences
    WHERE request_hash IN (SELECT cityHash64(arrayJoin({ids:Array(String)})))
) AND model = {model:String} AND request_id IN {ids:Array(String)}
ORDER BY partition, offset
LIMIT 1 BY request_id, version, role
SETTINGS preferred_optimize_projection_name = 'by_request_hash'
"""

WEEKS = f"""
SELECT
    toUnixTimestamp(toDateTime(toMonday(asked), 'UTC')) * 1000 AS monday,
    count() AS requests,
    countIf(NOT has_text) AS without_text,
    countIf(is_young) AS young,
    countIf(is_young AND NOT has_text) AS young_without_text
FROM
(
    SELECT
        min(time) AS asked,
        max(input IS NOT NULL) AS has_text,
        asked >= fromUnixTimestamp64Milli({{oldest:Int64}}) AS is_young
    FROM inferences
    WHERE model = {{model:String}} AND time >= fromUnixTimestamp64Milli({{since:Int64}})
        AND role = 'live' AND {DRAWN}
    GROUP BY request_id
)
GROUP BY monday
"""  # noqa: S608


@dataclass(frozen=True, slots=True)
class Queue:
    """The review sample of a model at one time, ms."""

    store: Store
    declared: ModelYaml
    now: int

    @property
    def model(self) -> str:
        return self.declared.model

    @property
    def oldest(self) -> int:
        """Requests from before are asked no more, ms."""
        return self.now - self.declared.review.days * DAY_MS

    def next(
        self, reviewer: str, picked: Value | None = None, skip: Iterable[str] = ()
    ) -> Question | None:
        """The request that a reviewer should look at, but none of `skip`; None: there is none.

        Raises:
            StoreRefused, StoreUnavailable
        """
        said = self.said_since(self.oldest)
        needs_two = {one for one in said if self.needs_two(one)} if picked is None else set()
        closed = closed_for(reviewer, said, needs_two) | set(skip)
        sql = NEXT_DRAWN if picked is None else NEXT_PICKED[picked]
        # One more than those that may have to be passed over.
        found = self._query(sql, mine=f"{salt(self.model)}{reviewer}/", limit=len(closed) + 1)
        for row in found:
            request_id = row["request_id"]
            if request_id not in closed and (asked := self.question(request_id, reviewer, picked)):
                return asked
        return None

    def question(self, request_id: str, reviewer: str, picked: str | None) -> Question | None:
        """What a reviewer sees of a request; None: no answer or no text of it is stored."""
        answers = self.answers(request_id)
        given = heard(answers)
        if given is None or given.text is None:
            return None
        return Question(
            model=self.model,
            request_id=request_id,
            time=given.time,
            text=given.text,
            answers=shuffled([answer.output for answer in answers], request_id, reviewer),
            slices=given.slices,
            labels=task_of(self.declared.task).outputs,
            instructions=self.declared.review.instructions,
            picked=picked,
        )

    def propensity(self, given: Answer, request_id: str, before: Feedback | None) -> float | None:
        """With which chance a request was drawn; None: the queue does not ask for it. Who has
        reviewed it by the sample may say something else later, however old it is by then."""
        if not drawn(self.model, request_id, self.declared.review.share):
            return None
        asked = given.time >= self.oldest or (before is not None and before.propensity is not None)
        return chance(self.declared.review.share) if asked else None

    def needs_two(self, request_id: str) -> bool:
        return twice(self.model, request_id, self.declared.review.twice)

    def answers(self, request_id: str) -> list[Answer]:
        """All that was answered to a request, in the order in which it was stored."""
        return self.answers_to([request_id]).get(request_id, [])

    def answers_to(self, request_ids: Sequence[str]) -> dict[str, list[Answer]]:
        found: defaultdict[str, list[Answer]] = defaultdict(list)
        for at in range(0, len(request_ids), LOOKED_UP):
            ids = list(request_ids[at : at + LOOKED_UP])
            for row in self.store.query(ANSWERS, model=self.model, ids=ids):
                is_heard = row["role"] == "live"
                answer = (row["version"], is_heard, row["input"], row["output"], row["slices"])
                found[row["request_id"]].append(Answer(*answer, row["ms"]))
        return found

    def said_of(self, request_id: str) -> Words:
        """The last word of each reviewer on a request."""
        rows = self.store.query(SAID_OF, model=self.model, id=request_id)
        return words(map(feedback_of, rows)).get(request_id, {})

    def said_since(self, since: int) -> dict[str, Words]:
        """The same of all requests, as far as it was said since a time, ms."""
        rows = self.store.query(SAID_SINCE, model=self.model, since=since)
        return words(map(feedback_of, rows))

    def is_stored(self, feedback: Feedback) -> bool:
        (found,) = self.store.query(IS_STORED, id=feedback.feedback_id)
        return bool(found["rows"])

    def statistics(self, since: int) -> Statistics:
        """Of requests asked since a time, ms.

        Raises:
            StoreRefused, StoreUnavailable
        """
        review = self.declared.review
        rules = Rules(self.model, review.share, review.twice, review.days * DAY_MS)
        task = task_of(self.declared.task)
        found = {row["monday"]: drawn_of(row) for row in self._query(WEEKS, since=since)}
        return statistics(found, list(self._reviewed(since)), rules, task, self.now)

    def _reviewed(self, since: int) -> Iterator[Reviewed]:
        said = self.said_since(since)
        answers = self.answers_to(list(said))
        for request_id, own in said.items():
            given = heard(answers.get(request_id, ()))
            if given is not None and given.text is not None and given.time >= since:
                yield Reviewed(request_id, given.time, given.version, given.output, own)

    def _query(self, sql: str, **parameters: Any) -> list[dict[str, Any]]:
        usual = {"since": self.oldest, "oldest": self.oldest, "model": self.model}
        sample = {"salt": salt(self.model), "drawn": threshold(self.declared.review.share)}
        return self.store.query(sql, **usual | sample | parameters)


def refuse_without_sample(declared: ModelYaml) -> None:
    """
    Raises:
        BadConfig: the model draws no request for review.
    """
    share = declared.review.share
    if not chance(share):
        raise BadConfig(
            f"{declared.model} draws no requests for review: `review.share` is {share:g}, expected "
            "at least 0.0001, and `review` among `feedback.profile`, in model.yaml; then "
            "`driftgate apply`"
        )


def drawn_of(row: dict[str, Any]) -> tuple[Drawn, Drawn]:
    young = Drawn(row["young"], row["young_without_text"])
    return Drawn(row["requests"], row["without_text"]), young


def feedback_of(row: dict[str, Any]) -> Feedback:
    return Feedback.of(row | {"time": row["ms"]})
