"""The main job from end to end, on synthetic radiographs: what `make demo` runs.

Every step is a command that a user would type; this prints it, then runs it.
"""

import subprocess
import sys
import time

STEPS = (
    ("cxr.label", "job=demo", "labeling.port=0"),
    ("cxr.train", "experiment=demo"),
)


def main() -> None:
    """Run every step, then say how long it took and what to try next."""
    name = f"demo-{time.strftime('%Y%m%d-%H%M%S')}"
    begun = time.monotonic()
    for module, *overrides in STEPS:
        extra = [f"name={name}"] if module == "cxr.train" else []
        shown = " ".join(["python", "-m", module, *overrides, *extra])
        print(f"\n$ {shown}", flush=True)
        done = subprocess.run([sys.executable, "-m", module, *overrides, *extra], check=False)
        if done.returncode:
            sys.exit(done.returncode)
    print(f"\nthe whole way through in {time.monotonic() - begun:.0f} s")
    print("label the same images by hand: python -m cxr.label job=demo_by_hand")


if __name__ == "__main__":
    main()
