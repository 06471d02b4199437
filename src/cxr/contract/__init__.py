"""The language of labels, spoken by the page, the Lambdas, the manifests and the trainer.

Standard library only: the Lambdas' zip is this folder, `errors.py` and two handlers.
"""
