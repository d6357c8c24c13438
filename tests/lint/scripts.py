"""Every script can be read by its interpreter, and no Python file imports what it does not use."""
import ast
import os
import subprocess
import sys

TOPS = ("clients", "controlplane", "dataplane", "perf", "rules", "scripts", "sinks", "tests", "tools")


def unused(tree):
    """Names that are imported at the top of a file and not used in it. A package's __init__ hands names on."""
    imported = {}
    for node in tree.body:
        for alias in node.names if isinstance(node, (ast.Import, ast.ImportFrom)) else ():
            imported[(alias.asname or alias.name).split(".")[0]] = node.lineno
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    return [(line, name) for name, line in imported.items() if name not in used]


def python_faults(path):
    with open(path, encoding="utf-8") as f:
        text = f.read()
    try:
        tree = ast.parse(text)
    except SyntaxError as error:
        return [f"{error.lineno}: {error.msg}"]
    if os.path.basename(path) == "__init__.py":
        return []
    return [f"{line}: {name} is imported and not used" for line, name in unused(tree)]


def shell_faults(path):
    done = subprocess.run(["bash", "-n", path], capture_output=True, text=True, check=False)
    return [f"{line}" for line in done.stderr.splitlines()] if done.returncode else []


def main(root):
    bad, count = [], 0
    paths = [os.path.join(root, "run"), os.path.join(root, ".ci", "run")]
    for top in TOPS:
        for base, _, names in os.walk(os.path.join(root, top)):
            paths += [os.path.join(base, n) for n in names if n.endswith((".py", ".sh"))]
    for path in paths:
        faults = python_faults(path) if path.endswith(".py") else shell_faults(path)
        bad += [f"{os.path.relpath(path, root)}:{fault}" for fault in faults]
        count += 1
    print("\n".join(bad) or f"{count} scripts can be read")
    return 1 if bad else 0


sys.exit(main(sys.argv[1]))
