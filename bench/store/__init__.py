"""What was computed: kept, checked, looked over, pruned."""
