"""The commands of `dpdau`, a file per subject; each calls one operation and prints."""
