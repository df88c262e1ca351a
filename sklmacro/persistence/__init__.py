"""Estimators in files, and searches that can be resumed.

In goes an estimator, fitted or not, a simulator, or a Pipeline of them; out comes one file, without
pickle, from which it is loaded as it was. `Checkpointed` saves every fit of a search in this way.
The codec of the values is that of `checkpoint`; here stand the classes that a file may hold, and
whether the attributes of a fitted estimator go together.
"""

from sklmacro.persistence.save_load import VersionWarning, load, save

__all__ = ["VersionWarning", "load", "save"]
