"""Language models behind one protocol, and the prompts they are given."""
