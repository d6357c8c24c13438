"""The reference pages in docs/ are what the program's tables say. --update writes them."""
import os
import subprocess
import sys

PAGES = ("config", "metrics", "drops", "events-fields", "commands")


def main(tool, root, update):
    bad = []
    for page in PAGES:
        path = os.path.join(root, "docs", page + ".md")
        made = subprocess.run([tool, page], check=True, capture_output=True, text=True).stdout
        if update:
            with open(path, "w", encoding="utf-8") as f:
                f.write(made)
        elif not os.path.exists(path) or open(path, encoding="utf-8").read() != made:
            bad.append(f"docs/{page}.md is not what the table says: dump_tables {page} > docs/{page}.md")
    print("\n".join(bad) or f"{len(PAGES)} pages match their tables")
    return 1 if bad else 0


sys.exit(main(sys.argv[1], sys.argv[2], "--update" in sys.argv[3:]))
