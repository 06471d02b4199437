"""Chest X-ray labelling and multi-label training, from a PACS to a model one can question."""

NOTE = "Research use only. Not for clinical decisions."
"""Stands on every page, report and JSON that people may take for more."""
