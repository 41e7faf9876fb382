"""An open data folder and one hold of its lake lock: what every other operation starts from."""
