"""What `meson install` puts there: every pack and the mapping of Sigma's fields, under share/sluice, and they hold from
there: the packs pass `rules check`, in a copy as the installation lays them out. The pages that the unit for systemd
and error texts name are there, too, and the client in Python. Each program
says its version."""
import json
import os
import shutil
import subprocess
import sys
import tempfile

BUILD, SOURCE, CTL = (os.path.abspath(p) for p in sys.argv[1:4])


def under_share(plan):
    """Source -> place under share/sluice, folders opened."""
    found = {}
    for source, target in plan.items():
        if "/share/sluice/" not in target:
            continue
        place = target.split("/share/sluice/")[1]
        for folder, _, names in os.walk(source):
            for name in names:
                path = os.path.join(folder, name)
                found[path] = os.path.join(place, os.path.relpath(path, source))
        if os.path.isfile(source):
            found[source] = place
    return found


def main():
    with open(os.path.join(BUILD, "meson-info", "intro-installed.json"), encoding="utf-8") as f:
        plan = json.load(f)
    programs = {os.path.basename(target) for target in plan.values() if "/bin/" in target}
    assert {"sluiced", "sluicectl", "sluice-gen", "sluice-verify", "sluice-supervisor",
            "sluice-send"} <= programs, programs
    with open(os.path.join(BUILD, "meson-info", "intro-projectinfo.json"), encoding="utf-8") as f:
        version = json.load(f)["version"]
    for built, target in plan.items():
        if "/bin/" in target:
            done = subprocess.run([built, "--version"], capture_output=True, text=True, timeout=60, check=False)
            assert done.returncode == 0 and not done.stderr, (built, done)
            assert done.stdout == f"{os.path.basename(target)} {version}\n", (built, done)
    found = under_share(plan)
    packs = sorted(n for n in os.listdir(os.path.join(SOURCE, "rules", "packs")) if n.endswith(".yaml"))
    with open(os.path.join(SOURCE, "docs", "sluice.service"), encoding="utf-8") as f:
        page = next(line.split("/share/sluice/")[1].strip() for line in f if line.startswith("Documentation="))
    want = {"packs/" + n for n in packs} | {"sigma/fields.yaml", page, "docs/sluice.service", "docs/drops.md",
                                            "docs/decisions/0012-acks.md", "rules/README.md", "python/sluice_client.py",
                                            "python/sluice_loss.py", "python/sluice_reasons.py"}
    assert packs and want <= set(found.values()), (want, found)
    home = tempfile.mkdtemp(prefix="sluice_install_")
    for source, place in found.items():
        os.makedirs(os.path.dirname(os.path.join(home, place)), exist_ok=True)
        shutil.copy(source, os.path.join(home, place))
    done = subprocess.run([CTL, "rules", "check"] + [os.path.join(home, "packs", n) for n in packs],
                          capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    with open(os.path.join(home, "one.yml"), "w", encoding="utf-8") as f:
        f.write("title: One\nlogsource: {category: webserver}\nlevel: low\n"
                "detection: {selection: {cs-uri-query|contains: etc}, condition: selection}\n")
    done = subprocess.run([CTL, "rules", "import", "--map", os.path.join(home, "sigma", "fields.yaml"),
                           os.path.join(home, "one.yml")], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0 and "rules:" in done.stdout, done.stdout + done.stderr
    shutil.rmtree(home)


main()
print("ok")
