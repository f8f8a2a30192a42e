"""The engine behind a base: the one module of the router that knows torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from threading import Lock
from weakref import WeakValueDictionary

from driftgate.classifier.base import BaseRef, resolve, same_base
from driftgate.classifier.serving import Classifier
from driftgate.errors import BadConfig


@dataclass
class Engines:
    """Makes engines. A base has one, also where records of an older release name it by another
    digest.

    Attributes:
        threads: of torch.
    """

    threads: int
    _made: WeakValueDictionary[BaseRef, Classifier] = field(default_factory=WeakValueDictionary)
    _making: Lock = field(default_factory=Lock)

    def of(self, base: str, base_digest: str) -> Classifier:
        """The engine of a base. An empty digest leaves it unpinned; adapters name theirs all the
        same.

        Raises:
            BadConfig: the base is not found, or is not the one that routing names.
            Corrupt: its bytes are not what they should be.
        """
        found = resolve(base)
        if base_digest and not same_base(found, base_digest):
            raise BadConfig(
                f"base {base}: its digest is {found.digest}, but routing names {base_digest}; "
                "install the base that the adapters were trained on"
            )
        with self._making:
            engine = self._made.get(found)
            if engine is None:
                engine = self._made[found] = Classifier(found, threads=self.threads)
            return engine
