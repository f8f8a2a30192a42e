"""Events: a class for each Avro record of `schemas/`, and the topics that carry them."""

from driftgate.events import generated
from driftgate.events.generated import *  # noqa: F403
from driftgate.events.record import AvroRecord
from driftgate.events.topics import DAY_MS, DLQ, HOUR_MS, Fields, Topic, Topics, topic_of

__all__ = [
    "DAY_MS",
    "DLQ",
    "HOUR_MS",
    "AvroRecord",
    "Fields",
    "Topic",
    "Topics",
    "topic_of",
]
__all__ += generated.__all__
