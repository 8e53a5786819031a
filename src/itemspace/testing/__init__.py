"""The contracts any new part must pass, as pytest classes to subclass."""
