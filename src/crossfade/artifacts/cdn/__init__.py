"""Files that browsers load: versions that never change, pointers that move by compare-and-swap, caches that are told."""
