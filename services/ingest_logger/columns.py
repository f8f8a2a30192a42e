"""What becomes of a batch, by column. Pure.

`validate.validate_record` is the definition of what is right. Here the same rules are held against
whole columns, and a record is stored this way only if it surely passes; one that is doubtful for
any reason, bad ones among them, is left to the definition. So both ways give the same rows.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from driftgate import limits
from driftgate.batches import Batch
from driftgate.bus import Position, Record
from driftgate.codec import Codec
from driftgate.errors import BadInput
from driftgate.events import Feedback, Inference, Model, Outcome
from driftgate.limits import (
    SAYS,
    Chance,
    Finite,
    FiniteValues,
    NotBlank,
    OneOf,
    Within,
)
from driftgate.schemas import Version
from services.ingest_logger import rules
from services.ingest_logger.decoding import Indices, chosen, decoded
from services.ingest_logger.rows import TIME, Row, Table, as_arrow
from services.ingest_logger.rules import Columns, Context, Mask, as_mask, is_visible, within
from services.ingest_logger.validate import Dead, Stored, validate_record

# What apps write, and what follows from it. Records of other topics are validated one by one.
BY_COLUMN = frozenset({Inference.TOPIC, Feedback.TOPIC, Outcome.TOPIC, Model.TOPIC})
# Held by `rules` against what holds no blank one, which is as good as a look at each.
NAMES = frozenset({"model", "output"})


@dataclass(frozen=True, slots=True)
class ValidatedBatch:
    """What becomes of a batch; the batch itself need not be kept.

    Attributes:
        first: offset of the first record.
        last: offset of the last record.
        count: of records.
        since: when the broker got the first of them, ms.
        rows: to be stored, in order of offset.
        dead: to be given up, with the reason, in order of offset.
    """

    position: Position
    first: int
    last: int
    count: int
    since: int
    rows: pa.Table
    dead: Sequence[tuple[Record, BadInput]]

    @classmethod
    def of(cls, batch: Batch, rows: pa.Table, dead: Sequence[tuple[Record, BadInput]]) -> Self:
        first, last = batch.offsets[0].as_py(), batch.offsets[-1].as_py()
        since = batch.timestamps[0].as_py()
        return cls(batch.position, first, last, len(batch), since, rows, dead)


def validate_batch(batch: Batch, table: Table, codec: Codec, context: Context) -> ValidatedBatch:
    """A batch in, what becomes of it out."""
    parts: list[pa.Table] = []
    sure = np.zeros(len(batch), bool)
    if table.topic in BY_COLUMN and not any(at.is_json for at in table.columns):
        for version, fields, indices in decoded(batch, codec):
            good, columns = validated(fields, version, table, codec, context)
            sure[indices[good]] = True
            parts.append(placed(batch, indices[good], table, columns))
    rows, dead = one_by_one(batch, np.flatnonzero(~sure).tolist(), table, codec, context)
    parts += [table.arrow(rows)] if rows else []
    together = pa.concat_tables(parts) if parts else table.schema.empty_table()
    if np.any(np.diff(together["offset"].to_numpy()) < 0):
        together = together.sort_by("offset")
    return ValidatedBatch.of(batch, together, dead)


def one_by_one(
    batch: Batch, indices: Sequence[int], table: Table, codec: Codec, context: Context
) -> tuple[list[Row], list[tuple[Record, BadInput]]]:
    """By the definition."""
    rows, dead = [], []
    for index in indices:
        record = batch.record(index)
        match validate_record(record, table, codec, context):
            case Stored(row):
                rows.append(row)
            case Dead(error):
                dead.append((record, error))
    return rows, dead


def validated(
    decoded: pa.RecordBatch, version: Version, table: Table, codec: Codec, context: Context
) -> tuple[Mask, pa.Table]:
    """Which rows surely pass, and the columns of these as they are stored."""
    columns = Columns(read_by(table, decoded, version, codec), context)
    good = np.ones(len(decoded), bool)
    for condition in conditions(columns, table):
        good &= as_mask(condition)
    changes = rules.CHANGES.get(table.topic, {})
    fields = {**columns.fields, **{name: change.all(columns) for name, change in changes.items()}}
    found = pa.table(
        [stored(fields[at.field], at.arrow) for at in table.columns],
        names=[at.name for at in table.columns],
    )
    return good, found if good.all() else found.filter(pa.array(good))


def read_by(
    table: Table, decoded: pa.RecordBatch, version: Version, codec: Codec
) -> dict[str, pa.Array]:
    """The fields of the newest version: those that the records lack have their default."""
    written = {field["name"] for field in version.raw["fields"]}
    newest = codec.schemas.newest[version.subject].raw["fields"]
    found = {}
    for at, field in zip(table.columns, newest, strict=True):
        if at.field in written:
            found[at.field] = decoded.column(at.field)
        else:
            kind = pa.int64() if at.is_time else at.arrow
            found[at.field] = pa.array([as_arrow(field["default"])] * len(decoded), kind)
    return found


def stored(values: pa.Array, kind: pa.DataType) -> pa.Array:
    """Numbers out of range stand only in rows that are filtered out."""
    if kind == TIME:
        return values.cast(pa.int64()).cast(TIME)
    return values if values.type == kind else values.cast(kind, safe=False)


def placed(batch: Batch, indices: Indices, table: Table, columns: pa.Table) -> pa.Table:
    """Columns with where each record lay before them."""
    topic, partition = batch.position
    place = [
        pa.repeat(pa.scalar(topic), len(indices)),
        pa.repeat(pa.scalar(partition, pa.int32()), len(indices)),
        chosen(batch.offsets, indices),
    ]
    return pa.Table.from_arrays([*place, *columns.columns], schema=table.schema)


# ---------------------------------------------------------------- rules by column


def conditions(columns: Columns, table: Table) -> Iterator[Any]:
    """What holds of a row that surely passes, as columns or masks."""
    for at in table.columns:
        values = columns[at.field]
        if at.storable:
            yield within(values, at.storable.start, at.storable.stop - 1)
        elif pa.types.is_map(values.type):
            yield has_unique_keys(values)
    for field, rule in limits.RULES.get(table.topic, {}).items():
        if not (isinstance(rule, NotBlank) and field in NAMES):
            yield passes(rule, columns[field])
    if table.topic == Feedback.TOPIC:
        yield from has_what_its_kind_is_about(columns)
    for model_rule in rules.RULES.get(table.topic, ()):
        yield model_rule.sure(columns)


def passes(rule: limits.Rule, values: pa.Array) -> Any:
    """A rule of the limits; a null passes."""
    match rule:
        case NotBlank():
            visible = is_visible(values)
            return pc.fill_null(visible, True) if values.null_count else visible
        case Within(low, high):
            inside = within(values, low, high)
            has_end = math.isfinite(low) and math.isfinite(high)
            return inside if has_end else pc.and_(inside, is_finite(values))
        case Chance():
            return pc.fill_null(pc.and_(pc.greater(values, 0.0), pc.less_equal(values, 1.0)), True)
        case Finite():
            return is_finite(values)
        case OneOf(words):
            return pc.is_in(values, value_set=pa.array(words, pa.string()))
        case FiniteValues():
            return has_finite_values(values)


def is_finite(values: pa.Array) -> pa.Array:
    """Null is."""
    finite = pc.is_finite(values)
    return pc.fill_null(finite, True) if values.null_count else finite


def has_what_its_kind_is_about(feedback: Columns) -> Iterator[Any]:
    for kind, ways in SAYS.items():
        said = [reduce(pc.and_, (pc.is_valid(feedback[name]) for name in way)) for way in ways]
        yield pc.or_(pc.not_equal(feedback["kind"], kind), reduce(pc.or_, said))


def has_finite_values(maps: pa.MapArray) -> Mask:
    """Whether all numbers of each map are finite."""
    finite = as_mask(pc.is_finite(maps.items))
    good = np.ones(len(maps), bool)
    if not finite.all():
        good[row_of_entry(maps)[~finite]] = False
    return good


def has_unique_keys(maps: pa.MapArray) -> Mask:
    """Whether no key of each map comes twice."""
    keys = maps.keys.dictionary_encode()
    width, codes = max(1, len(keys.dictionary)), keys.indices.to_numpy(zero_copy_only=False)
    good = np.ones(len(maps), bool)
    if is_tiled(maps, codes, width):
        return good
    pairs = pa.array(row_of_entry(maps) * width + codes)
    if len(pairs.unique()) < len(pairs):
        values, counts = pairs.value_counts().flatten()
        good[values.filter(pc.greater(counts, 1)).to_numpy() // width] = False
    return good


def is_tiled(maps: pa.MapArray, codes: Indices, width: int) -> bool:
    """Whether each map has each of the `width` keys, in one order: what a client mostly writes."""
    sizes = np.diff(maps.offsets.to_numpy())
    return bool((sizes == width).all() and (codes.reshape(-1, width) == np.arange(width)).all())


def row_of_entry(maps: pa.MapArray) -> Indices:
    """The map that each entry belongs to."""
    return np.repeat(np.arange(len(maps)), np.diff(maps.offsets.to_numpy()))
