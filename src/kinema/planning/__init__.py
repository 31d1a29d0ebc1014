"""What something costs before it is run for long: operations, time and memory, measured."""
