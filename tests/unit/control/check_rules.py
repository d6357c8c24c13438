"""`sluicectl rules check` without a daemon: each rule with an error is named, and the last line is the verdict."""
import json
import os
import subprocess
import sys
import tempfile

DIR = tempfile.mkdtemp(prefix="sluice_check_")
CTL = os.path.abspath(sys.argv[1])


def write(name, text):
    with open(os.path.join(DIR, name), "w", encoding="utf-8") as f:
        f.write(text)


def check(*args):
    done = subprocess.run([CTL, "rules", "check", *args], cwd=DIR, capture_output=True, text=True,
                          timeout=60, check=False)
    return done.returncode, done.stdout, done.stderr


def verdict(out):
    return out.splitlines()[-1]


def good():
    write("good.yaml", "rules:\n- {id: one, when: {page: /x}, then: tag}\n")
    write("costly.yaml", "rules:\n- {id: two, when: {page: {regex: '^/x'}}, then: tag}\n"
          "- {id: listed, when: {page: {in: {file: pages.txt}}}, then: tag}\n")
    write("pages.txt", "/a\n/b\n")
    code, out, err = check("good.yaml")
    assert (code, err) == (0, "") and verdict(out) == "rules check: 1 rule in 1 file is good", (code, out, err)
    code, out, err = check("good.yaml", "costly.yaml")
    assert (code, err) == (0, ""), (code, err)
    assert verdict(out) == "rules check: 3 rules in 2 files are good, 1 warning", out
    code, out, err = check("good.yaml", "--json")
    result = json.loads(out)
    assert code == 0 and result["rules"] == 1 and result["verdict"] == "rules check: 1 rule in 1 file is good", result


def wrong():
    write("wrong.yaml", "rules:\n- {id: a, when: {pgae: /x}, then: tag}\n- {id: b, when: {page: /x}, then: tagg}\n")
    write("broken.yaml", "rules:\n- {id: x\n  file: [\n")  # no YAML, and with the word that lists are looked for by
    code, out, err = check("wrong.yaml", "good.yaml", "broken.yaml")
    said = "rules check: 3 errors in 2 files; nothing would be applied; tests were not run\n"
    assert code == 1 and out == said, (code, out)
    lines = err.splitlines()
    assert len(lines) == 3, err
    assert lines[0].startswith("wrong.yaml:2:") and "did you mean page?" in lines[0], err
    assert lines[1].startswith("wrong.yaml:3:") and "did you mean tag?" in lines[1], err
    assert lines[2].startswith("broken.yaml:"), err
    code, out, err = check("wrong.yaml", "--json")
    result = json.loads(out)
    assert code == 1 and len(result["errors"]) == 2 and "2 errors in 1 file" in result["verdict"], result
    write("many.yaml", "rules:\n" + "".join("- {id: r%d, when: {pgae: /x}, then: tag}\n" % i for i in range(60)))
    code, out, err = check("many.yaml")
    assert code == 1 and len(err.splitlines()) == 50, err
    assert out == "rules check: more than 50 errors in 1 file; nothing would be applied; tests were not run\n", out
    write("evil.yaml", "rules:\n- {id: a, when: {\"\\e[2Jpage\": /x}, then: tag}\n")
    code, out, err = check("evil.yaml")
    assert code == 1 and "\x1b" not in out + err, repr(err)


def tests_fail():
    write("fails.yaml", "rules:\n- {id: f, when: {page: /y}, then: tag, tests: [{send: [{page: /x}], expect: tag}]}\n")
    code, out, _ = check("good.yaml", "fails.yaml")
    assert code == 1 and "fails.yaml:2: rule f: expected tag" in out, out
    assert verdict(out) == "rules check: 1 failed test in 1 file; nothing would be applied", out


