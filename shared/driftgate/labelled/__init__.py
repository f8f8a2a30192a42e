"""Labelled text as people have it, read in one way by `init`, `demo`, `simulate`, `retrain`.

    files       which files a path stands for, their bytes, their kind by content
    delimited   CSV, TSV and the like: encoding, delimiter, header, quotes
    records     JSON Lines, JSON, Parquet, Arrow, spreadsheets, folders of texts
    exports     what annotation tools write: Prodigy, Label Studio, doccano, spaCy, chat files
    roles       which column is the text, the label, the time, the subject, a slice
    slices      which columns part the traffic, over all tables of a folder
    dates       a column of dates as milliseconds
    labels      spellings of one label
    reading     all of it together: `read(path, Asked()) -> Labelled`

A row is either read as it stands, or left out with its number and the cause; what is joined or
left out is counted in `Findings`, which the terminal and the dataset card both show.
"""
