"""Packages of npm that a folder's lock file pins."""

import fcntl
import os
import subprocess


def install(folder):
    """npm ci, unless what the lock file names is there. Safe when several runs begin at once."""
    marker = os.path.join(folder, "node_modules", ".package-lock.json")
    lock = os.path.join(folder, "package-lock.json")
    with open(os.path.join(folder, "package.json"), encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        if os.path.exists(marker) and os.path.getmtime(marker) >= os.path.getmtime(lock):
            return
        done = subprocess.run(["npm", "ci"], cwd=folder, stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
