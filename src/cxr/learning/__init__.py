"""From an output manifest to a model one can question.

Enters by the output manifest and the PACS, leaves by the run folder; knows nothing of workers,
portals or configs: sections of the config arrive as plain arguments.
"""
