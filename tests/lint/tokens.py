"""Tokens that a folder or a stage file may not name; each message says what to use instead."""
import os
import re
import sys

# RX stage files: run to completion on a worker core.
STAGES = ("dataplane/base/number", "dataplane/base/ip_text", "dataplane/base/json_scan", "dataplane/parse/",
          "dataplane/formats/", "dataplane/record/", "dataplane/enrich/enrich.c", "dataplane/enrich/geoip.h",
          "dataplane/enrich/lookup.h", "dataplane/protect/", "dataplane/admit", "dataplane/capture",
          "dataplane/pipeline.c", "dataplane/pipeline_batch.c", "dataplane/spread", "dataplane/nic/decode",
          "dataplane/nic/neighbour", "dataplane/nic/answer",
          "rules/compile/match_run.c",
          "rules/compile/match_attr.c", "rules/compile/match_confirm.c", "rules/compile/rule_shadow.c")
RULES = [
    # (pattern, paths it holds for, what to do)
    (r"\b(malloc|calloc|realloc|free|strdup|posix_memalign|rte_malloc|rte_zmalloc)\s*\(", STAGES,
     "no allocation in a stage: memory is made at start and handed in"),
    (r"\b(pthread_mutex_lock|pthread_rwlock\w*|rte_spinlock_lock)\s*\(", STAGES, "no locks in a stage"),
    (r"\b(clock_gettime|gettimeofday|time|clock_wall_ms|clock_mono_ns|rte_rdtsc\w*)\s*\(", STAGES,
     "no clock in a stage: the worker reads it once a burst and hands it down"),
    (r"\b(log_(error|warn|info|debug)|printf|fprintf)\s*\(", STAGES, "no log in a stage: count it under a name"),
    (r"\b(read|write|open|close|nanosleep|usleep|poll|send|recv)\s*\(", STAGES, "no system call in a stage"),
    (r"\b(strcpy|strcat|sprintf|gets|strtok)\s*\(", ("",), "unbounded: use snprintf or memcpy with a length"),
    (r"\batoi\s*\(|\batol\s*\(", ("",), "no error check: use strtoull and look at the end pointer"),
    (r"\bfork\s*\(", ("dataplane/", "sinks/"), "no fork in the DPDK process: the supervisor starts processes"),
    (r"(?i)\b(TODO|FIXME|XXX)\b", ("",), "finish it, or write an issue"),
]
SETUP_SUFFIXES = ("_setup.c",)  # set-up halves of a stage: may allocate


def strip(text):
    """The text without comments and string contents, line structure kept."""
    out = re.sub(r"/\*.*?\*/", lambda m: re.sub(r"[^\n]", " ", m.group(0)), text, flags=re.S)
    out = re.sub(r"//[^\n]*", "", out)
    return re.sub(r'"(\\.|[^"\\\n])*"', '""', out)


def main(root):
    bad, count = [], 0
    for top in ("dataplane", "rules", "sinks", "controlplane", "tools", "clients", "perf", "tests"):
        for base, _, names in os.walk(os.path.join(root, top)):
            for name in names:
                if not name.endswith((".c", ".h", ".cc")):
                    continue
                rel, count = os.path.relpath(os.path.join(base, name), root), count + 1
                with open(os.path.join(base, name), encoding="utf-8") as f:
                    raw = f.read()
                lines, rawlines = strip(raw).split("\n"), raw.split("\n")
                for pattern, where, instead in RULES:
                    if not rel.startswith(tuple(where)) or (where is STAGES and rel.endswith(SETUP_SUFFIXES)):
                        continue
                    source = rawlines if "TODO" in pattern else lines
                    for number, line in enumerate(source, 1):
                        m = re.search(pattern, line)
                        if m:
                            bad.append(f"{rel}:{number}: {m.group(0).strip()}: {instead}")
    print("\n".join(bad) or f"{count} files: no forbidden token")
    return 1 if bad else 0


sys.exit(main(sys.argv[1]))
