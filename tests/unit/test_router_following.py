"""What a router makes of the records on `routing`, and what it says of them on `routing.acks`."""

from __future__ import annotations

import errno
import gc
import json
import os
import shutil
import weakref
from itertools import count
from pathlib import Path
from threading import Event, Timer
from time import monotonic
from typing import Any

import pytest
import releasing
from releasing import NOW, until
from router_harness import BASE, CODEC, MODEL, World

from driftgate import files
from driftgate.artifacts import digest_of
from driftgate.codec import Codec
from driftgate.config import Settings
from driftgate.engines import Prediction
from driftgate.errors import ArtifactsUnavailable, BusUnavailable
from services.router import loading

MINUTE = 60_000


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_an_epoch_is_acknowledged_once_it_is_resident_and_the_old_goes(world: World) -> None:
    one, two = world.arm(1, 10_000), world.arm(2, 10_000)
    world.route(1, [one])
    world.route(2, [two], [world.arm(1)])
    world.route(3, [two])
    assert world.acks() == [(1, "serving"), (2, "serving"), (3, "serving")]
    digests = [ack["digests"] for ack in world.read("routing.acks")]
    assert digests[1] == sorted([one["digest"], two["digest"]])
    assert world.engine.resident() == {two["digest"]}


@pytest.mark.parametrize(
    "fault", ["corrupt", "missing", "misnamed", "unusable", "light", "no folder", "no JSON"]
)
def test_what_cannot_be_served_is_refused_and_the_last_good_goes_on(
    world: World, fault: str
) -> None:
    world.route(1, [world.arm(1, 10_000)])
    bad = world.arm(2, 10_000, "bad" if fault == "unusable" else "2")
    blobs = world.home / "artifacts" / "blobs"
    match fault:
        case "corrupt":
            (blob,) = (b for b in blobs.rglob("*") if b.is_file() and b.read_bytes() == b"2")
            blob.write_bytes(b"3")
        case "missing":
            (blobs / bad["digest"][:2] / bad["digest"]).unlink()
        case "misnamed":
            bad["digest"] = "0" * 64
        case "no folder":
            bad = releasing.arm(2, world.artifacts.put_json({"labels.json": 1}), 10_000)
        case "no JSON":
            bad = releasing.arm(2, world.artifacts.put(b"\xff"), 10_000)
        case "light":
            bad["weight"] = 9_999
    world.route(2, [bad])
    assert world.acks() == [(1, "serving"), (2, "refused")]
    assert world.read("routing.acks")[1]["reason"]
    assert world.epoch() == 1
    world.route(3, [world.arm(4, 10_000)])
    assert world.acks()[-1] == (3, "serving")


