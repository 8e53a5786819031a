"""Words: analysis and postings for lexical indexes."""
