"""The contracts any new part must pass, as test classes to inherit from, with the strategies and references they use."""
