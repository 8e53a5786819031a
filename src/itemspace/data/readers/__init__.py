"""One reader per published format; each file says what the format is and where it was published."""
