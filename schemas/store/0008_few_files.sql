-- A part of many columns and two projections is a hundred files, one a column; to make and unmake them
-- takes a tenth of an insert's time. So parts up to this size keep all columns in one file.
ALTER TABLE inferences MODIFY SETTING min_bytes_for_wide_part = 268435456;
