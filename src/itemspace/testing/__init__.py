"""The contracts any new part must pass, as test classes to subclass."""
