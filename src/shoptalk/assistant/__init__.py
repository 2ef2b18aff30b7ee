"""Everything that answers a visitor, built from a run's artifact folders only."""
