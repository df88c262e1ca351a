"""Tests of sklmacro."""
