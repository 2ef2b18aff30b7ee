"""The verdict's evidence: what is measured, comparisons, the harness that tests the statistics, the report."""
