#!/usr/bin/env python3
"""Interrupts and timeouts end the command with 8, soon: stop_test.py MINIINFER DIGITS_FOLDER"""

import signal
import time
from pathlib import Path

from cli import MODEL, OK, SAMPLES, STOPPED, USAGE, Case, document, main, start


def wait_until_it_listens(process):
    """Until it has blocked SIGINT, for the thread that waits for it."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        status = Path(f"/proc/{process.pid}/status").read_text()
        blocked = int(status.split("SigBlk:")[1].split()[0], 16)
        if blocked >> (signal.SIGINT - 1) & 1:
            return
        time.sleep(0.01)


class Stop(Case):
    def interrupt(self, *args, after=1.0, signals=(signal.SIGINT,), within=20):
        process = start(*args)
        wait_until_it_listens(process)
        time.sleep(after)
        self.assertIsNone(process.poll(), "it was over before it could be stopped")
        for number in signals:
            process.send_signal(number)
        out, err = process.communicate(timeout=within)
        return process.returncode, out, err

    def test_an_interrupt_during_a_measurement(self):
        for more in ([], ["--threads", "1,2"]):
            with self.subTest(more=more):
                code, out, err = self.interrupt("bench", MODEL, "--duration", 60000, *more)
                self.assertEqual(code, STOPPED, err)
                self.assertIn("error: CANCELLED: ", err)

    def test_an_interrupt_during_load(self):
        path = self.slow_model()
        out = self.dir / "y.npy"
        for command in (["run", path, "-i", "x=random", "-o", f"y=@{out}"], ["inspect", path],
                        ["compare", path, "-d", "cpu,cpu"]):
            with self.subTest(command=command):
                code, _, err = self.interrupt(*command, after=0.1)
                self.assertEqual(code, STOPPED, err)
                self.assertIn("error: CANCELLED: ", err)
        self.assertEqual(self.files(), ["slow.onnx"])

    def test_a_second_interrupt_kills(self):
        # Two of different kinds: two of one kind may arrive as one.
        code, _, _ = self.interrupt("run", self.slow_model(), "-i", "x=random", after=0.1,
                                    signals=(signal.SIGINT, signal.SIGTERM))
        self.assertIn(code, (-signal.SIGINT, -signal.SIGTERM))

    def test_an_interrupt_during_conformance(self):
        test = self.dir / "test_slow"
        test.mkdir()
        self.slow_model().rename(test / "model.onnx")
        code, _, err = self.interrupt("conformance", test, after=0.3, within=5)
        self.assertEqual(code, STOPPED, err)

    def test_timeouts(self):
        for command in (["run", MODEL, *SAMPLES], ["bench", MODEL], ["compare", MODEL, "-d", "cpu,cpu"],
                        ["bench", MODEL, "--threads", "1,2"]):
            with self.subTest(command=command):
                result = self.expect(STOPPED, *command, "--timeout", "1e-9", text="TIMEOUT")
                self.assertEqual(result.stdout, "")
        self.expect(OK, "run", MODEL, *SAMPLES, "--timeout", 60)
        self.expect(OK, "run", MODEL, *SAMPLES, "--timeout", 0)
        self.expect(USAGE, "run", MODEL, *SAMPLES, "--timeout", -1)
        error = document("run", MODEL, *SAMPLES, "--timeout", "1e-9")["error"]
        self.assertEqual((error["code"], error["exit_code"]), ("timeout", STOPPED))


if __name__ == "__main__":
    main()
