"""Which versions a server serves by their names, and the proof that it does.

Each is loaded under its digest and then proven (`driftgate.generator.probe`), once before it
answers and again at intervals. One that is no longer what it was answers nobody from then on; it is
loaded anew until it is proven again.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

import structlog

from driftgate.errors import BadConfig, DriftgateError, UpstreamUnavailable, WrongAdapter
from driftgate.generator.probe import Known, Probe, Record, difference
from driftgate.generator.upstream_api import Api, NotLoaded
from driftgate.generator.upstream_messages import Served

log = structlog.get_logger()


@dataclass(slots=True)
class Version:
    """One that shall be served.

    record: what proves it; None until an answer was taken for that of a version without one.
    said: what the server said when it was proven last.
    wrong: what the last proof found; empty where it held.
    """

    folder: Path
    record: Record | None
    said: Record | None = None
    wrong: str = "it was not proven yet"


class Versions:
    """Those of one server. All but `wrong` is for its event loop alone."""

    def __init__(self, api: Api, probe: Probe) -> None:
        """
        Args:
            probe: what versions without a record are asked.
        """
        self._api, self._probe = api, probe
        self._wanted: dict[str, Version] = {}
        self._turn = asyncio.Lock()

    def wrong(self, name: str) -> str:
        """Why a version cannot answer; empty: it can. Any thread may ask."""
        version = self._wanted.get(name)
        return version.wrong if version else "it is not loaded"

    async def base(self) -> Served:
        """
        Raises:
            BadConfig: the server lists none.
        """
        bases = [one for one in await self._api.models() if one.parent is None]
        if not bases:
            raise BadConfig("upstream: it lists no model without a parent, which would be the base")
        return bases[0]

    async def load(self, name: str, folder: Path, record: Record | None) -> None:
        """
        Raises:
            WrongAdapter: what answers under the name is not this version. It is unloaded.
            BadConfig, UpstreamUnavailable: it cannot be loaded or asked.
        """
        async with self._turn:
            version = Version(folder, record)
            await self._made(name, version)
            self._wanted[name] = version

    async def unload(self, name: str) -> None:
        async with self._turn:
            if self._wanted.pop(name, None):
                try:
                    await self._api.unload(name)
                except UpstreamUnavailable as error:  # there it stays, and costs memory
                    log.warning("version not unloaded", version=name, error=str(error))

    async def restore(self, name: str) -> None:
        """Loads a version again that the server does not know any more.

        Raises:
            NotLoaded: it is not to be served.
            WrongAdapter, BadConfig, UpstreamUnavailable: as `load`.
        """
        async with self._turn:
            version = self._wanted.get(name)
            if version is None:
                raise NotLoaded(f"version {name} is not loaded")
            await self._made(name, version)

    async def watch(self, seconds: float) -> None:
        """Proves all versions again, at intervals, for ever."""
        while True:
            await asyncio.sleep(seconds)
            for name in list(self._wanted):
                async with self._turn:
                    await self._proven_again(name)

    async def _proven_again(self, name: str) -> None:
        version = self._wanted.get(name)
        if version is None:
            return
        try:
            if version.wrong:  # as it is at present, the server has no right one
                await self._api.unload(name)
            await self._made(name, version)
        except (WrongAdapter, BadConfig) as error:
            log.error("version not proven", version=name, error=str(error))
        except DriftgateError as error:  # its questions get errors of their own
            log.warning("upstream not asked", version=name, error=str(error))

    async def _made(self, name: str, version: Version) -> None:
        await self._api.load(name, version.folder)
        try:
            await self._prove(name, version)
        except WrongAdapter as error:
            version.wrong = str(error)
            await self._api.unload(name)
            raise

    async def _prove(self, name: str, version: Version) -> None:
        probe = version.record.probe if version.record else self._probe
        base = (await self.base()).name
        said = Record(*probe, await self._scores(base, probe), await self._scores(name, probe))
        known = {
            other: Known(one.record, one.said)
            for other, one in self._wanted.items()
            if other != name and one.record and one.said
        }
        if why := difference(version.record, said, known):
            raise WrongAdapter(
                f"upstream: what it serves as version {name} is not that version: {why}. Expected "
                f"the adapter of {version.folder}; ask again, and start the server anew if it stays"
            )
        version.record, version.said, version.wrong = version.record or said, said, ""

    async def _scores(self, model: str, probe: Probe) -> tuple[float, ...]:
        tokens = probe.tokens
        asked = [self._api.score(model, tokens[:at], tokens[at]) for at in probe.places]
        return tuple(await asyncio.gather(*asked))
