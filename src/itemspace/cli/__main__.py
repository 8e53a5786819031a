"""`python -m itemspace.cli`."""

from itemspace.cli import main

main()
