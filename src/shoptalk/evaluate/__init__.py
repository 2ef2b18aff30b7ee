"""The verdict's evidence: suites, controls, the harness that tests the statistics, the report."""
