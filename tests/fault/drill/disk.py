"""A small disk of its own for a server, which can really be full.

A tmpfs in a mount namespace that nobody else sees and that is gone with the process that holds it,
even after kill -9. Root makes the namespace itself; an ordinary user makes it inside a user
namespace, where the kernel allows that (Debian 12 does).
"""

import os
import subprocess

from tests.support.process import end, unprivileged


class Disk:
    """Mounted on folder as long as this object is open. possible is False where the kernel refuses:
    then folder is an ordinary one, and there is no disk to fill."""

    def __init__(self, folder, mebibytes):
        self.folder = folder
        who = unprivileged()
        self.user, self.group = who.get("user", os.getuid()), who.get("group", os.getgid())
        self.root = os.geteuid() == 0
        os.makedirs(folder, mode=0o700, exist_ok=True)
        if self.root:
            os.chown(folder, self.user, self.group)
        mount = (f'mount -t tmpfs -o size={mebibytes}m,mode=700 drill "$1" && chown "$2" "$1"'
                 " && echo mounted && exec cat")
        # An ordinary user is root in its own namespace, and the files are its own outside.
        owner = f"{self.user}:{self.group}" if self.root else "0:0"
        self.holder = subprocess.Popen(
            ["unshare", *([] if self.root else ["--user", "--map-root-user"]), "--mount",
             "--propagation", "private", "sh", "-c", mount, "sh", folder, owner],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            start_new_session=True)
        self.possible = self.holder.stdout.readline() == b"mounted\n"
        self.problem = ""
        if not self.possible:
            self.problem = self.holder.stderr.read().decode(errors="replace").strip()
            end(self.holder)

    def inside(self, *command):
        """The command line that runs command where the disk is, as the server's user."""
        if self.root:
            into = ["nsenter", "--target", str(self.holder.pid), "--mount"]
            become = ["setpriv", "--reuid", str(self.user), "--regid", str(self.group),
                      "--clear-groups"]
        else:
            into = ["nsenter", "--target", str(self.holder.pid), "--user", "--mount",
                    "--preserve-credentials"]
            # PostgreSQL refuses to be root, and be it only in a namespace.
            become = ["unshare", "--user", f"--map-user={self.user}", f"--map-group={self.group}"]
        if not self.possible:
            return [*(become if self.root else []), *command]
        return [*into, *become, *command]

    def run(self, *command, check=True):
        """Runs a command where the disk is, and returns the CompletedProcess."""
        done = subprocess.run(self.inside(*command), cwd="/", stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=120, check=False)
        assert not check or done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done

    def fill(self):
        """Takes all the room there is."""
        self.run("sh", "-c", 'cat /dev/zero >"$1/filler"', "sh", self.folder, check=False)

    def free(self):
        """Gives the room back."""
        self.run("rm", "-f", f"{self.folder}/filler")

    def empty(self):
        """Removes everything."""
        self.run("find", self.folder, "-mindepth", "1", "-delete")

    def close(self):
        """Unmounts. Safe to repeat."""
        if self.holder.poll() is None:
            self.holder.stdin.close()
            end(self.holder)
