"""One file or folder for each kind of registry; none knows another."""
