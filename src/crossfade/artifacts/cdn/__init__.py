"""A CDN's object store: files that never change, and folders that always hold the newest of them.

One idea: a version's folder is written once, and a pointer's folder (`v1/`) is a copy that follows from one small
document, `.pointer.json`. Moving a pointer is the replacement of that document by compare-and-swap; everything else
(copying the files, telling the caches) is brought in line with it, by whoever comes next if the first one is killed.
Nothing is ever deleted.
"""
