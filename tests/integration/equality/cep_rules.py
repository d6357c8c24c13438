"""Sequences and absences, each once: as a rule file for sluice and as a pattern of Flink's CEP library, and what
becomes of Flink's matches where docs/rules-state.md says that ours are others."""
import json

SPAN_MS = 20000
FIELDS = ("type", "user_id", "ip", "merchant", "status", "page", "amount")
PAYMENT = {"type": ["transaction"]}
PAGES = {"type": ["page_view", "conversion"]}
WORDS = {"=": "in", "^": "prefix", "<": "lt", ">": "gt"}


def is_(*letters):
    """A payment whose status is one of these."""
    return {**PAYMENT, "status": list(letters)}


def step(test, follow="followed_by", least=1, most=None):
    """most 0: as many as come; a test whose follow begins with `not_` must not come."""
    return {"test": test, "follow": follow, "least": least, "most": least if most is None else most}


def not_(test, follow="followed_by"):
    return step(test, "not_" + follow)


# ---- what differs, and how: Flink's matches of a rule to those that sluice must have ----
def same(matches, _events, _rule):
    return matches


def one_of_a_beginning(matches, _events, _rule):
    """No branches: of the matches that begin with the same event, the one that is complete first, and of those with the
    same end the one with the most repeats."""
    best = {}
    for key, ids in matches:
        rank = (_events[ids[-1]], -len(ids))
        if (key, ids[0]) not in best or rank < best[key, ids[0]][0]:
            best[key, ids[0]] = (rank, ids)
    return [(key, ids) for (key, _), (_, ids) in best.items()]


def negation_wins(matches, events, rule):
    """A match whose last event passes what must not come between is none."""
    unwanted = next(s["test"]["status"] for s in rule["steps"] if s["follow"].startswith("not_"))
    return [(key, ids) for key, ids in matches if events.status(ids[-1]) not in unwanted]


def each_negation_holds(matches, events, rule):
    """`notFollowedBy` before `notNext`: Flink forgets the first of them (NFACompiler looks one pattern back)."""
    unwanted = next(s["test"]["status"] for s in rule["steps"] if s["follow"] == "not_followed_by")
    return [(key, ids) for key, ids in matches
            if not any(events.status(i) in unwanted for i in events.between(ids[0], ids[-1]))]


def rule(by, steps, skip="past_last", within=SPAN_MS, when=None, expect=same):
    return {"by": by, "steps": steps, "skip": skip, "within": within, "when": when, "expect": expect}


def absence(by, test, then, within):
    made = rule(by, [step(test), not_(then)], "none", within)
    made["absence"] = True
    return made


