"""Kinds of input, one folder each; found by name, with no list to edit."""
