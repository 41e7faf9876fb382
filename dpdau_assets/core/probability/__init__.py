"""Distributions and Gaussian differential privacy as closed forms; no mechanism and no sampling."""
