"""Rules for bench_match, into folders below argv[1]: 50 and 1,000 patterns on two fields (patterns50, patterns1000),
a list of 100,000 values (list) and, to compare it with, one rule that costs next to nothing (none)."""
import os
import random
import sys

SEED = 5
TESTS = ("contains: '/{w}'", "regex: '{w}[0-9]+=', nocase: true", "contains: '{w}.php', nocase: true",
         "regex: '\\b{a}(x|y)[a-z]*{b}'")
RULE = "  - {{id: r{i}, when: {{type: {{in: [click, page_view]}}, {test}}}, then: [tag]}}\n"


def put(folder, name, text):
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, name), "w", encoding="utf-8") as f:
        f.write(text)


def patterns(rng, count):
    text = "rules:\n"
    for i in range(count):
        w = "".join(rng.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(rng.randint(5, 10)))
        test = TESTS[i % 4].format(w=w, a=w[:4], b=w[4:])
        text += RULE.format(i=i, test=("page" if i % 2 else "referrer") + ": {" + test + "}")
    return text


def main(root):
    rng = random.Random(SEED)
    for count in (50, 1000):
        put(os.path.join(root, f"patterns{count}"), "rules.yaml", patterns(rng, count))
    put(os.path.join(root, "list"), "values.txt", "\n".join(f"/item/{rng.randrange(10 ** 7)}" for _ in range(100000)))
    put(os.path.join(root, "list"), "rules.yaml", "rules:\n" + RULE.format(i=0, test="page: {in: {file: values.txt}}"))
    put(os.path.join(root, "none"), "rules.yaml", "rules:\n" + RULE.format(i=0, test="page: {present: false}"))


main(sys.argv[1])
