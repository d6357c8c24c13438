"""The reference pages in docs/, and the names of reasons in the clients, are what the program's tables say. --update
writes them."""
import os
import subprocess
import sys

PAGES = {page: f"docs/{page}.md" for page in ("config", "metrics", "drops", "events-fields", "commands")}
PAGES.update({"reasons-c": "clients/c/sc_reasons.def", "reasons-python": "clients/python/sluice_reasons.py"})


def main(tool, root, update):
    bad = []
    for page, file in PAGES.items():
        path = os.path.join(root, file)
        made = subprocess.run([tool, page], check=True, capture_output=True, text=True).stdout
        if update:
            with open(path, "w", encoding="utf-8") as f:
                f.write(made)
        elif not os.path.exists(path) or open(path, encoding="utf-8").read() != made:
            bad.append(f"{file} is not what the table says: dump_tables {page} > {file}")
    print("\n".join(bad) or f"{len(PAGES)} pages match their tables")
    return 1 if bad else 0


sys.exit(main(sys.argv[1], sys.argv[2], "--update" in sys.argv[3:]))
