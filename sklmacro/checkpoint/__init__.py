"""What is written to disk: unfinished calls, and the one codec of values that all files share.

In goes a value: arrays, numbers, texts, lists, dictionaries, and objects of classes that are
allowed. Out comes a file that is whole or absent at every moment, or JSON that tells the value from
others.

==============  ==================================================================================
`atomic`        one way to write: files, folders and arrays that appear when they are whole
`writing`       values as JSON and arrays, and back (`reading`), by what classes declare (`schema`)
`container`     JSON and arrays in one file with a checksum
`budget`        how much memory a file may take
`identity`      JSON that is equal where the result is: of settings, data and estimators
`checkpoint`    the finished parts of a call, in a folder
`lock`          one call at a time in a folder
`rows`          parts that are rows of arrays, filled batch by batch
==============  ==================================================================================

Work is resumed in two layers. Within a call, `resume` gives a `Checkpoint`, and the call saves
parts in it: rows of arrays, the state of a trajectory, the state of a training. Around calls, whole
results are saved and read again: the fits of a search by `Checkpointed`, and the pieces of an
experiment by `Run.once` and `Run.each`.
"""
