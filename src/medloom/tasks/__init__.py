"""Kinds of answer, one file each; found by name, with no list to edit. Files with a leading underscore are shared."""
