"""The demo: a small real web application, real load, and the story of a bad release and a good one."""