A, B, C, N, D = (is_(x) for x in "abcnd")
NEXT = "next"
RULES = {
    "followed": rule("user_id", [step(A), step(B), step(C)]),
    "followed-all": rule("user_id", [step(A), step(B), step(C)], "none"),
    "next": rule("user_id", [step(A), step(B, NEXT)], "none", when=PAYMENT),
    "next-next": rule("user_id", [step(A), step(B, NEXT), step(C, NEXT)], when=PAYMENT),
    "next-followed": rule("user_id", [step(A), step(B, NEXT), step(C)], when=PAYMENT),
    "followed-next": rule("user_id", [step(A), step(B), step(C, NEXT)], "none", when=PAYMENT),
    "not-next": rule("user_id", [step(A), not_(N, NEXT), step(C)], when=PAYMENT),
    "not-next-all": rule("user_id", [step(A), not_(N, NEXT), step(C)], "none", when=PAYMENT),
    "not-between": rule("user_id", [step(A), not_(N), step(C)]),
    "not-between-all": rule("user_id", [step(A), not_(N), step(B), not_(D), step(C)], "none"),
    "two-not": rule("user_id", [step(A), not_(D, NEXT), not_(N), step(C)], when=PAYMENT),
    "two-not-turned": rule("user_id", [step(A), not_(N), not_(D, NEXT), step(C)], "none", when=PAYMENT,
                           expect=each_negation_holds),
    "times": rule("user_id", [step(A, least=3), step(C)]),
    "times-all": rule("user_id", [step(A, least=3), step(C)], "none"),
    "times-last": rule("user_id", [step(A), step(B, least=2)]),
    "times-alone": rule("user_id", [step(A, least=4)]),
    "times-alone-all": rule("user_id", [step(A, least=4)], "none"),
    "times-not": rule("user_id", [step(A, least=2), not_(N), step(B, least=2)], "none"),
    "times-not-next": rule("user_id", [step(A, least=2), not_(N, NEXT), step(B, least=2)], "none", when=PAYMENT),
    "overlap": rule("user_id", [step(is_("a", "z")), step(is_("b", "z")), step(is_("a", "b", "z"))]),
    "overlap-all": rule("user_id", [step(is_("a", "z")), step(is_("b", "z")), step(is_("a", "b", "z"))], "none"),
    "by-ip": rule("ip", [step(A), step(B), step(C)]),
    "by-ip-all": rule("ip", [step(A), step(B), step(C)], "none"),
    "by-ip-next": rule("ip", [step(A), step(B, NEXT)], "none", when=PAYMENT),
    "by-two": rule("ip,merchant", [step(A), not_(N), step(C)]),
    "absent": absence("user_id", A, C, 6000),
    "absent-ip": absence("ip", A, B, 3000),
    "absent-again": absence("user_id", is_("a", "z"), is_("b", "z"), 6000),
    "some": rule("user_id", [step(A), step(B, least=1, most=3), step(C)], "none", expect=one_of_a_beginning),
    "some-last": rule("user_id", [step(A), step(B, least=2, most=4)], "none", expect=one_of_a_beginning),
    "some-first": rule("user_id", [step(A, least=2, most=4), step(C)], "none", expect=one_of_a_beginning),
    "one-or-more": rule("user_id", [step(A), step(B, least=1, most=0), step(C)], "none", expect=one_of_a_beginning),
    "negation": rule("user_id", [step(A), not_(is_("n", "m")), step(is_("c", "m"))], "none", expect=negation_wins),
    "funnel": rule("user_id", [step({"type": ["page_view"], "page": "^/product"}), step({"type": ["conversion"]})],
                   within=60000),
    "funnel-next": rule("user_id", [step({"type": ["page_view"]}), step({"type": ["conversion"]}, NEXT)], "none",
                        within=60000, when=PAGES),
    "cards": rule("user_id", [step({**PAYMENT, "amount": "<20"}, least=3), step({**PAYMENT, "amount": ">100"})],
                  within=60000),
}
MANY = 1000  # of repeats: more than come within any rule's time


# ---- for sluice ----
def our_test(test):
    """Values: a list is one of these; else an operator and a value."""
    out = {}
    for field, value in test.items():
        if isinstance(value, list):
            out[field] = {"in": value}
        else:
            out[field] = {WORDS[value[0]]: float(value[1:]) if value[0] in "<>" else value[1:]}
    return out


def our_step(spec, first):
    negated = spec["follow"].startswith("not_")
    out = {"not" if negated else "when": our_test(spec["test"])}
    if not first:
        out["follow"] = spec["follow"].removeprefix("not_")
    if not negated and (spec["least"], spec["most"]) != (1, 1):
        out["times"] = spec["least"] if spec["least"] == spec["most"] else {"at_least": spec["least"],
                                                                            "at_most": spec["most"] or MANY}
    return out


def our_rule(name, spec):
    out = {"id": name, "by": spec["by"].split(","), "then": ["alert"], "evidence": 32,
           "limits": {"keys": 1000000, "memory": "4GiB"}}
    if "absence" in spec:
        out["when"] = our_test(spec["steps"][0]["test"])
        out["absence"] = {"within": f"{spec['within']}ms", "then": our_test(spec["steps"][1]["test"])}
        return out
    if spec["when"]:
        out["when"] = our_test(spec["when"])
    out["sequence"] = {"within": f"{spec['within']}ms", "skip": spec["skip"],
                       "steps": [our_step(s, i == 0) for i, s in enumerate(spec["steps"])]}
    return out


def write_ours(path, rules):
    """A rule file; JSON is YAML."""
    with open(path, "w", encoding="utf-8") as f:
        json.dump({"rules": [our_rule(name, spec) for name, spec in rules.items()]}, f, indent=1)


# ---- for Flink ----
def flink_test(test):
    return "&".join(f"{k}={','.join(v)}" if isinstance(v, list) else k + v for k, v in test.items())


def flink_rule(name, spec):
    """As Cep.java reads it. What a rule without `when` sees is what passes one of its steps."""
    seen = [spec["when"]] if spec["when"] else [s["test"] for s in spec["steps"]]
    steps = [f"{s['follow']}:{s['least']}:{s['most']}:{flink_test(s['test'])}" for s in spec["steps"]]
    return "\t".join([name, spec["by"], str(spec["within"]), spec["skip"], " ".join(map(flink_test, seen)), *steps])


def write_flink(path, rules):
    with open(path, "w", encoding="utf-8") as f:
        f.writelines(flink_rule(name, spec) + "\n" for name, spec in rules.items())
