"""Items and requests to `Vectors`: text, pictures, tokens; caches and the columns that make an item's text."""
