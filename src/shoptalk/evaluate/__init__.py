"""What a verdict is judged by: measurements, heads, comparisons, and the harness that tests the statistics."""