@pytest.mark.parametrize("fault", ["unusable", "missing", "no base", "store away"])
def test_who_cannot_stand_by_keeps_nobody_from_an_answer_and_is_tried_again(
    world: World, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, three = world.arm(1, 10_000), world.arm(3)
    world.lacking.add("no-such-base")
    bad = world.arm(2, 0, "bad" if fault == "unusable" else "2")
    mends = world.arm(2)
    get = world.artifacts.get_folder

    def away(uri: str, cache: Path) -> Path:
        if uri == bad["adapter_uri"]:
            raise ArtifactsUnavailable("the store is away")
        return get(uri, cache)

    with monkeypatch.context() as during:
        match fault:
            case "missing":
                bad["digest"] = "0" * 64
            case "no base":
                bad |= {"base": "no-such-base"}
            case "store away":
                during.setattr(world.artifacts, "get_folder", away)
        world.route(1, [one], standby=[bad, three])
    assert world.acks() == [(1, "serving")]
    (ack,) = world.read("routing.acks")
    assert ack["digests"] == sorted([one["digest"], three["digest"]])
    assert ack["reason"].startswith("standby 2: ")
    world.route(2, [one], standby=[mends, three])
    assert world.acks()[-1] == (2, "serving")
    ack = world.read("routing.acks")[-1]
    assert (ack["reason"], mends["digest"] in ack["digests"]) == (None, True)


def test_a_start_serves_the_last_good_though_who_stood_by_is_gone(world: World) -> None:
    one, two = world.arm(1, 10_000), world.arm(2)
    world.route(1, [one], standby=[two])
    for folder in world.state.rglob(two["digest"]):
        shutil.rmtree(folder)
    shutil.rmtree(world.home / "artifacts")
    world.start()
    world.follower.recall()
    assert world.versions.snapshot[MODEL].digests == {one["digest"]}


def test_an_epoch_below_that_of_the_last_start_is_refused(world: World) -> None:
    """After Kafka was set up anew the promoter must not take the old epoch for its own."""
    world.route(7, [world.arm(1, 10_000)])
    world.bus.logs.clear()
    world.bus.ensure(CODEC.topics.by_name.values())
    world.start()
    world.follower.recall()
    world.route(6, [world.arm(2, 10_000)])
    world.tick(NOW + MINUTE)
    assert world.acks() == [(6, "refused"), (6, "refused")]
    assert str(world.kept) in world.read("routing.acks")[-1]["reason"]
    assert world.versions.snapshot[MODEL].routing.arms[0].version == 1
    world.route(7, [world.arm(1, 10_000)])
    assert world.acks()[-1] == (7, "serving")


def test_the_epochs_of_a_topic_that_was_made_anew_are_refused_until_they_are_higher(
    world: World,
) -> None:
    for epoch in (6, 7):
        world.route(epoch, [world.arm(1, 10_000)])
    world.bus.logs.clear()
    world.bus.ensure(CODEC.topics.by_name.values())
    world.leave()
    world.route(1, [world.arm(2, 10_000)])
    assert world.acks() == [(1, "refused")]


def test_an_epoch_below_the_highest_on_the_topic_is_passed_over(world: World) -> None:
    world.route(7, [world.arm(1, 10_000)])
    world.route(6, [world.arm(2, 10_000)])
    world.tick(NOW + MINUTE)
    assert world.acks() == [(7, "serving"), (7, "serving")]


def test_a_stale_record_ends_no_load_that_goes_on(world: World) -> None:
    world.goes_on(0.01)
    world.slow[BASE] = Event()
    world.route(7, [world.arm(1, 10_000)])
    world.route(6, [world.arm(2, 10_000)])
    world.slow[BASE].set()
    until(lambda: world.versions.snapshot)
    world.tick(NOW + 1)
    assert world.acks() == [(7, "serving")]


def test_two_decisions_under_one_epoch_are_refused_with_both_named(world: World) -> None:
    one, two = world.arm(1, 10_000), world.arm(2, 10_000)
    world.route(7, [one])
    world.route(7, [two])
    world.tick(NOW + 2 * MINUTE)
    assert world.acks() == [(7, "serving"), (7, "refused"), (7, "refused")]
    refusal = world.read("routing.acks")[-1]
    assert f"1 ({one['digest'][:12]} on {BASE}" in refusal["reason"]
    assert f"2 ({two['digest'][:12]} on {BASE}" in refusal["reason"]
    assert refusal["digests"] == [one["digest"]]


def test_the_same_decision_under_one_epoch_is_the_same_whatever_else_a_record_says(
    world: World,
) -> None:
    """A promoter of a newer release names each version's base, and writes the record again."""
    arm = world.arm(1, 10_000)
    world.route(7, [arm])
    world.route(7, [arm | {"base": BASE}], time=NOW + 5, rollback_to=3)
    assert world.acks() == [(7, "serving")]


def test_a_schema_that_appears_while_the_router_runs_is_followed(tmp_path: Path) -> None:
    """Its new field decides nothing, so an epoch that is served stays served."""
    folder = tmp_path / "schemas"
    shutil.copytree(Settings().schemas, folder)
    world = World(tmp_path, codec=Codec.load(folder))
    writer = Codec.load(folder)
    arm = world.arm(1, 10_000)
    world.route(7, [arm])
    newest = sorted((folder / "routing").glob("v*.avsc"))[-1]
    schema = json.loads(newest.read_text())
    schema["fields"].append({"name": "note", "type": "string", "default": "", "doc": "Why."})
    writer.registry.add("routing", json.dumps(schema))
    for epoch in (7, 8):
        record = world.record(epoch, [arm]) | {"note": "new"}
        world.bus.producer().send("routing", MODEL.encode(), writer.encode("routing", record))
        world.look()
    assert world.acks() == [(7, "serving"), (8, "serving")]
    world.start()
    world.follower.recall()
    world.look()
    assert world.epoch() == 8
    assert world.acks() == [(7, "serving"), (8, "serving"), (8, "serving")]


def test_a_poison_record_stops_nothing(world: World) -> None:
    world.route(1, [world.arm(1, 10_000)])
    for topic in ("routing", "clock"):
        world.bus.producer().send(topic, b"\xff", b"\x00poison")
    world.look()
    world.route(2, [world.arm(2, 10_000)])
    assert world.acks() == [(1, "serving"), (2, "serving")]
    world.bus.producer().send("routing", b"\xff", b"\x00poison")
    world.start()
    world.look()
    assert world.shift.lag() == 0
    assert world.bus.committed("router-0") == world.bus.ends(["routing", "clock"])


# ---------------------------------------------------------------- leases


def test_an_acknowledgement_is_renewed_at_ticks_but_once_a_minute(world: World) -> None:
    world.route(4, [world.arm(1, 10_000)])
    for tick in (NOW + 10_000, NOW + MINUTE, NOW + 70_000, NOW + 3 * MINUTE):
        world.tick(tick)
    acks = world.read("routing.acks")
    assert [ack["time"] for ack in acks] == [NOW, NOW + MINUTE, NOW + 3 * MINUTE]
    assert len({json.dumps(ack | {"time": 0}) for ack in acks}) == 1


def test_a_refusal_is_renewed_as_well(world: World) -> None:
    world.route(1, [world.arm(1, 10_000)])
    world.route(2, [world.arm(2, 10_000, "bad")])
    world.tick(NOW + MINUTE)
    assert world.acks() == [(1, "serving"), (2, "refused"), (2, "refused")]
    assert len({ack["reason"] for ack in world.read("routing.acks")[1:]}) == 1


def test_a_router_that_comes_back_says_so_at_the_time_of_the_last_tick(world: World) -> None:
    world.route(4, [world.arm(1, 10_000)])
    world.tick(NOW + 1)
    world.tick(NOW + 5 * MINUTE)
    world.start()
    world.follower.recall()
    world.look()
    acks = world.read("routing.acks")
    assert [ack["time"] for ack in acks] == [NOW, NOW + 5 * MINUTE, NOW + 5 * MINUTE]
    assert {ack["status"] for ack in acks} == {"serving"}


def test_an_outage_of_kafka_repeats_no_acknowledgement(world: World) -> None:
    world.route(4, [world.arm(1, 10_000)])
    world.leave()
    world.look()
    assert world.acks() == [(4, "serving")]


def test_an_acknowledgement_that_fails_is_made_up_for(world: World) -> None:
    world.route(1, [world.arm(1, 10_000)])
    (acks,) = (p for p in world.bus.logs if p.topic == "routing.acks")
    kept = world.bus.logs.pop(acks)
    with pytest.raises(BusUnavailable):
        world.route(2, [world.arm(2, 10_000)])
    world.leave()
    world.bus.logs[acks] = kept
    world.look()
    assert world.acks() == [(1, "serving"), (2, "serving")]


# ---------------------------------------------------------------- the last good routing


def test_a_restart_serves_the_same_with_and_without_kafka(world: World) -> None:
    world.route(4, [world.arm(1, 10_000)])
    before = world.versions.snapshot[MODEL].routing
    world.bus.down = True
    world.start()
    world.follower.recall()
    assert world.versions.snapshot[MODEL].routing == before
    assert world.engine.resident() == {before.arms[0].digest}
    assert world.health.ready
    with pytest.raises(BusUnavailable):
        world.look()
    world.bus.down = False
    world.leave()
    world.look()
    assert world.acks() == [(4, "serving"), (4, "serving")]


def test_the_file_of_an_older_release_is_read(world: World) -> None:
    arm = world.arm(1, 10_000)
    record = world.record(4, [arm])
    assert arm.keys() == {"version", "digest", "adapter_uri", "weight"}
    world.kept.write_text(json.dumps([record], sort_keys=True, separators=(",", ":")))
    world.follower.recall()
    assert world.epoch() == 4
    world.route(4, [arm])
    assert world.acks() == [(4, "serving")]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b'[{"model": "m", "epo',
        b"\xff\xfe\x00",
        b'{"model": "m"}',
        b"7",
        b'["model"]',
        b'[{"model": "m"}]',
    ],
)
def test_a_torn_or_foreign_file_is_set_aside_and_the_router_starts(
    world: World, content: bytes
) -> None:
    world.route(4, [world.arm(1, 10_000)])
    world.kept.write_bytes(content)
    world.start()
    world.follower.recall()
    assert not world.kept.exists()
    assert world.kept.with_name("routing.json.unreadable").read_bytes() == content
    world.look()
    assert world.epoch() == 4
    assert json.loads(world.kept.read_text())[0]["epoch"] == 4


