"""Chest X-ray labelling and multi-label training, from a PACS to a model one can question."""
