"""Statistics of a tail, without rows or contracts: limits, blocks, planned looks, resampling."""
