"""What other systems hold of a model's answers, as launch data and events. Pure, but for reading.

    records      the records of files: JSON, JSON Lines, CSV, Parquet
    chats        a chat as a question and its answer
    openai       fine-tuning files: chats, chats with weights, preferences
    langfuse     exports of traces, observations and scores
    tensorzero   rows of its tables, from files
    clickhouse   the same rows, from ClickHouse over HTTP
    scores       which numbers say how good an answer was
    history      answers with what was said of them, and the pairs that follow

A record is taken, or left out and counted in `Findings` with its place and the cause. Ids follow
from what a record holds, so what is imported again is the same.
"""
