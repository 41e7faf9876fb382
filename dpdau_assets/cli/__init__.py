"""The `dpdau` command line: words in, one operation called, words or one JSON document out.

No rule of the product lives here: a command parses its arguments, opens the workspace, calls one operation and
prints what came back. Everything heavy is imported inside the command, so that `dpdau --help` answers at once.
"""
