"""`python -m shoptalk` is the command line."""

from shoptalk.cli.app import main

main()
