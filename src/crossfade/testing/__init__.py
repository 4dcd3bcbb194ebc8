"""For authors of adapters: the contract suites that every adapter passes, and fakes that pass them too."""
