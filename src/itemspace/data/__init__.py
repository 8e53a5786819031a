"""Reading, describing, splitting and generating data. `itemspace.data.read` is the way in."""
