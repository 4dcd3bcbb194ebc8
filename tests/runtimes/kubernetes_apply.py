"""Server-side apply for the stand-in API server: who owns which field, merges, conflicts. Pure."""

import copy
import json

KEYS = {
    "containers": "name",
    "env": "name",
    "conditions": "type",
    "imagePullSecrets": "name",
    "containerStatuses": "name",
}
"""Lists whose items are known by a key; all others are one value."""
_NOT_OWNED = (
    ("f:apiVersion",),
    ("f:kind",),
    *(("f:metadata", f"f:{each}") for each in ("name", "namespace", "resourceVersion")),
)
_SERVERS = (
    "uid",
    "creationTimestamp",
    "generation",
    "managedFields",
    "resourceVersion",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
)


class ConflictError(Exception):
    pass


def key_of(field, items):
    if field == "ports" and items and isinstance(items[0], dict):
        return "containerPort" if "containerPort" in items[0] else "port"
    return KEYS.get(field)


def leaves(value, path=(), field=""):
    """Each field that has a value of its own, as a path of `f:` and `k:` steps."""
    if isinstance(value, dict) and value:
        found = {}
        for name, each in value.items():
            if not (path == ("f:metadata",) and name in _SERVERS):
                found |= leaves(each, (*path, f"f:{name}"), name)
        return {path: each for path, each in found.items() if path not in _NOT_OWNED}
    key = key_of(field, value) if isinstance(value, list) else None
    if key and value:
        found = {}
        for each in value:
            found |= leaves(each, (*path, f"k:{json.dumps({key: each[key]}, separators=(',', ':'))}"))
        return found
    return {path: value}


def find(value, path):
    """The value at `path`, or a KeyError."""
    for step in path:
        if step.startswith("f:"):
            value = value[step[2:]]
        else:
            ((key, wanted),) = json.loads(step[2:]).items()
            value = next((each for each in value if each.get(key) == wanted), None)
            if value is None:
                raise KeyError(step)
    return value


def merge(live, wanted, field=""):
    if isinstance(live, dict) and isinstance(wanted, dict):
        return {
            **live,
            **{name: merge(live[name], each, name) if name in live else each for name, each in wanted.items()},
        }
    key = key_of(field, wanted) if isinstance(wanted, list) else None
    if key and isinstance(live, list):
        merged = [dict(each) for each in live]
        for each in wanted:
            there = next((i for i, other in enumerate(merged) if other.get(key) == each[key]), None)
            if there is None:
                merged.append(each)
            else:
                merged[there] = merge(merged[there], each)
        return merged
    return wanted


def remove(value, path):
    """Take the field at `path` away, and what becomes empty by that."""
    *way, last = path
    try:
        holder = find(value, way)
    except (KeyError, TypeError):
        return
    if last.startswith("f:") and isinstance(holder, dict):
        holder.pop(last[2:], None)
    elif isinstance(holder, list):
        ((key, wanted),) = json.loads(last[2:]).items()
        holder[:] = [each for each in holder if each.get(key) != wanted]
    if way and holder in ({}, []):
        remove(value, way)


def owners(live):
    """Manager and operation → the paths that they own."""
    found = {}
    for entry in live["metadata"].get("managedFields", ()):
        found[entry["manager"], entry["operation"]] = set(_paths(entry["fieldsV1"]))
    return found


def _paths(fields, path=()):
    for step, inner in fields.items():
        if inner:
            yield from _paths(inner, (*path, step))
        else:
            yield (*path, step)


def write_owners(thing, owned):
    entries = []
    for (manager, operation), paths in owned.items():
        fields = {}
        for path in sorted(paths):
            place = fields
            for step in path:
                place = place.setdefault(step, {})
        if paths:
            entries.append({"manager": manager, "operation": operation, "fieldsType": "FieldsV1", "fieldsV1": fields})
    thing["metadata"]["managedFields"] = entries


def apply(live, wanted, manager, *, force):
    """What `live` (None: nothing) becomes; ConflictError where another manager owns a field with another value."""
    me, asked = (manager, "Apply"), leaves(wanted)
    if live is None:
        made = copy.deepcopy(wanted)
        write_owners(made, {me: set(asked)})
        return made
    owned = owners(live)
    clashes = []
    for path, value in asked.items():
        try:
            same = find(live, path) == value
        except (KeyError, TypeError, AttributeError):
            continue
        holders = [who for who, paths in owned.items() if who != me and path in paths]
        if holders and not same:
            clashes += [(who, path) for who in holders]
    if clashes and not force:
        named = ", ".join(f'conflict with "{who[0]}": .{".".join(step[2:] for step in path)}' for who, path in clashes)
        raise ConflictError(f"Apply failed with {len(clashes)} conflict{'s' if len(clashes) > 1 else ''}: {named}")
    for who, path in clashes:
        owned[who].discard(path)
    made = merge(copy.deepcopy(live), copy.deepcopy(wanted))
    for path in owned.get(me, set()) - set(asked):
        if not any(path in paths for who, paths in owned.items() if who != me):
            remove(made, path)
    owned[me] = set(asked)
    write_owners(made, owned)
    return made


def changed(live, made, manager):
    """`made` with the fields that differ from `live` owned by `manager`, as after any other write."""
    before, after = leaves(live) if live else {}, leaves(made)
    owned = owners(live) if live else {}
    fresh = {path for path, value in after.items() if before.get(path, ...) != value and path[0] != "f:status"}
    for paths in owned.values():
        paths.difference_update(fresh)
        paths.intersection_update(after)
    owned.setdefault((manager, "Update"), set()).update(fresh)
    write_owners(made, owned)
    return made
