"""`python -m shoptalk` is the command line."""

from shoptalk.cli import main

main()
