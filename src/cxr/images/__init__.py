"""Pixels and what surrounds them: reading, checking and drawing chest radiographs."""
