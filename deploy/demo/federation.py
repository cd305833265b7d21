"""Makes the files of the demo federation with sealpost-certs, as administrators would."""
import os
import secrets
import shutil
import socket
import stat
import subprocess

from terminal import DemoError, command, output, say

NAME = "baltic.example"
MARK = ".sealpost-demo"
TITLES = {
    "EE.POLICE": ("en=Estonian Police", "et=Politsei- ja Piirivalveamet"),
    "EE.CUSTOMS": ("en=Estonian Customs", "et=Maksu- ja Tolliamet"),
    "LV.POLICE": ("en=Latvian Police", "lv=Valsts policija"),
    "LV.CUSTOMS": ("en=Latvian Customs", "lv=Muitas pārvalde"),
    "LT.POLICE": ("en=Lithuanian Police", "lt=Lietuvos policija"),
    "LT.CUSTOMS": ("en=Lithuanian Customs", "lt=Muitinės departamentas"),
}


class Federation:
    """Three brokers in a line, two agencies at each; a root of two of three keys."""

    BROKERS = ("tallinn", "riga", "vilnius")
    LINKS = (("riga", "tallinn"), ("riga", "vilnius"))
    AGENCIES = ("EE.POLICE", "EE.CUSTOMS", "LV.POLICE", "LV.CUSTOMS", "LT.POLICE", "LT.CUSTOMS")
    HOMES = {"EE": "tallinn", "LV": "riga", "LT": "vilnius"}

    def __init__(self, directory, programs, settings=None):
        self.dir = os.path.abspath(directory)
        self.programs = os.path.abspath(programs)
        self.settings = settings or {}

    # Places.

    def program(self, name):
        return os.path.join(self.programs, name)

    def public(self, *parts):
        return os.path.join(self.dir, "federation", *parts)

    def root(self):
        return self.public("root.dsse")

    def root_key(self, name):
        return os.path.join(self.dir, "root-keys", name)

    def broker_dir(self, name):
        return os.path.join(self.dir, "brokers", name)

    def agent_dir(self, name):
        return os.path.join(self.dir, "agents", name)

    def data_dirs(self):
        return [os.path.join(self.broker_dir(b), "data") for b in self.BROKERS] + \
               [os.path.join(self.agent_dir(a), "data") for a in self.AGENCIES]

    @staticmethod
    def domain(agency):
        country, name = agency.lower().split(".", 1)
        return f"{name}.{country}.example"

    def exists(self):
        return os.path.exists(os.path.join(self.dir, MARK))

    def timestamp_command(self):
        return [self.program("sealpost-certs"), "timestamp", "sign", "--federation", self.public(),
                "--key", self.root_key("timestamp.key"), "--watch"]

    # Making.

    def certs(self, *words, show=False):
        if show:
            command(["sealpost-certs", *(os.path.relpath(w, self.dir) if w.startswith(self.dir)
                                         else w for w in words)])
        done = subprocess.run([self.program("sealpost-certs"), *words], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise DemoError(f"sealpost-certs {' '.join(words)}\ngave exit code {done.returncode}:\n"
                            f"{done.stdout}{done.stderr}")
        if show:
            output(done.stdout, 14)
        return done.stdout

    def make(self, talk):
        """All files, from nothing. `talk` shows the ceremony's main steps."""
        if len(os.path.join(self.agent_dir(max(self.AGENCIES, key=len)), "agent.sock")) > 107:
            raise SystemExit_config(f"{self.dir} is too long a path for a Unix socket below it; "
                                    "choose a shorter one with --dir")
        for folder in (self.dir, self.public(), os.path.join(self.dir, "root-keys"),
                       os.path.join(self.dir, "brokers"), os.path.join(self.dir, "agents")):
            os.makedirs(folder, exist_ok=True)
        with open(os.path.join(self.dir, MARK), "w", encoding="utf-8") as f:
            f.write("Made by the demo; it may be started again or deleted.\n")
        self.make_root(talk)
        for agency in self.AGENCIES:
            self.make_agency(agency, talk and agency == self.AGENCIES[0])
        ports = free_ports(len(self.BROKERS))
        for broker, port in zip(self.BROKERS, ports):
            self.make_broker(broker, port)
        self.make_directory(talk)
        for agency in self.AGENCIES:
            self.certs("keys", "issue", agency, "--federation", self.public(), "--keys",
                       os.path.join(self.agent_dir(agency), "keys"))
        self.certs("timestamp", "sign", "--federation", self.public(), "--key",
                   self.root_key("timestamp.key"))
        self.write_as()

    def make_root(self, talk):
        phrase = os.path.join(self.dir, "root-keys", "passphrase")
        write_secret(phrase, secrets.token_hex(32) + "\n")
        for name, owner, purpose in (("1.key", "Anna", "root"), ("2.key", "Berta", "root"),
                                     ("3.key", "Carl", "root"),
                                     ("timestamp.key", "timestamp service", "timestamp")):
            self.certs("keystore", "init", "--purpose", purpose, "--owner", owner, "--to",
                       self.root_key(name), "--passphrase-file", phrase, "--cost", "daemon")
        unsigned = os.path.join(self.dir, "root-keys", "root.1.dsse")
        keys = [w for n in "123" for w in ("--key", self.root_key(f"{n}.key"))]
        if talk:
            say("Three people hold the root keys; two of them are needed to sign. Anna and Carl sign:")
        self.certs("root", "init", "--federation", NAME, *keys, "--threshold", "2",
                   "--timestamp-key", self.root_key("timestamp.key"), "--to", unsigned, show=talk)
        for n in "13":
            self.certs("root", "sign", unsigned, "--key", self.root_key(f"{n}.key"),
                       "--passphrase-file", phrase)
        self.certs("root", "publish", unsigned, "--federation", self.public())

    def make_agency(self, agency, talk):
        home = self.agent_dir(agency)
        keys = os.path.join(home, "keys")
        ca_key = os.path.join(home, "ca", "ca.key")
        domain = self.domain(agency)
        os.makedirs(os.path.dirname(ca_key), mode=0o700, exist_ok=True)
        write_secret(os.path.join(home, "ca", "passphrase"), secrets.token_hex(32) + "\n")
        self.certs("agency", "init", agency, "--federation", self.public(), "--trust-domain", domain,
                   "--key", ca_key, "--cost", "daemon")
        self.certs("agent", "init", agency, "--keys", keys, "--cost", "daemon")
        if talk:
            say(f"Each agency has a CA of its own, whose key the directory will pin, and issues its "
                f"agent a certificate of 30 days:")
        self.certs("agency", "issue", agency, "--federation", self.public(), "--trust-domain", domain,
                   "--keys", keys, "--ca-key", ca_key, show=talk)
        self.certs("crl", "issue", agency, "--federation", self.public(), "--ca-key", ca_key)
        self.pin_root(home)
        write(os.path.join(home, "agent.yaml"), f"""agency: {agency}
federation: ../../federation
root: root.dsse
data: data
keys: keys
passphrase_file: keys/passphrase
socket: agent.sock
refresh: 1s
{self.extra()}officers:
  - id: {agency.lower()}-duty
    name: Duty officer of {agency}
    uid: {os.getuid()}
    roles: [officer, releaser, auditor, administrator]
""")

    def pin_root(self, home):
        """What an operator installs by hand: the root that everything else is anchored in."""
        shutil.copyfile(self.root(), os.path.join(home, "root.dsse"))

    def extra(self):
        return "".join(f"{key}: {value}\n" for key, value in self.settings.items())

    def make_broker(self, name, port):
        home = self.broker_dir(name)
        os.makedirs(home, exist_ok=True)
        self.certs("broker", "init", name, "--keys", os.path.join(home, "keys"), "--to",
                   os.path.join(home, "public.yaml"), "--cost", "daemon")
        self.pin_root(home)
        write(os.path.join(home, "broker.yaml"), f"""name: {name}
federation: ../../federation
root: root.dsse
data: data
keys: keys
passphrase_file: keys/passphrase
listen: tcp://127.0.0.1:{port}
refresh: 1s
{self.extra()}""")

    def endpoint(self, name):
        with open(os.path.join(self.broker_dir(name), "broker.yaml"), encoding="utf-8") as f:
            return next(line.split()[1] for line in f if line.startswith("listen:"))

    def directory_text(self):
        lines = [f"federation: {NAME}", "agencies:"]
        for agency in self.AGENCIES:
            names = ", ".join(TITLES[agency])
            lines += [f"  - name: {agency}", f"    names: [{names}]",
                      f"    trust_domain: {self.domain(agency)}",
                      f"    ca: federation/agencies/{agency}/ca.pem",
                      f"    ceiling: {'RESTRICTED' if agency == 'LT.CUSTOMS' else 'CONFIDENTIAL'}",
                      f"    homes: [{self.HOMES[agency[:2]]}]"]
        lines.append("brokers:")
        for broker in self.BROKERS:
            lines += [f"  - name: {broker}", f"    endpoint: {self.endpoint(broker)}",
                      f"    public: brokers/{broker}/public.yaml", "    ceiling: CONFIDENTIAL"]
        lines.append("links:")
        for a, b in self.LINKS:
            lines += [f"  - between: [{a}, {b}]", "    ceiling: CONFIDENTIAL"]
        return "\n".join(lines) + "\n"

    def make_directory(self, talk):
        source = os.path.join(self.dir, "directory.yaml")
        unsigned = os.path.join(self.dir, "root-keys", "directory.dsse")
        phrase = os.path.join(self.dir, "root-keys", "passphrase")
        write(source, self.directory_text())
        if os.path.exists(unsigned):
            os.unlink(unsigned)
        if talk:
            say("The directory says who takes part, over which links, up to which level. It is written "
                "as a text file; before anyone signs, the program shows what changes:")
        self.certs("directory", "init", "--federation", self.public(), "--from", source, "--to",
                   unsigned, show=talk)
        for n in "23":
            self.certs("directory", "sign", unsigned, "--federation", self.public(), "--key",
                       self.root_key(f"{n}.key"), "--passphrase-file", phrase)
        self.certs("directory", "publish", unsigned, "--federation", self.public())

    # Starting an old one again.

    def refresh(self):
        """Signs anew what ages: certificates, CRLs, statements; and the directory, with free ports."""
        for broker, port in zip(self.BROKERS, free_ports(len(self.BROKERS))):
            path = os.path.join(self.broker_dir(broker), "broker.yaml")
            if not port_is_free(self.endpoint(broker)):
                with open(path, encoding="utf-8") as f:
                    lines = f.readlines()
                write(path, "".join(f"listen: tcp://127.0.0.1:{port}\n"
                                    if line.startswith("listen:") else line for line in lines))
        for agency in self.AGENCIES:
            keys = os.path.join(self.agent_dir(agency), "keys")
            ca_key = os.path.join(self.agent_dir(agency), "ca", "ca.key")
            domain = self.domain(agency)
            self.certs("agency", "issue", agency, "--federation", self.public(), "--trust-domain",
                       domain, "--keys", keys, "--ca-key", ca_key)
            self.certs("crl", "issue", agency, "--federation", self.public(), "--ca-key", ca_key)
            self.certs("keys", "rotate", agency, "--federation", self.public(), "--keys", keys,
                       "--cost", "daemon")
        self.make_directory(False)
        self.certs("timestamp", "sign", "--federation", self.public(), "--key",
                   self.root_key("timestamp.key"))
        self.write_as()

    def write_as(self):
        path = os.path.join(self.dir, "as")
        write(path, f"""#!/bin/sh
# as AGENCY ARGS…: the officers' command line against that agency's agent.
[ $# -ge 1 ] || {{ echo "usage: as AGENCY COMMAND …" >&2; exit 2; }}
here=$(dirname "$0")
agency=$1
shift
[ -d "$here/agents/$agency" ] || {{ echo "as: no agency $agency here" >&2; exit 7; }}
exec "{self.program('sealpost')}" --agent "$here/agents/$agency/agent.sock" "$@"
""")
        os.chmod(path, 0o755)


class SystemExit_config(SystemExit):
    """Ends the demo with the exit code for a wrong configuration."""

    def __init__(self, text):
        super().__init__(3)
        self.text = text


def write(path, text):
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)


def write_secret(path, text):
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, stat.S_IRUSR | stat.S_IWUSR)
    with os.fdopen(fd, "w", encoding="utf-8") as f:
        f.write(text)


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def port_is_free(endpoint):
    host, port = endpoint.removeprefix("tcp://").rsplit(":", 1)
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind((host, int(port)))
        except OSError:
            return False
    return True