def test_a_full_disk_takes_nothing_out_of_service(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.route(4, [world.arm(1, 10_000)])
    arm = world.arm(2, 10_000)

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    world.artifacts.get_folder(arm["adapter_uri"], world.versions.cache)
    monkeypatch.setattr(files, "move_durably", full)
    world.route(5, [arm])
    assert world.acks() == [(4, "serving"), (5, "serving")]
    assert json.loads(world.kept.read_text())[0]["epoch"] == 4


def test_what_could_not_be_served_at_one_start_is_served_at_the_next(world: World) -> None:
    """Though another model was routed in between, and Kafka is away."""
    world.route(4, [world.arm(1, 10_000)])
    world.lacking.add(BASE)
    world.start()
    world.follower.recall()
    world.route(1, [world.arm(2, 10_000)], model="another", base="base-b")
    assert world.versions.snapshot.keys() == {"another"}
    world.lacking.clear()
    world.start()
    world.follower.recall()
    assert (world.epoch(), world.epoch("another")) == (4, 1)


# ---------------------------------------------------------------- files


def fetched(world: World) -> set[str]:
    return {path.name for path in world.state.iterdir() if len(path.name) == 64}


def test_files_of_versions_that_are_not_routed_any_more_go(world: World) -> None:
    one, two = world.arm(1, 10_000), world.arm(2, 10_000)
    world.route(1, [one])
    world.route(2, [one], [world.arm(2)])
    assert fetched(world) == {world.repo, one["digest"], two["digest"]}
    world.route(3, [two])
    until(lambda: fetched(world) == {world.repo, two["digest"]})


def test_files_of_what_is_loading_or_was_not_served_since_a_start_stay(world: World) -> None:
    one, two = world.arm(1, 10_000), world.arm(2, 10_000, base="base-b")
    world.route(1, [one])
    world.lacking.add(BASE)
    world.start()
    world.follower.recall()
    world.goes_on(0.01)
    world.slow["base-b"] = Event()
    world.route(1, [two], model="another", base="base-b")
    until(lambda: two["digest"] in fetched(world))
    world.versions.prune()
    assert fetched(world) == {world.repo, one["digest"], two["digest"]}
    world.slow["base-b"].set()


def test_what_a_killed_router_left_is_swept_at_the_next_start(world: World) -> None:
    world.route(1, [world.arm(1, 10_000)])
    left = world.state / f"{'a' * 64}.{'0' * 32}"
    left.mkdir()
    os.utime(left, (0, 0))
    world.start()
    world.follower.recall()
    assert not left.exists()


# ---------------------------------------------------------------- bases


def test_each_version_has_the_engine_of_its_base_and_unused_ones_go(world: World) -> None:
    one, two = world.arm(1, 10_000), world.arm(2, base="base-b", base_digest="b" * 64)
    world.route(1, [one])
    world.route(2, [one], [two])
    assert world.engines["base-b", "b" * 64].resident() == {two["digest"]}
    assert world.engine.resident() == {one["digest"]}
    first = weakref.ref(world.engines.pop((BASE, "")))
    world.route(3, [two | {"weight": 10_000}])
    gc.collect()
    assert first() is None  # its memory is free again
    assert world.engines["base-b", "b" * 64].resident() == {two["digest"]}


def test_weights_replaced_under_the_same_name_are_another_base(world: World) -> None:
    old, new = {"base_digest": "a" * 64}, {"base_digest": "b" * 64}
    world.route(1, [world.arm(1, 10_000, **old)])
    world.route(2, [world.arm(1, 9500, **old), world.arm(2, 500, **new)])
    assert {base: len(engine.resident()) for base, engine in world.engines.items()} == {
        (BASE, "a" * 64): 1,
        (BASE, "b" * 64): 1,
    }


def test_of_two_routers_only_the_one_that_lacks_the_base_refuses_it(
    world: World, tmp_path: Path
) -> None:
    other = World(tmp_path / "other", name="1", bus=world.bus)
    other.artifacts, other.repo = world.artifacts, world.repo
    other.lacking.add("base-b")
    other.start()
    one, two = world.arm(1, 10_000), world.arm(2, base="base-b")
    for epoch, shadows in ((1, []), (2, [two])):
        world.route(epoch, [one], shadows)
        other.look()
    assert (world.epoch(), other.epoch()) == (2, 1)
    acks = {(ack["router"], ack["epoch"]): ack for ack in world.read("routing.acks")}
    assert {key: ack["status"] for key, ack in acks.items()} == {
        ("router-0", 1): "serving",
        ("router-1", 1): "serving",
        ("router-0", 2): "serving",
        ("router-1", 2): "refused",
    }
    assert acks["router-1", 2]["reason"] == "version 2: base: 'base-b' is no folder"
    assert acks["router-1", 2]["digests"] == [one["digest"]]
    other.lacking.clear()  # an operator mends it, and starts the router anew
    other.start()
    other.follower.recall()
    other.look()
    assert other.epoch() == 2
    assert other.read("routing.acks")[-1]["status"] == "serving"


def test_an_error_that_nobody_foresaw_refuses_the_record_by_name(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.route(1, [world.arm(1, 10_000)])

    def odd(*_: Any) -> None:
        raise KeyError("embeddings.LayerNorm.weight")

    monkeypatch.setattr(world.engine, "load", odd)
    world.route(2, [world.arm(2, 10_000)])
    assert world.acks() == [(1, "serving"), (2, "refused")]
    reason = world.read("routing.acks")[1]["reason"]
    assert reason == "version 2: KeyError: 'embeddings.LayerNorm.weight'"
    assert world.epoch() == 1
    assert world.read("audit") == []


# ---------------------------------------------------------------- what takes long


def test_a_base_that_takes_long_holds_up_no_other_model_and_no_rollback(world: World) -> None:
    world.route(1, [world.arm(1, 10_000)])
    world.goes_on(0.01)
    world.slow["base-b"] = Event()
    world.route(2, [world.arm(2, 10_000, base="base-b")])
    world.route(1, [world.arm(3, 10_000)], model="another")
    until(lambda: "another" in world.versions.snapshot)
    world.tick(NOW + MINUTE)
    assert world.acks()[-1] == (1, "serving")  # the lease of what is served meanwhile
    world.route(3, [world.arm(1, 10_000)])
    until(lambda: world.epoch() == 3)
    world.tick(NOW + 2 * MINUTE)
    assert world.acks()[-1] == (3, "serving")
    world.slow["base-b"].set()
    until(lambda: ("base-b", "") in world.engines)
    late = weakref.ref(world.engines.pop(("base-b", "")))
    until(lambda: gc.collect() and late() is None)  # nobody needs it any more
    assert world.epoch() == 3


def test_who_stands_by_and_takes_long_holds_up_nobody_who_is_heard(world: World) -> None:
    """A restart, or a rollback, to a version beside one whose base takes minutes to come."""
    one, two = world.arm(1, 10_000), world.arm(2, base="slow-base")
    world.slow["slow-base"] = Event()
    world.goes_on(patience=0.0)
    world.route(1, [one], standby=[two])
    until(lambda: world.versions.snapshot and world.health.ready)
    assert world.epoch() == 1
    world.tick(NOW + 60_000)
    ack = world.read("routing.acks")[-1]
    assert (ack["status"], ack["digests"]) == ("serving", [one["digest"]])
    assert ack["reason"] == "standby 2: it is loading"
    world.slow["slow-base"].set()
    until(lambda: not world.versions.snapshot[MODEL].absent)
    world.tick(NOW + 61_000)
    ack = world.read("routing.acks")[-1]
    assert (ack["reason"], ack["digests"]) == (None, sorted([one["digest"], two["digest"]]))


def test_a_start_waits_for_who_is_heard_and_for_nobody_who_stands_by(world: World) -> None:
    world.route(1, [world.arm(1, 10_000)], standby=[world.arm(2, base="slow-base")])
    world.start()
    world.slow["slow-base"] = Event()
    world.follower.recall()
    assert world.versions.snapshot[MODEL].absent == {2: "it is loading"}
    world.slow["slow-base"].set()
    until(lambda: not world.versions.snapshot[MODEL].absent)


def test_what_came_of_a_long_load_is_told_at_a_tick(world: World) -> None:
    world.goes_on(0.01)
    world.slow[BASE] = Event()
    world.route(1, [world.arm(1, 10_000)])
    world.tick(NOW + 1)
    assert world.acks() == []
    assert not world.health.ready
    world.slow[BASE].set()
    until(lambda: world.versions.snapshot)
    world.tick(NOW + 2)
    assert world.acks() == [(1, "serving")]


def test_artifacts_that_are_away_are_waited_for(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    there, outage = world.artifacts.get_folder, [ArtifactsUnavailable("no route to host")] * 3

    def away(uri: str, into: Path) -> Path:
        if outage:
            raise outage.pop()
        return there(uri, into)

    monkeypatch.setattr(world.artifacts, "get_folder", away)
    world.route(1, [world.arm(1, 10_000)])
    assert world.acks() == [(1, "serving")]
    assert not outage


def test_what_was_fetched_is_not_fetched_again_at_each_try_of_an_outage(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where one of many adapters comes late, or a base."""
    there, outage = world.artifacts.get_folder, [ArtifactsUnavailable("cut off")] * 3
    late = world.arm(2, 5_000)
    fetched: list[str] = []

    def some(uri: str, into: Path) -> Path:
        if uri == late["adapter_uri"] and outage:
            raise outage.pop()
        if not (into / digest_of(uri)).exists():
            fetched.append(uri)
        return there(uri, into)

    monkeypatch.setattr(world.artifacts, "get_folder", some)
    world.route(1, [world.arm(1, 5_000), late])
    assert world.acks() == [(1, "serving")]
    assert len(fetched) == len(set(fetched))


def test_where_time_stands_still_a_record_is_waited_for(world: World) -> None:
    """As in a simulated world, whose next tick waits for the router."""
    world.goes_on(0.01)
    world.tick(NOW + 1, pace=0.0)
    world.slow["base-b"] = Event()
    Timer(0.5, world.slow["base-b"].set).start()
    world.route(1, [world.arm(1, 10_000)], base="base-b")
    assert world.acks() == [(1, "serving")]


def test_models_that_all_take_long_are_waited_for_a_second_together(world: World) -> None:
    """While the loop waits, no lease is renewed: on a paced clock one ends in seconds."""
    world.goes_on(0.5)
    world.slow["base-b"] = Event()
    world.route(1, [world.arm(1, 10_000)])
    records = [
        world.record(1, [world.arm(2, 10_000)], model=f"m{n}", base="base-b") for n in "abcd"
    ]
    world.topics.send("routing", *records)
    begin = monotonic()
    world.look()
    assert monotonic() - begin < 1.5
    world.tick(NOW + MINUTE)
    assert world.acks() == [(1, "serving"), (1, "serving")]
    world.slow["base-b"].set()


def test_artifacts_that_stay_away_are_told_as_a_refusal_and_tried_further(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.route(1, [world.arm(1, 10_000)])
    there, full = world.artifacts.get_folder, Event()
    tries = count()

    def away(uri: str, into: Path) -> Path:
        if full.is_set():
            raise ArtifactsUnavailable(f"try {next(tries)}: No space left on device")
        return there(uri, into)

    full.set()
    world.goes_on(0.01)
    monkeypatch.setattr(world.artifacts, "get_folder", away)
    world.route(2, [world.arm(2, 10_000)])
    until(lambda: next(tries) > 1)
    world.tick(NOW + 1)
    assert world.acks() == [(1, "serving")]  # an outage that is short is nothing to tell
    monkeypatch.setattr(loading, "OUTAGE_SECONDS", 0.0)
    world.tick(NOW + 2)
    until(lambda: next(tries) > 5)
    world.tick(NOW + 3)
    assert world.acks() == [(1, "serving"), (2, "refused")]
    told = world.read("routing.acks")[-1]
    assert (told["retrying"], told["reason"].startswith("waits: try ")) == (True, True)
    assert world.epoch() == 1
    full.clear()
    times = count(NOW + 4)

    def serving_is_told() -> bool:
        world.tick(next(times))
        return world.acks()[-1] == (2, "serving")

    until(serving_is_told)
    assert world.epoch() == 2
    assert not world.read("routing.acks")[-1]["retrying"]


# ---------------------------------------------------------------- going back, and warming up


def test_going_back_to_a_version_that_stands_by_loads_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = world.arm(1), world.arm(2)
    world.route(1, [one | {"weight": 10_000}])
    world.route(2, [two | {"weight": 10_000}], standby=[one], champion=2)
    assert world.engine.resident() == {one["digest"], two["digest"]}
    assert one["digest"] in world.read("routing.acks")[-1]["digests"]

    def never(*_: Any) -> Any:
        raise AssertionError("nothing is to be loaded or fetched")

    monkeypatch.setattr(world.engine, "load", never)
    monkeypatch.setattr(world.artifacts, "get_folder", never)
    world.route(3, [one | {"weight": 10_000}], champion=1)
    assert world.acks()[-1] == (3, "serving")
    assert world.versions.snapshot[MODEL].routing.arms[0].version == 1
    assert world.engine.resident() == {one["digest"]}


def test_the_files_of_who_stands_by_stay_for_the_next_start(world: World) -> None:
    one, two = world.arm(1), world.arm(2, 10_000)
    world.route(1, [two], standby=[one])
    assert fetched(world) == {world.repo, one["digest"], two["digest"]}
    world.start()
    world.follower.recall()
    until(lambda: world.engine.resident() == {one["digest"], two["digest"]})


def test_a_version_answers_once_before_its_epoch_is_served(world: World) -> None:
    world.route(1, [world.arm(1, 10_000)])
    two = world.arm(2, 10_000)
    world.engine.poison = {two["digest"]}
    world.route(2, [two])
    assert world.acks() == [(1, "serving"), (2, "refused")]
    reason = world.read("routing.acks")[-1]["reason"]
    assert reason == "version 2: RuntimeError: index out of range in self"
    assert world.epoch() == 1
    assert two["digest"] not in world.engine.resident()
    world.engine.poison = set()
    world.route(3, [two])
    assert world.acks()[-1] == (3, "serving")


@pytest.mark.parametrize("wrong", ["confidence", "similarity"])
def test_a_version_that_answers_with_nan_is_refused(
    world: World, monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    world.route(1, [world.arm(1, 10_000)])
    numbers = {"confidence": 0.5, "similarity": 0.5} | {wrong: float("nan")}

    def odd(asked: Any) -> Any:
        said = Prediction("a", numbers["confidence"], {"similarity": numbers["similarity"]}, 1)
        return {digest: [said] * len(texts) for digest, texts in asked.items()}

    monkeypatch.setattr(world.engine, "predict_many", odd)
    world.route(2, [world.arm(2, 10_000)])
    assert world.acks()[-1] == (2, "refused")
    assert wrong in world.read("routing.acks")[-1]["reason"]


def test_a_router_that_ends_is_not_ready_whatever_it_serves(world: World) -> None:
    world.route(1, [world.arm(1, 10_000)])
    assert world.health.ready
    world.follower.end()
    world.route(2, [world.arm(2, 10_000)])
    assert not world.health.ready
