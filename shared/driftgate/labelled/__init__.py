"""Labelled text as people have it, read in one way by `init`, `demo`, `simulate`, `retrain`.

    files         which files a path stands for, and their bytes, unpacked
    encoding      bytes as text
    kinds         what reads a file, by its first bytes
    delimited     CSV, TSV and the like: delimiter, quotes, header
    json_files    JSON Lines and documents
    arrow_files   Parquet, Arrow, Feather
    spreadsheets  XLSX, XLS, ODS
    fasttext      labels in lines of text
    exports       what annotation tools write: Prodigy, Label Studio, doccano, spaCy, chat files
    table         what stands in one file, before anybody knows which column is what
    names, roles  which column is the text, the label, the time, the subject
    pairs         inputs with what should be answered: JSON Lines, OpenAI's chat format
    slices        which columns part the traffic, over all tables of a folder
    dates         a column of dates as milliseconds
    table_rows    the rows of one table, each taken or left out
    labels        spellings of one label
    reading       all of it together: `read(path, Asked()) -> Labelled`
    findings      what was left out and joined, for the terminal and the dataset card

A row is either read as it stands, or left out with its number and the cause; what is joined or
left out is counted in `Findings`, which the terminal and the dataset card both show.
"""
