"""Files that survive a crash, locks between processes, and errors of the operating system in plain words."""
