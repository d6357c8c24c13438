"""Files of at most 600 lines, functions of at most 70, lines of at most 120 characters (tables: any). No allow-list."""
import os
import re
import sys

FILE_MAX, FUNCTION_MAX, LINE_MAX = 600, 70, 120
TOPS = ("dataplane", "rules", "sinks", "controlplane", "tools", "clients", "perf", "tests", "ansible")


def functions(lines):
    """(name, first line, length) of each function: a '{' alone in column one opens it, a '}' in column one ends it."""
    start, name = None, "?"
    for number, line in enumerate(lines, 1):
        if line == "{" and start is None:
            start = number
            for back in range(number - 2, max(-1, number - 8), -1):
                m = re.search(r"(\w+)\s*\(", lines[back])
                if m and not lines[back].startswith(("\t", " ")):
                    name = m.group(1)
                    break
        elif line.startswith("}") and start is not None:
            yield name, start, number - start + 1
            start, name = None, "?"


def main(root):
    bad, count = [], 0
    paths = [os.path.join(root, "run")]
    for top in TOPS:
        for base, _, names in os.walk(os.path.join(root, top)):
            paths += [os.path.join(base, n) for n in names if n.endswith((".c", ".h", ".def", ".cc", ".py", ".sh"))]
    for path in paths:
        if not os.path.exists(path):
            continue
        rel, count = os.path.relpath(path, root), count + 1
        with open(path, encoding="utf-8") as f:
            lines = f.read().split("\n")
        if len(lines) - 1 > FILE_MAX:
            bad.append(f"{rel}: {len(lines) - 1} lines; split it (at most {FILE_MAX})")
        for number, line in enumerate(lines, 1):
            if len(line.expandtabs(8)) > LINE_MAX and not rel.endswith(".def"):
                bad.append(f"{rel}:{number}: {len(line.expandtabs(8))} characters (at most {LINE_MAX})")
        if rel.endswith((".c", ".h", ".cc")):
            for name, start, length in functions(lines):
                if length > FUNCTION_MAX:
                    bad.append(f"{rel}:{start}: {name}() has {length} lines; split it (at most {FUNCTION_MAX})")
    print("\n".join(bad) or f"{count} files within bounds")
    return 1 if bad else 0


sys.exit(main(sys.argv[1]))
