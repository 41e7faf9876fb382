"""From a closed day to a published value, in one transaction of check, charge, draw and store."""
