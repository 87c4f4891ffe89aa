"""A Lambda executor for LocalStack that needs no container: it runs the `bootstrap` of a provided.* runtime as a process.

LocalStack comes with one executor, which starts a container for each environment of a function. This one starts the function's
own program on this machine and serves it the runtime API on loopback, so that a Go function runs as it does in Lambda: it asks
for work, answers, reports errors, is killed at its time-out, and is started again after it ended.

Select it with LAMBDA_RUNTIME_EXECUTOR=process. What it does not have: limits of memory and processor, another user, freezing
between invocations, extensions, layers, and architectures other than the machine's.
"""

import json
import os
import subprocess
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Empty, Queue

from localstack import config
from localstack.services.lambda_.invocation.lambda_models import InvocationResult
from localstack.services.lambda_.invocation.plugins import RuntimeExecutorPlugin
from localstack.services.lambda_.invocation.runtime_executor import RuntimeExecutor

RUNTIME_API = "/2018-06-01/runtime/"

# How long a function may take to end after SIGTERM, in seconds; Lambda gives 0.5 where no extension asks for more.
GRACE = 2

# How often it is looked whether a process still lives, in seconds.
TICK = 0.02


class Ended(Exception):
    """The process ended although it had work, or before it asked for any."""


class Environment:
    """One execution environment: a process, and the runtime API that it alone talks to."""

    def __init__(self, code, variables, log):
        self.jobs, self.answers = Queue(), Queue()
        self.asked = threading.Event()  # it waits for work
        self.init_error = None
        self.ending = False
        self.api = _serve(self)
        program = code / "bootstrap"
        program.chmod(0o755)
        address = f"127.0.0.1:{self.api.server_port}"
        self.process = subprocess.Popen(
            [program], cwd=code, env=variables | {"AWS_LAMBDA_RUNTIME_API": address},
            stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
        )
        try:
            self.wait_until_it_asks()
        except Ended:
            self.end()
            raise

    def wait_until_it_asks(self):
        while not self.asked.wait(TICK):
            if self.init_error is not None:
                raise Ended(self.init_error.decode(errors="replace"))
            if not self.alive():
                raise Ended(f"bootstrap ended with {self.process.returncode} before it asked for work")

    def alive(self):
        return self.process.poll() is None

    def invoke(self, job, seconds):
        """Returns (is_error, body) of the job; raises TimeoutError or Ended."""
        deadline = time.time() + seconds
        self.jobs.put(job | {"deadline": int(deadline * 1000)})
        while True:
            alive = self.alive()  # before the queue is looked at, so that a last answer is not missed
            try:
                request, is_error, body = self.answers.get(timeout=TICK)
            except Empty:
                if not alive:
                    raise Ended(f"exit status {self.process.returncode}") from None
                if time.time() > deadline:
                    raise TimeoutError from None
                continue
            if request == job["invoke-id"]:
                return is_error, body

    def end(self):
        self.ending = True
        if self.alive():
            self.process.terminate()
            try:
                self.process.wait(GRACE)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.api.shutdown()
        self.api.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        pass  # the process was killed while it waited for an answer


def _serve(environment):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            if self.path != RUNTIME_API + "invocation/next":
                return self._answer(404)
            environment.asked.set()
            while True:
                try:
                    job = environment.jobs.get(timeout=1)
                    break
                except Empty:
                    if environment.ending:
                        return self._answer(410)
            environment.asked.clear()
            return self._answer(200, job["payload"].encode(), {
                "Lambda-Runtime-Aws-Request-Id": job["invoke-id"],
                "Lambda-Runtime-Deadline-Ms": str(job["deadline"]),
                "Lambda-Runtime-Invoked-Function-Arn": job["invoked-function-arn"],
                "Lambda-Runtime-Trace-Id": job["trace-id"],
            })

        def do_POST(self):
            body = self._body()
            match self.path.removeprefix(RUNTIME_API).split("/"):
                case ["init", "error"]:
                    environment.init_error = body
                case ["invocation", request, "response"]:
                    environment.answers.put((request, False, body))
                case ["invocation", request, "error"]:
                    environment.answers.put((request, True, body))
                case _:
                    return self._answer(404)
            return self._answer(202, b'{"status":"OK"}')

        def _body(self):
            if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length", 0)))
            body = b""  # as Go sends what it streams
            while size := int(self.rfile.readline().split(b";")[0], 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            while self.rfile.readline().strip():
                pass
            return body

        def _answer(self, status, body=b"", headers=None):
            self.send_response(status)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    server = _Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


class ProcessExecutor(RuntimeExecutor):
    """What LocalStack asks for an execution environment. It invokes from one thread at a time."""

    def __init__(self, id, function_version):
        super().__init__(id, function_version)
        self.variables = {}
        self.environment = None
        self.log = tempfile.NamedTemporaryFile("ab", prefix=f"lambda-{id[:8]}-", suffix=".log")

    def start(self, env_vars):
        self.variables = {name: str(value) for name, value in env_vars.items()}
        self.variables |= {"LAMBDA_TASK_ROOT": str(self._code()), "PATH": os.environ.get("PATH", ""), "HOME": tempfile.gettempdir()}
        self._renew()

    def stop(self):
        if self.environment is not None:
            self.environment.end()
        self.log.close()

    def invoke(self, payload):
        request, at, began = payload["invoke-id"], os.path.getsize(self.log.name), time.time()
        seconds = self.function_version.config.timeout
        try:
            if self.environment is None or not self.environment.alive():
                self._renew()
            self.environment.wait_until_it_asks()
            is_error, body = self.environment.invoke(payload, seconds)
        except TimeoutError:
            is_error, body = True, _failure("Sandbox.Timedout", f"RequestId: {request} Error: Task timed out after {seconds:.2f} seconds")
            self._discard()
        except Ended as ended:
            is_error, body = True, _failure("Runtime.ExitError", f"RequestId: {request} Error: Runtime exited with error: {ended}")
            self._discard()
        took = 1000 * (time.time() - began)
        logs = (
            f"START RequestId: {request} Version: {self.function_version.id.qualifier}\n{self._logged(at)}"
            f"END RequestId: {request}\nREPORT RequestId: {request}\tDuration: {took:.2f} ms\n"
        )
        return InvocationResult(request, body, is_error=is_error, logs=logs)

    def get_logs(self):
        return self._logged(0)

    def _renew(self):
        self.environment = None
        self.environment = Environment(self._code(), self.variables, self.log)

    def _discard(self):
        if self.environment is not None:
            self.environment.end()
            self.environment = None

    def _code(self):
        return self.function_version.config.code.get_unzipped_code_location()

    def _logged(self, since):
        try:
            with open(self.log.name, "rb") as log:
                log.seek(since)
                text = log.read().decode(errors="replace")
        except FileNotFoundError:  # stopped
            return ""
        return text if text.endswith("\n") or not text else text + "\n"

    # Everything is on loopback.

    def get_address(self):
        return "127.0.0.1"

    def get_endpoint_from_executor(self):
        return "127.0.0.1"

    def get_runtime_endpoint(self):
        return f"http://127.0.0.1:{config.GATEWAY_LISTEN[0].port}/_localstack_lambda/{self.id}"

    @classmethod
    def prepare_version(cls, function_version):
        if function_version.config.code:
            function_version.config.code.prepare_for_execution()

    @classmethod
    def cleanup_version(cls, function_version):
        pass


def _failure(kind, message):
    return json.dumps({"errorType": kind, "errorMessage": message}).encode()


class ProcessExecutorPlugin(RuntimeExecutorPlugin):
    name = "process"

    def load(self, *args, **kwargs):
        return ProcessExecutor
