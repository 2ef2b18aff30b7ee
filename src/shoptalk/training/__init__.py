"""The one training loop: plan, schedule, optimizer, snapshots."""
