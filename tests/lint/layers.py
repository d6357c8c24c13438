"""One-way includes: a source file may include headers of its own folder and of folders that stand before it."""
import os
import re
import sys

# Lowest first. A header belongs to the longest folder here that holds it.
ORDER = ["dataplane/base", "rules/schema", "dataplane/record", "rules", "dataplane/nic",
         "dataplane/parse", "dataplane/formats", "dataplane/producer", "dataplane/enrich", "dataplane/protect",
         "dataplane/handoff", "dataplane/journal", "dataplane/ack", "dataplane/state", "dataplane", "sinks/encode",
         "sinks", "sinks/kafka", "sinks/clickhouse", "sinks/webhook", "controlplane", "tools",
         "clients/c", "perf", "tests"]
ALONE = ("clients/c",)  # include only themselves and the system: they are used without the rest
TESTS = ("tests/", "perf/")  # may look into private headers


def layer_of(path):
    best = None
    for folder in ORDER:
        if path.startswith(folder + "/") and (best is None or len(folder) > len(best)):
            best = folder
    return best


def main(root):
    files, headers, bad = [], {}, []
    for top in ("dataplane", "rules", "sinks", "controlplane", "tools", "clients", "perf", "tests"):
        for base, _, names in os.walk(os.path.join(root, top)):
            for name in names:
                if name.endswith((".c", ".h", ".def", ".cc")):
                    path = os.path.relpath(os.path.join(base, name), root)
                    files.append(path)
                    if name.endswith((".h", ".def")):
                        if name in headers:
                            bad.append(f"{path}: the name {name} is taken by {headers[name]}; header names are unique")
                        headers[name] = path
    for path in files:
        mine = layer_of(path)
        if mine is None:
            bad.append(f"{path}: in no layer; add its folder to tests/lint/layers.py")
            continue
        with open(os.path.join(root, path), encoding="utf-8") as f:
            for number, line in enumerate(f, 1):
                m = re.match(r'\s*#\s*include\s+"([^"]+)"', line)
                if not m:
                    continue
                target = headers.get(os.path.basename(m.group(1)))
                if target is None:
                    if not m.group(1).endswith(".c"):
                        bad.append(f"{path}:{number}: {m.group(1)} is no header of the project (system: <>)")
                    continue
                theirs = layer_of(target)
                if theirs != mine and mine in ALONE:
                    bad.append(f"{path}:{number}: {mine} stands alone and may not include {target}")
                if theirs != mine and theirs in ALONE and not path.startswith(TESTS):
                    bad.append(f"{path}:{number}: {target} is a client's; only tests and benchmarks look into it")
                if ORDER.index(theirs) > ORDER.index(mine):
                    bad.append(f"{path}:{number}: {mine} may not include {target}: {theirs} stands above it; "
                               "hand the lower layer a pointer instead")
                if target.endswith("_priv.h") and os.path.dirname(target) != os.path.dirname(path) \
                        and not path.startswith(TESTS):
                    bad.append(f"{path}:{number}: {target} is private to its folder")
    print("\n".join(bad) or f"{len(files)} files, {len(headers)} headers: includes go one way")
    return 1 if bad else 0


sys.exit(main(sys.argv[1]))
