"""How an experiment runs: settings in, one folder of numbers, arrays and a figure out, or nothing.

`run` writes the result, `stages` times the parts and shares out the pieces that are computed once.
"""
