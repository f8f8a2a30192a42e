"""The calls to an OpenAI-compatible server, with vLLM's two for adapters.

    GET  /v1/models                 what is served
    POST /v1/completions            an answer, streamed; or the log-probability of a token
    POST /v1/load_lora_adapter      {"lora_name": …, "lora_path": …}
    POST /v1/unload_lora_adapter    {"lora_name": …}

https://docs.vllm.ai/en/latest/features/lora/
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from pydantic import SecretStr

from driftgate.errors import BadConfig, UpstreamUnavailable
from driftgate.generator import upstream_messages as messages
from driftgate.generator.upstream_messages import Piece, Served

COMPLETIONS = "/v1/completions"
MISSING = 404
ALREADY = "already been loaded"
"""How vLLM refuses to load a name again."""


class NotLoaded(UpstreamUnavailable):
    """The server has no model of that name: it was started anew, or another client unloaded it."""


class Api:
    """One server. Used by one event loop."""

    def __init__(self, url: str, token: SecretStr, patience: float, streams: int) -> None:
        """
        Args:
            url: without `/v1`.
            token: sent as a bearer token; empty: none is.
            patience: seconds without a byte after which a call has failed.
            streams: answers at once.
        """
        secret = token.get_secret_value()
        self._url = url
        self._http = httpx.AsyncClient(
            base_url=url.removesuffix("/").removesuffix("/v1"),
            headers={"Authorization": f"Bearer {secret}"} if secret else {},
            timeout=httpx.Timeout(patience),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=streams),
        )

    async def close(self) -> None:
        await self._http.aclose()

    async def models(self) -> list[Served]:
        with self._named():
            response = await self._http.get("/v1/models")
        return messages.models(self._json(response))

    async def load(self, name: str, folder: Path) -> None:
        """A name that is loaded already is left as it is.

        Raises:
            BadConfig: the server refuses.
        """
        body = {"lora_name": name, "lora_path": str(folder.absolute())}
        response = await self._post("/v1/load_lora_adapter", body)
        if response.is_client_error and ALREADY in response.text:
            return
        if response.is_client_error:
            raise BadConfig(
                f"upstream {self._url}: it refuses to load {folder} ({response.status_code}, "
                f"{messages.error_in(response.text)}); expected vLLM with --enable-lora and "
                "VLLM_ALLOW_RUNTIME_LORA_UPDATING=True, which finds that folder under that path"
            )
        self._require_done(response)

    async def unload(self, name: str) -> None:
        """One that is not loaded is no error."""
        response = await self._post("/v1/unload_lora_adapter", {"lora_name": name})
        if response.status_code != MISSING:
            self._require_done(response)

    async def score(self, model: str, before: Sequence[int], token: int) -> float:
        """The log-probability of a token after others, nats.

        Raises:
            NotLoaded: there is no such model.
        """
        pieces = [piece async for piece in self.stream(messages.scoring(model, before, token))]
        values = [value for piece in pieces for value in piece.log_probabilities]
        if len(values) != 1:
            raise messages.odd(values, "`logprobs` of one token")
        return values[0]

    async def stream(self, body: Mapping[str, Any]) -> AsyncIterator[Piece]:
        """The pieces of an answer, up to its last.

        Raises:
            NotLoaded: there is no such model.
            UpstreamUnavailable: the answer broke off, or is none.
        """
        with self._named():
            async with self._http.stream("POST", COMPLETIONS, json=body) as response:
                if not response.is_success:
                    await response.aread()
                    self._require_done(response)
                async for line in response.aiter_lines():
                    found = messages.piece(line)
                    if found:
                        yield found
                        if found.finish:
                            return
        raise UpstreamUnavailable(f"upstream {self._url}: the stream ended before the answer did")

    async def _post(self, path: str, body: Mapping[str, Any]) -> httpx.Response:
        with self._named():
            return await self._http.post(path, json=body)

    def _json(self, response: httpx.Response) -> Any:
        self._require_done(response)
        try:
            return response.json()
        except ValueError as error:
            raise messages.odd(response.text, "JSON") from error

    def _require_done(self, response: httpx.Response) -> None:
        if response.is_success:
            return
        status, told = response.status_code, messages.error_in(response.text)
        kind = NotLoaded if status == MISSING else UpstreamUnavailable
        hint = "; check DRIFTGATE_UPSTREAM_TOKEN" if status in {401, 403} else ""
        raise kind(f"upstream {self._url}: it answers {status}, {told}{hint}")

    @contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except httpx.TimeoutException as error:
            raise UpstreamUnavailable(
                f"upstream {self._url}: it said nothing in time ({type(error).__name__})"
            ) from error
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
            raise UpstreamUnavailable(
                f"upstream {self._url}: {type(error).__name__} {error}".rstrip()
            ) from error
