"""Salt secrets and the keys of shared noise: kept, exported encrypted, and destroyed."""
