"""Kafka's configuration, command line and the check of its jars."""

from __future__ import annotations

import hashlib
import re
import tomllib
from pathlib import Path

import pytest
from tenacity import wait_none

from deploy.local import kafka
from deploy.local.kafka import LOCK, Node, check, command, fetch, properties
from driftgate.errors import Corrupt, Retriable


def test_a_node_listens_on_this_machine_only_and_needs_no_second_one() -> None:
    text = properties(Node(Path("/state/kafka"), 19092, 19093))
    settings = dict(line.split("=", 1) for line in text.splitlines())
    assert settings["listeners"] == "PLAINTEXT://127.0.0.1:19092,CONTROLLER://127.0.0.1:19093"
    assert settings["log.dirs"] == "/state/kafka/data"
    assert settings["auto.create.topics.enable"] == "false"
    assert {
        value for name, value in settings.items() if name.endswith(("replication.factor", "isr"))
    } == {"1"}


def test_java_comes_from_its_package_and_the_jars_from_the_list() -> None:
    line = command([Path("/a.jar"), Path("/b.jar")], "kafka.Kafka", "x.properties")
    assert Path(line[0]).is_file()
    assert line[line.index("-cp") + 1] == "/a.jar:/b.jar"
    assert line[-2:] == ["kafka.Kafka", "x.properties"]


def test_every_locked_jar_has_a_sum_and_none_names_a_host() -> None:
    jars = tomllib.loads(LOCK.read_text())["dependencies"]
    assert {"kafka_2.13", "kafka-clients"} <= {jar["artifactId"] for jar in jars}
    assert all(len(jar["sha256"]) == 64 for jar in jars)
    assert "://" not in LOCK.read_text()


def test_a_jar_with_another_sum_is_named(tmp_path: Path) -> None:
    jar = tmp_path / "broken-1.0.jar"
    jar.write_bytes(b"bytes")
    check(jar, hashlib.sha256(b"bytes").hexdigest())
    with pytest.raises(Corrupt, match=r"broken-1\.0\.jar: sha256"):
        check(jar, "0" * 64)


def test_a_download_that_fails_for_a_moment_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content, tries = b"a jar", []

    class Artifact:
        def resolve(self) -> Path:
            tries.append(1)
            if len(tries) < 3:
                raise OSError("Temporary failure in name resolution")
            (staged := next(tmp_path.glob("cache/*")) / "a.jar").write_bytes(content)
            return staged

    class Context:
        def __init__(self, **_: object) -> None: ...

        def project(self, *_: str) -> Context:
            return self

        def at_version(self, _: str) -> Context:
            return self

        def artifact(self, *_: str) -> Artifact:
            return Artifact()

    lock = tmp_path / "kafka.lock"
    first = LOCK.read_text().index("[[dependencies]]")
    second = LOCK.read_text().index("[[dependencies]]", first + 1)
    sums = hashlib.sha256(content).hexdigest()
    one = re.sub(r'sha256 = "\w+"', f'sha256 = "{sums}"', LOCK.read_text()[:second])
    lock.write_text(one)
    monkeypatch.setattr("jgo.maven.MavenContext", Context)
    monkeypatch.setattr(kafka, "DOWNLOADING", kafka.DOWNLOADING.copy(wait=wait_none()))
    (jar,) = fetch(tmp_path / "cache", lock)
    assert jar.read_bytes() == content
    tries.clear()
    monkeypatch.setattr(Artifact, "resolve", lambda _: (_ for _ in ()).throw(OSError("away")))
    with pytest.raises(Retriable, match=r"cannot download .*: away"):
        fetch(tmp_path / "cache", lock)
