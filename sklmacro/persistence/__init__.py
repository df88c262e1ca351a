"""Estimators in files, without pickle."""

from sklmacro.persistence._files import VersionWarning, fingerprint, load, save

__all__ = ["VersionWarning", "fingerprint", "load", "save"]
