"""Makes a bus and a store ready: creates topics, applies migrations. Repeatable."""

from __future__ import annotations

import sys

from driftgate import config
from driftgate.bus_kafka import KafkaBus
from driftgate.errors import DriftgateError
from driftgate.events import Topics
from driftgate.store import Store, migrate


def main() -> None:
    settings = config.load()
    bus = KafkaBus(settings.kafka)
    topics = Topics.load(settings.schemas)
    bus.ensure(topics.by_name.values())
    bus.close()
    store = Store.connect(settings.store, settings.database)
    applied = migrate(store, settings.schemas / "store")
    print(f"{len(topics.names())} topics exist, {len(applied)} migrations applied")


if __name__ == "__main__":
    try:
        main()
    except DriftgateError as error:
        sys.exit(f"bootstrap: {error}")
