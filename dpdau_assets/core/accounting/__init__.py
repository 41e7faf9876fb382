"""What charged events add up to: naive, advanced, Renyi, Gaussian and privacy-loss-distribution bounds."""
