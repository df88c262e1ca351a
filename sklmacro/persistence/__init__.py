"""Estimators in files, without pickle."""

from sklmacro.persistence.save_load import VersionWarning, fingerprint, load, save

__all__ = ["VersionWarning", "fingerprint", "load", "save"]
