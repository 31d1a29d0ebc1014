"""Recorded cases of the authors' implementations, and the comparison of ours with them."""
