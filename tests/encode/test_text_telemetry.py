import subprocess
import sys

CODE = """
import os, sys, threading
forks = []
fork = os.fork
def counted():
    forks.append(1)
    return fork()
os.fork = counted
from polyvec.encode.text import TextEncoder
TextEncoder().encode("a text")
for thread in threading.enumerate():
    if thread is not threading.current_thread() and not thread.daemon:
        thread.join()
print(len(forks), sorted(name for name, module in sys.modules.items() if "openvino_telemetry" in name and module))
"""


def test_nothing_is_reported_to_the_vendor_of_the_runtime():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    assert done.stdout == "0 []\n"
