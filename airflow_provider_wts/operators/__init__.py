"""Operators: templated fields in, one call out."""
