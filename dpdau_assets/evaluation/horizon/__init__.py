"""Long-horizon noise run on series of counts. It protects nobody and releases nothing."""
