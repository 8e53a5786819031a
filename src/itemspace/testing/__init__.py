"""The contracts any part must pass, as test classes for our own parts and for yours."""
