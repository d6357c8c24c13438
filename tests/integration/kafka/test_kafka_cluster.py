"""Three brokers, RF 3, min ISR 2, under load: each broker is killed (-9) and started again, then one is frozen for ten
seconds. Nothing is lost or doubled."""
import time

from kafka_rig import LIMIT, Rig

with Rig(3, 22090) as rig:
    child = rig.start("cluster", 10 ** 9, rate=5000)
    rig.wait_log("cluster", "position=0")
    for n in (1, 2, 3):
        time.sleep(2)
        rig.cluster("kill", str(n))
        time.sleep(3)
        rig.cluster("startone", str(n))
        rig.expect(child.poll() is None, f"broker {n} killed and started again")
    time.sleep(2)
    rig.cluster("freeze", "2")
    time.sleep(10)
    rig.cluster("thaw", "2")
    rig.expect(child.poll() is None, "broker 2 frozen for 10 s")
    time.sleep(2)
    child.terminate()
    rc = child.wait(LIMIT)
    rig.expect(rc == 0, f"drained (rc {rc})")
    if rc == 3:
        rig.expect(rig.feed("cluster", 0) == 0, "a second run delivers the rest")
    rig.compare("cluster", "after broker failures")
rig.done()