def state_fails():
    """Why events of a sample give no alert, where that shows."""
    rows = [
        ("when: {page: /y}, by: ip, count: {at_least: 2, within: 1m}", ["{page: /x, ip: 192.0.2.1, ts: 1}"] * 2,
         "none of them passes its `when`"),
        ("when: {page: /x}, by: [ip, country], count: {at_least: 2, within: 1m}",
         ["{page: /x, ip: 192.0.2.1, ts: 1}"] * 2,
         "of the 2 that pass its `when` none has country, a field of `by`"),
        ("when: {page: /x}, by: [ip, country], count: {at_least: 2, within: 1m}",
         ["{page: /x, ip: 192.0.2.1, ts: 1}", "{page: /x, country: DE, ts: 1}"],
         "none that passes its `when` has all fields of `by`"),
        ("when: {page: /x}, by: ip, count: {at_least: 3, within: 1m}",
         ["{page: /x, ip: 192.0.2.1, ts: 1}", "{page: /x, ip: 192.0.2.1, ts: 2}", "{page: /y, ip: 192.0.2.1, ts: 2}"],
         "2 of them pass its `when` and have a key; at_least is 3"),
        ("when: {type: transaction}, by: ip, distinct: {field: card, at_least: 2, within: 1m}",
         ["{type: transaction, ip: 192.0.2.1, ts: 1}"] * 2, "none has card, whose values it looks at"),
        ("by: ip, sequence: {within: 1m, steps: [{name: first, when: {page: /a}}, "
         "{name: second, when: {page: /b}}]}", ["{page: /a, ip: 192.0.2.1, ts: 1}", "{page: /c, ip: 192.0.2.1, ts: 2}"],
         "none of them passes step second"),
        ("when: {page: /x}, by: ip, count: {at_least: 2, within: 1m}",  # nothing is said where it does not show
         ["{page: /x, ip: 192.0.2.1, ts: 1}", "{page: /x, ip: 192.0.2.1, ts: 100000}"], "2 events give 0 alerts"),
    ]
    for rule, events, why in rows:
        write("state.yaml", "rules:\n- {id: s, %s, then: alert,\n   tests: [{send: [%s], expect: alert}]}\n"
              % (rule, ", ".join(events)))
        code, out, err = check("state.yaml", "--json")
        assert code == 1 and out, (rule, err)
        report = json.loads(out)["report"]
        assert len(report) == 1 and report[0].endswith(why), (rule, report)


def config():
    """What rules ask of the configuration: told before they are applied."""
    write("route.yaml", "rules:\n- {id: r1, when: {page: /x}, then: {route: alerts}}\n"
          "- {id: r2, when: {page: /y}, then: {route: our-alerts}}\n"
          "- {id: r3, when: {page: /z}, then: {route: other}}\n"
          "- {id: old, when: {page: /z}, then: {route: our-alerts}, expires: 2020-01-01}\n")
    code, out, err = check("route.yaml", "--json")  # which topic is whose is not known: a warning
    result = json.loads(out)
    assert (code, err) == (0, "") and result["verdict"].endswith("are good, 2 warnings"), (code, result, err)
    assert "rule r1: then: route: 'alerts' is kafka.topic_alerts by default" in result["warnings"][0], result
    assert "rule old has expired" in result["warnings"][1], result
    write("sluice.yaml", "kafka: {enabled: true, brokers: 'b:9092', topic_alerts: our-alerts}\n")
    code, out, err = check("route.yaml", "--config", "sluice.yaml")
    assert code == 1 and err == "route.yaml:3: rule r2: then: route: 'our-alerts' is kafka.topic_alerts\n", (code, err)
    assert verdict(out) == "rules check: 1 error in 1 file; nothing would be applied", out
    write("window.yaml", "rules:\n- {id: w, when: {page: /x}, then: {route: aggregates.mine}}\n"
          "- {id: d, when: {page: /x}, then: {route: aggregates.page_minute}}\n")
    code, out, err = check("window.yaml", "--json")  # of the shipped windows, if it is them that are in force
    assert code == 0 and len(json.loads(out)["warnings"]) == 1, (code, out, err)
    write("windows.yaml", "windows:\n- {name: mine, kind: tumbling, size: 1m}\n- {name: page_minute, kind: tumbling, "
          "size: 2m, kafka: false}\n")
    code, out, err = check("window.yaml", "--config", "windows.yaml")
    assert code == 1 and err == "window.yaml:2: rule w: then: route: 'aggregates.mine' is the topic of a window\n", err
    code, out, err = check("route.yaml", "fails.yaml", "--config", "sluice.yaml")
    assert code == 1 and verdict(out).startswith("rules check: 1 error and 1 failed test in 2 files;"), out
    write("sluice.yaml", "kafka: {topic_alerts: a}\nstate: {enabled: false}\nrules: {patterns_max: 1}\n")
    write("state.yaml", "rules:\n- {id: s, when: {page: /x}, by: ip, count: {at_least: 2, within: 1m}, then: alert}\n")
    code, out, err = check("route.yaml", "state.yaml", "--config", "sluice.yaml", "--json")
    result = json.loads(out)
    assert code == 0 and len(result["warnings"]) == 5, result
    assert sum("kafka.enabled is false" in w for w in result["warnings"]) == 3, result
    assert any("rule s has state, and state.enabled is false" in w for w in result["warnings"]), result
    write("many.yaml", "rules:\n" + "".join("- {id: p%d, when: {page: {contains: ab%d}}, then: tag}\n" % (i, i)
                                            for i in range(2)))
    code, out, err = check("many.yaml", "--config", "sluice.yaml")
    assert code == 1 and "more than 1 text patterns" in err, err
    code, out, err = check("good.yaml", "--config", "none.yaml")
    assert code == 1 and "none.yaml" in err and not out, (code, out, err)


good()
wrong()
tests_fail()
state_fails()
config()
print("ok")
