"""The whole platform in one process on a virtual clock: every seed is one story, and every story can be repeated."""
