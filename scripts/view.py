"""The live view of ./run demo: what sluicectl says, once a second.

view.py [--screen | --once] SLUICECTL SOCKET [TEXT]
--screen: redraws the terminal, with TEXT below; --once: one look; else a line every five seconds."""
import json
import os
import subprocess
import sys
import time


def ask(ctl, socket, command):
    done = subprocess.run([ctl, "--socket", socket, "--json", command], capture_output=True, timeout=20, check=False)
    return json.loads(done.stdout) if done.returncode == 0 else None


def number(value):
    return f"{value:,.0f}".replace(",", " ") if isinstance(value, (int, float)) else str(value)


def matched(rules):
    """Sum over rules of their hits."""
    rows = (rules or {}).get("rules", [])
    return sum(r.get("hits", 0) for r in rows if isinstance(r, dict)) if isinstance(rows, list) else 0


def balance(ledger, rate, at_rest):
    """Counters of running threads are read one after the other: while events move, some are between two of them.
    Of more than a second's worth it is left open; the verdict is that at rest."""
    if ledger["balanced"]:
        return "balanced"
    if at_rest:
        return f"NOT BALANCED, difference {ledger['balance']}"
    moving = f"{number(abs(ledger['balance']))} in flight"
    return f"balanced, {moving}" if abs(ledger["balance"]) <= max(1000, rate) else moving


def windows_lines(windows):
    """A line a window definition; nothing when the state stage is off."""
    rows = (windows or {}).get("windows") or []
    if not rows:
        return []
    lines = ["", f"{'window':16}{'kind':>10}{'events':>14}{'late':>10}{'rows':>12}{'keys now':>12}   closed up to"]
    for w in rows:
        lines.append(f"{w['window']:16}{w['kind']:>10}{number(w['events']):>14}{number(w['late']):>10}"
                     f"{number(w['rows']):>12}{number(w['keys']):>12}   {w['closed_up_to'] or '-'}")
    return lines


def page(status, rules, windows, at_rest=False):
    rate, events, journal = status["per_second"], status["events"], status["journal"]
    lines = [f"sluice {status['version']}  node {status['node']}  up {status['uptime_seconds']:.0f} s  "
             f"{status['phase']}",
             "",
             f"{'':14}{'now, a second':>16}{'in all':>16}",
             f"{'events in':14}{number(rate['events']):>16}{number(events['events']):>16}",
             f"{'accepted':14}{number(rate['accepted']):>16}{number(events['accepted']):>16}",
             f"{'journaled':14}{number(rate['journaled']):>16}{number(events['journaled']):>16}",
             f"{'duplicates':14}{'':>16}{number(events['duplicates']):>16}",
             f"{'refused':14}{'':>16}{number(events['refused']):>16}",
             f"{'rule hits':14}{'':>16}{number(matched(rules)):>16}",
             "",
             f"journal: {number(journal['durable_records'])} records durable, "
             f"{journal['segments_used']} of {journal['segments_max']} segments",
             "",
             f"{'sink':18}{'state':>12}{'a second':>10}{'events':>12}{'rows':>10}{'alerts':>8}{'dead':>8}"
             f"{'lag':>8}{'lag s':>9}"]
    for s in status["sinks"]:
        lines.append(f"{s['sink']:18}{s['state']:>12}{number(s['events_per_s']):>10}{number(s['events']):>12}"
                     f"{number(s['rows']):>10}{number(s['alerts']):>8}{number(s['dead']):>8}{number(s['lag_events']):>8}"
                     f"{str(s['lag_seconds']):>9}")
        if s.get("error"):
            lines.append(f"    {s['error'][:100]}")
    lines += windows_lines(windows)
    lines += ["", "drops by name:"]
    drops = [f"{d['reason']} {number(d['count'])}" for d in status["drops"]]
    for i in range(0, len(drops), 4):
        lines.append("    " + "   ".join(drops[i:i + 4]))
    if not drops:
        lines.append("    none")
    lines += ["", f"ledger: {balance(status['ledger'], rate['events'], at_rest)}"]
    return lines


def line(status):
    rate = status["per_second"]
    sinks = "  ".join(f"{s['sink']} {number(s['events'] + s['rows'])} (lag {number(s['lag_events'])})" for s in status["sinks"])
    return (f"in {number(rate['events'])}/s  journaled {number(status['events']['journaled'])}  {sinks}  "
            f"ledger: {balance(status['ledger'], rate['events'], False)}")


def main(args):
    mode = args.pop(0) if args and args[0].startswith("--") else ""
    ctl, socket = args[0], args[1]
    text = args[2] if len(args) > 2 else ""
    if mode != "--screen" and text:
        print(text, flush=True)
    parent = os.getppid()
    while os.getppid() == parent:  # in a session of its own: nobody else would end it after a killed demo
        status = ask(ctl, socket, "status")
        if status is None:
            if mode == "--once":
                return 1
        elif mode == "--screen":
            sys.stdout.write("\x1b[H\x1b[J" + "\n".join(page(status, rules_of(ctl, socket), windows_of(ctl, socket))) + "\n\n" + text + "\n")
            sys.stdout.flush()
        elif mode == "--once":
            print("\n".join(page(status, rules_of(ctl, socket), windows_of(ctl, socket), at_rest=True)))
            return 0
        else:
            print(line(status), flush=True)
        time.sleep(1 if mode == "--screen" else 5)
    return 0


def rules_of(ctl, socket):
    return answer_of(ctl, socket, "rules", "stats")


def windows_of(ctl, socket):
    return answer_of(ctl, socket, "windows")


def answer_of(ctl, socket, *words):
    done = subprocess.run([ctl, "--socket", socket, "--json", *words], capture_output=True, timeout=20, check=False)
    try:
        return json.loads(done.stdout)
    except ValueError:
        return None


try:
    sys.exit(main(sys.argv[1:]))
except (KeyboardInterrupt, BrokenPipeError):
    sys.exit(0)
except subprocess.TimeoutExpired:
    sys.exit("view: sluiced does not answer")
