"""What the local stack decides before it starts anything."""

from __future__ import annotations

import errno
import json
import os
import socket
import stat
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from supervisor.options import UnhosedConfigParser

from deploy.local import ray
from deploy.local.plan import PORTS, SERVICES, StackConfig, programs, wanted_ports
from deploy.local.stack import PortTaken, StartFailed, check_ports, recorded, running, wait
from deploy.local.supervision import Program, ini
from driftgate.config import load
from driftgate.errors import BadConfig


def test_default_ports_are_those_of_the_page_and_each_is_settable(tmp_path: Path) -> None:
    config = StackConfig.default(tmp_path, {})
    assert (config.kafka, config.store) == ("127.0.0.1:9092", "http://127.0.0.1:8123")
    assert (config.router, config.ray) == ("127.0.0.1:50051", "127.0.0.1:6379")
    moved = {f"DRIFTGATE_{name.upper()}_PORT": str(20000 + i) for i, name in enumerate(PORTS)}
    assert list(StackConfig.default(tmp_path, moved).ports.values()) == [
        20000 + i for i in range(len(PORTS))
    ]


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("DRIFTGATE_KAFKA_PORT", "many", "DRIFTGATE_KAFKA_PORT: got 'many'"),
        ("DRIFTGATE_KAFKA_PORT", "70000", "between 1 and 65535"),
        ("DRIFTGATE_KAFKA_PROT", "1", "DRIFTGATE_KAFKA_PORT"),
    ],
)
def test_a_bad_variable_is_named(tmp_path: Path, variable: str, value: str, message: str) -> None:
    with pytest.raises(BadConfig, match=message):
        StackConfig.default(tmp_path, {variable: value})


def test_every_service_reads_the_environment_it_is_given(tmp_path: Path) -> None:
    config = replace(
        StackConfig.on_free_ports(tmp_path, "world"), settings={"DRIFTGATE_THREADS": "2"}
    )
    found = {program.name: load(dict(program.environment)) for program in programs(config)[3:]}
    assert tuple(found) == SERVICES
    for name, settings in found.items():
        assert settings.kafka == config.kafka
        assert settings.store == config.store
        assert settings.router == config.router
        assert settings.ray == config.ray
        assert settings.threads == 2
        assert settings.http_port == config.ports[f"{name}_http"]
    assert len({settings.state_dir for settings in found.values()}) == len(SERVICES)
    assert load(config.environment).kafka == config.kafka


def test_the_key_of_persons_is_made_once_and_for_its_owner_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that is full at that moment must not leave an empty key, which hides nobody."""
    config = StackConfig(tmp_path)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            _ = config.subject_key
    key = config.subject_key
    assert len(key) == 64
    assert config.subject_key == key
    assert stat.S_IMODE((tmp_path / "subject.key").stat().st_mode) == 0o600


def test_supervisor_reads_back_what_was_written(tmp_path: Path) -> None:
    nasty = 'a "b" 100% \\ c;d'
    program = Program("one", ("run", nasty), {"NAME": nasty}, stop_s=3)
    text = ini([program], tmp_path / "run", tmp_path / "log", tmp_path)
    parser = UnhosedConfigParser()
    parser.read_string(text)
    section = parser["program:one"]
    assert section["autorestart"] == "true"
    assert section["killasgroup"] == section["stopasgroup"] == "true"
    assert section["stopwaitsecs"] == "3"
    assert section["command"].replace("%%", "%") == '"run" "a \\"b\\" 100% \\\\ c;d"'
    assert section["environment"].replace("%%", "%") == 'NAME="a \\"b\\" 100% \\\\ c;d"'


def test_sockets_fit_however_deep_the_state_lies(tmp_path: Path) -> None:
    shallow = StackConfig(Path("/home/me/project/.driftgate"))
    assert shallow.run == Path("/home/me/project/.driftgate/run")
    deep = StackConfig(tmp_path / ("x" * 100))
    assert deep.run == StackConfig(tmp_path / ("x" * 100)).run != StackConfig(tmp_path / "y").run
    longest = deep.run / "ray" / "session_2026-01-01_00-00-00_000000_1234567/sockets/plasma_store"
    assert len(str(longest)) < 104


def test_a_taken_port_names_part_holder_and_variable(tmp_path: Path) -> None:
    config = replace(StackConfig.on_free_ports(tmp_path), services=())
    check_ports(config)
    with socket.socket() as other:
        other.bind(("127.0.0.1", config.ports["clickhouse"]))
        other.listen()
        with pytest.raises(PortTaken) as caught:
            check_ports(config)
    assert caught.value.part == "clickhouse"
    assert str(config.ports["clickhouse"]) in str(caught.value)
    assert "pid" in str(caught.value)
    assert "DRIFTGATE_CLICKHOUSE_PORT" in str(caught.value)


def test_ports_of_services_that_do_not_run_are_not_wanted(tmp_path: Path) -> None:
    config = replace(StackConfig(tmp_path), services=("trainer",))
    assert "trainer_http" in wanted_ports(config)
    assert not {"router", "router_http", "promoter_http"} & set(wanted_ports(config))


def test_free_ports_differ() -> None:
    ports = StackConfig.on_free_ports(Path("x")).ports
    assert len(set(ports.values())) == len(PORTS)


def test_the_record_gives_the_configuration_back(tmp_path: Path) -> None:
    config = replace(StackConfig.on_free_ports(tmp_path, "world"), settings={"A": "b"})
    assert recorded(tmp_path) is None
    (tmp_path / "stack.json").write_text(json.dumps(asdict(config), default=str))
    assert recorded(tmp_path) == config
    assert running(tmp_path) is None


def test_ray_listens_on_named_ports_without_dashboard() -> None:
    line = ray.command(Path("/r"), 1234, 5678, 2)
    assert {"--port=1234", "--ray-client-server-port=5678", "--include-dashboard=false"} <= set(
        line
    )


class Restarted:
    """A supervisor that tells so many restarts of a part, one after the other."""

    def __init__(self, *restarts: int) -> None:
        self._restarts = list(restarts)

    def restarts(self, _: str) -> int:
        return self._restarts.pop(0) if len(self._restarts) > 1 else self._restarts[0]

    def log_of(self, _: str) -> str:
        return "kafka.log"

    def tail(self, _: str) -> str:
        return "no disk"


def test_a_part_that_was_restarted_long_ago_may_start_again() -> None:
    troubles = ["not yet", "not yet", ""]
    wait(Restarted(9), "kafka", lambda: troubles.pop(0))  # type: ignore[arg-type]
    assert troubles == []


def test_a_part_that_ends_again_and_again_is_not_waited_for() -> None:
    with pytest.raises(StartFailed, match=r"kafka\.log:\nno disk"):
        wait(Restarted(9, 10, 11, 12), "kafka", lambda: "not yet")  # type: ignore[arg-type]
