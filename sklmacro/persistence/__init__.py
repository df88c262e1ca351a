"""Estimators in files, without pickle."""

from sklmacro.persistence._files import VersionWarning, load, save

__all__ = ["VersionWarning", "load", "save"]
