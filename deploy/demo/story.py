"""The main job, told step by step: a request, two answers, receipts, secrecy, a crash, an audit."""
import hashlib
import json
import os
import subprocess
import time

from terminal import DemoError, check, command, output, say, size, step

HERE = os.path.dirname(os.path.abspath(__file__))
CASES = os.path.join(HERE, "cases")
CASE = "EE-2026-0417"
SUBJECT = "Card skimming on the Via Baltica: driver and vehicle"
WITNESS_WORD = "Nightingale"
TEXT = f"""On 14 March a white articulated lorry, registration 000 ZZZ, was used to move skimming devices from
Parnu towards Bauska. Please check your border and road records for 12 to 16 March and tell us
who drove it. The operation is called {WITNESS_WORD}; a scanned page from the seized papers is
attached. Source protected: do not contact the haulier."""
ANSWER_LATVIA = "The lorry entered at Ainazi on 14 March, 03:12. One driver; papers follow. Case file 77/B."
ANSWER_LITHUANIA = "Seen at Saločiai on 14 March, 07:40, southbound. No customs declaration was lodged."
LARGE = 48 * 1024 * 1024


class Story:
    def __init__(self, federation, daemons):
        self.federation = federation
        self.daemons = daemons
        self.request = None

    def run(self, words, allowed=(0,), show=True):
        """Runs one of the programs, shows the command as a reader would type it, gives its output."""
        program, *rest = words
        if show:
            command([program, *(w if " " not in w and w else f"'{w[:48]}…'" if len(w) > 48
                                else f"'{w}'" for w in map(self.short, rest))])
        done = subprocess.run([self.federation.program(program), *rest], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, check=False,
                              env={**os.environ, "LC_ALL": "C.UTF-8"})
        if done.returncode not in allowed:
            raise DemoError(f"{program} {rest[0]} gave exit code {done.returncode}:\n"
                            f"{done.stdout}{done.stderr}")
        return done.stdout

    def short(self, word):
        return os.path.relpath(word, self.federation.dir) if word.startswith(
            self.federation.dir + os.sep) else word

    def sealpost(self, agency, *words, show=True, allowed=(0,)):
        socket = os.path.join(self.federation.agent_dir(agency), "agent.sock")
        if show:
            command(["as", agency, *(f"'{w}'" if len(w) <= 48 and " " in w else
                                     f"'{w[:44]}…'" if len(w) > 48 and "/" not in w else
                                     self.short(w) for w in words)])
        return self.run(["sealpost", "--agent", socket, *words], allowed, show=False)

    def tell(self):
        self.send_request()
        self.read_and_answer()
        self.show_receipts()
        self.scan_brokers()
        self.kill_broker()
        self.audit()

    def send_request(self):
        step(1, "An officer of EE.POLICE asks LV.CUSTOMS and LT.POLICE about a case")
        say("The agent seals the text and the scanned page for the two agencies, signs, and hands the "
            "envelope to its home broker tallinn. Riga relays to vilnius. The command waits until both "
            "recipients' agents have it on disk and said so with a signed receipt.")
        self.request = self.sealpost(
            "EE.POLICE", "send", "--to", "LV.CUSTOMS,LT.POLICE", "--kind", "request", "--case", CASE,
            "--subject", SUBJECT, "--text", TEXT, "--handling", "H1,H2", "--level", "RESTRICTED",
            "--urgency", "urgent", "--ground", "danger to a source", "--evaluation", "B2",
            "--entity", os.path.join(CASES, "vehicle.json"),
            "--attach", os.path.join(CASES, "scanned-page.tif"),
            "--attach", os.path.join(CASES, "threat-actor.json"),
            "--wait", "delivered", "--timeout", "60s").strip()
        output(self.request)

    def read_and_answer(self):
        step(2, "Both read it and answer")
        for agency, text, extra in (
                ("LV.CUSTOMS", ANSWER_LATVIA, ["--attach", os.path.join(CASES, "call-log.json")]),
                ("LT.POLICE", ANSWER_LITHUANIA, ["--completeness", "partial"])):
            shown = self.sealpost(agency, "show", self.request)
            output(shown, 40 if agency == "LV.CUSTOMS" else 6)
            check(TEXT in shown and SUBJECT in shown, f"{agency} reads another text")
            self.same_attachment(agency)
            self.sealpost(agency, "reply", self.request, "--text", text, "--handling", "H1",
                          *extra, "--wait", "delivered", "--timeout", "60s")
        say("What EE.POLICE has now; `list` opens nothing:")
        output(self.sealpost("EE.POLICE", "list", "--case", CASE))
        answers = json_lines(self.sealpost("EE.POLICE", "list", "--box", "in", "--case", CASE,
                                           "--json", show=False))
        check(sorted(a["from"] for a in answers if a["reply_to"] == self.request) ==
              ["LT.POLICE", "LV.CUSTOMS"], "EE.POLICE did not get both answers")

    def same_attachment(self, agency):
        folder = os.path.join(self.federation.dir, "saved", self.request, agency)
        os.makedirs(folder)
        self.sealpost(agency, "save", self.request, "--to", folder)
        check(digest(os.path.join(folder, "scanned-page.tif")) ==
              digest(os.path.join(CASES, "scanned-page.tif")), "the scanned page was altered")

    def show_receipts(self):
        step(3, "What EE.POLICE can prove")
        say("Each receipt is a leaf of somebody's audit log with the proof that it stands there, under a "
            "signed checkpoint. `accepted` is tallinn's, `relayed` the next brokers', `delivered` and "
            "`opened` the recipients' own.")
        self.wait_for_state(self.request, "opened")
        output(self.sealpost("EE.POLICE", "receipts", self.request))
        evidence = os.path.join(self.federation.dir, "evidence.bin")
        if os.path.exists(evidence):
            os.unlink(evidence)
        output(self.sealpost("EE.POLICE", "prove", self.request, "--to", evidence))
        output(self.run(["sealpost-audit", "check", evidence, "--root", self.federation.root()]))

    def wait_for_state(self, message, state, agency="EE.POLICE", seconds=60):
        deadline = time.monotonic() + seconds
        while True:
            shown = json.loads(self.sealpost(agency, "show", message, "--json", show=False))
            if shown["state"] == state:
                return
            check(time.monotonic() < deadline,
                  f"message {message} is {shown['state']}, not {state}, after {seconds} s")
            time.sleep(0.1)

    def scan_brokers(self):
        step(4, "The brokers carried it and cannot have read it")
        words = [WITNESS_WORD, "000 ZZZ", SUBJECT, CASE, "scanned-page.tif", "Ainazi", "Case file 77/B"]
        files, total, found = self.scan(os.path.join(self.federation.dir, "brokers"), words)
        say(f"Searched {files} files of the three brokers ({size(total)}: stores, parts, logs) for words "
            f"of text, subject, case number and file names, as bytes and as UTF-16: "
            f"{len(found)} found.")
        check(not found, f"plain text at a broker: {found}")
        control = os.path.join(self.federation.dir, "unsealed-control")
        os.makedirs(control, exist_ok=True)
        with open(os.path.join(control, "message.txt"), "w", encoding="utf-8") as f:
            f.write(f"{SUBJECT}\n{CASE}\n{TEXT}\n{ANSWER_LATVIA}\nscanned-page.tif\n")
        _, _, planted = self.scan(control, words)
        say(f"The same search over one file with the unsealed text finds {len(planted)} of {len(words)} "
            f"words, so it can find.")
        check(len(planted) == len(words), "the search does not find planted words")

    @staticmethod
    def scan(folder, words):
        needles = {w: (w.encode(), w.encode("utf-16-le"), w.encode("utf-16-be")) for w in words}
        found = set()
        files = total = 0
        for base, _, names in os.walk(folder):
            for name in names:
                path = os.path.join(base, name)
                if not os.path.isfile(path):
                    continue
                with open(path, "rb") as f:
                    data = f.read()
                files += 1
                total += len(data)
                found |= {w for w, forms in needles.items() if any(n in data for n in forms)}
        return files, total, found

    def kill_broker(self):
        step(5, "Riga dies in the middle of a transfer")
        path = os.path.join(self.federation.dir, "seized-phone.img")
        with open(path, "wb") as f:
            f.write(os.urandom(LARGE))
        say(f"EE.POLICE sends LT.POLICE a file of {size(LARGE)}. As soon as riga has the first bytes of it, "
            "riga is killed with signal 9, and started again.")
        message = self.sealpost(
            "EE.POLICE", "send", "--to", "LT.POLICE", "--kind", "information", "--case", CASE,
            "--subject", "Image of a seized phone", "--text", "As agreed by telephone.",
            "--attach", path).strip()
        output(message)
        partial = self.wait_for_partial("riga")
        riga = self.daemons.brokers["riga"]
        riga.kill()
        say(f"riga was killed with {size(partial)} of {size(LARGE)} received.")
        shown = json.loads(self.sealpost("EE.POLICE", "show", message, "--json", show=False))
        say(f"The message's state at EE.POLICE: {shown['state']}. Starting riga again …")
        riga.start()
        riga.wait_ready()
        self.wait_for_state(message, "delivered", seconds=120)
        folder = os.path.join(self.federation.dir, "saved", message, "LT.POLICE")
        os.makedirs(folder)
        self.sealpost("LT.POLICE", "save", message, "--to", folder)
        check(digest(os.path.join(folder, "seized-phone.img")) == digest(path),
              "the file was altered")
        say("Delivered once, byte for byte what was sent.")
        inbox = json_lines(self.sealpost("LT.POLICE", "list", "--box", "in", "--json", show=False))
        check([m["id"] for m in inbox].count(message) == 1, "the message arrived twice")
        os.unlink(path)

    def wait_for_partial(self, broker):
        folder = os.path.join(self.federation.broker_dir(broker), "data", "parts")
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            for name in os.listdir(folder) if os.path.isdir(folder) else ():
                if name.endswith(".partial"):
                    try:
                        got = os.path.getsize(os.path.join(folder, name))
                    except FileNotFoundError:
                        continue
                    if 0 < got < LARGE:
                        return got
            time.sleep(0.002)
        raise DemoError(f"{broker} never had a part of the file")

    def audit(self):
        step(6, "An auditor checks every log and follows the request hop by hop")
        say("sealpost-audit needs no key and no running daemon; every signature is anchored in the "
            "federation's root.")
        sources = self.federation.data_dirs()
        for source in sources:
            said = self.run(["sealpost-audit", "verify", source, "--root", self.federation.root()])
            if source == sources[0]:
                output(said)
            else:
                output(f"{said.splitlines()[0]}: {said.splitlines()[-1]}")
        say("All hops of the request to LT.POLICE, from all nine logs:")
        output(self.run(["sealpost-audit", "explain", self.request, *sources, "--root",
                         self.federation.root()]), 140)


def digest(path):
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def json_lines(text):
    return [json.loads(line) for line in text.splitlines() if line]
