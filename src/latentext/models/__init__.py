"""Which model a name means, where its files are, and what identifies them.

`resolve` answers for names; the folder `tiny` holds the model that the package carries.
"""

from latentext.models.resolve import ModelSource, hub_token, model_fingerprint, model_identity, resolve_model

__all__ = ["ModelSource", "hub_token", "model_fingerprint", "model_identity", "resolve_model"]
