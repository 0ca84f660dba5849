"""Costs and qualities, measured as ratios against the direct use of what is underneath."""
