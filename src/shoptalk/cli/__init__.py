"""The command line: the grammar of the design, thin. Parse, call, print."""
