#!/usr/bin/env python3
"""Runs scenarios: a table as people have it, messages delivered to it, and what must come of it.

usage: DATABASE_URL=postgres://… run.py SLUICE_BINARY [FOLDER | FILE…]

It needs psql, Python 3.11, and a superuser's URL. `make scenarios` brings a Postgres.
Each scenario is a TOML file. It gets its own database, which is dropped afterwards:

  why       one line: what a user meets
  create    options of CREATE DATABASE ("ENCODING 'LATIN1' …")
  model     text of a model file (default: the built-in user_logins); builtin: another built-in model;
            models: texts of the files of a folder, in the order in which they are tried
  env       variables for sluice
  user      the role that sluice connects as; params: what follows the URL's "?"
  before    SQL before the tables are made; migrate = false: make none; setup: SQL afterwards
            (:db in both is the database's name)
  after     SQL at the end, in the database of DATABASE_URL
  [[deliver]]  one invocation
            bodies    JSON texts; "GOOD" and "GOOD locale" stand for a login; "<<N of text>>" repeats
            first     number of the first message's id (default 1): equal numbers are the same message
            receives  the receive count; sql: run before the delivery
            failed    indexes that the answer must have; or error = true: the invocation must fail;
                      or error = "text": with this in its message; neither: any answer will do
            rows      [SQL, value]: asked afterwards
            says, never   texts that the output must, must not have
  [[command]]  args, stdin, exit (default 0), says, never, sql, rows

Prints each scenario that fails, then 'N passed, N failed'. Exits with 1 if any failed or none was found.
"""
import glob, json, os, re, subprocess, sys, tempfile, tomllib, urllib.parse

binary = os.path.abspath(sys.argv[1])
where = sys.argv[2:] or [os.path.dirname(os.path.abspath(__file__))]
files = sorted(f for w in where for f in ([w] if w.endswith(".toml") else glob.glob(os.path.join(w, "*.toml"))))
admin = os.environ["DATABASE_URL"]
clean = {k: v for k, v in os.environ.items()
         if not k.startswith(("SLUICE_", "DATABASE_", "PG")) and k != "DEAD_LETTER_QUEUE_URL"}
KEYS = "k1:3d1f6f0b9a5c47e2836b0fd49c7e215a8b64d09e17f3c258"
PASSWORD = "scenario"  # of a scenario's role

def psql(url, *sql, check=True):
    args = ["psql", url, "-XAtq", "-v", "ON_ERROR_STOP=1"]
    for s in sql:
        args += ["-c", s]
    env = os.environ | {"PGOPTIONS": "-c client_min_messages=warning"}
    p = subprocess.run(args, capture_output=True, text=True, env=env)
    if check and p.returncode:
        raise RuntimeError("setup: " + p.stderr.strip())
    return p.stdout.strip()

def url_of(database, user=None, params=None):
    u = urllib.parse.urlsplit(admin)
    host = u.netloc.rpartition("@")[2]
    netloc = f"{user}:{PASSWORD}@{host}" if user else u.netloc
    query = "&".join(q for q in (u.query, params) if q)
    return urllib.parse.urlunsplit((u.scheme, netloc, "/" + database, query, ""))

def body(text, n):
    if text == "GOOD" or text.startswith("GOOD "):
        locale = text[5:] or "en_US"
        return json.dumps({"user_id": f"u-{n}", "device_type": "android", "ip": "203.0.113.7",
                           "device_id": f"d-{n}", "locale": locale, "app_version": "2.3.0"})
    return re.sub(r"<<(\d+) of (.+?)>>", lambda m: int(m[1]) * m[2], text)

def message_id(n):
    return f"00000000-0000-4000-8000-{n:012d}"

def record(n, text, receives):
    return {"messageId": message_id(n), "receiptHandle": f"r{n}", "body": body(text, n),
            "attributes": {"ApproximateReceiveCount": str(receives),
                           "SentTimestamp": str(1767225600000 + n * 1000)},
            "messageAttributes": {}, "md5OfBody": "x", "eventSource": "aws:sqs",
            "eventSourceARN": "arn:aws:sqs:us-east-1:000000000000:queue", "awsRegion": "us-east-1"}

def sluice(args, env, stdin=None):
    try:
        return subprocess.run([binary, *args], env=env, input=stdin, capture_output=True, text=True, timeout=60)
    except subprocess.TimeoutExpired:
        return None

def check_output(p, step, database):
    """Returns what is wrong with the output and the rows."""
    if p is None:
        return ["no answer in 60 s"]
    text = p.stdout + p.stderr
    wrong = [f"does not say {t!r}: {text.strip()[-300:]}" for t in step.get("says", []) if t.lower() not in text.lower()]
    wrong += [f"says {t!r}" for t in step.get("never", []) if t.lower() in text.lower()]
    if "rows" in step:
        sql, want = step["rows"]
        got = psql(url_of(database), sql)
        if got != str(want):
            wrong.append(f"{sql}: {got}, want {want}")
    return wrong

def check_answer(p, step, first):
    """Returns what is wrong with the answer of an invocation."""
    try:
        out = json.loads(p.stdout)
    except ValueError:
        return [f"exit {p.returncode}, stdout is not JSON: {p.stdout[:150]!r} {p.stderr[-200:]!r}"]
    message = out.get("errorMessage")
    if "error" in step:
        want = step["error"]
        if message is None:
            return [f"the invocation must fail; it answered {p.stdout.strip()[:200]}"]
        if isinstance(want, str) and want.lower() not in message.lower():
            return [f"the error does not say {want!r}: {message[:300]}"]
        return []
    if "failed" not in step:
        return []
    if message is not None:
        return [f"the invocation failed: {message[:300]}"]
    got = sorted(i["itemIdentifier"] for i in out["batchItemFailures"])
    if got != sorted(message_id(first + i) for i in step["failed"]):
        return [f"failed: {[int(g[-12:]) - first for g in got]}, want {step['failed']}"]
    return []

def deliver(step, env, database):
    first = step.get("first", 1)
    records = [record(first + i, text, step.get("receives", 1)) for i, text in enumerate(step["bodies"])]
    with tempfile.NamedTemporaryFile("w", suffix=".json", encoding="utf-8") as f:
        json.dump({"Records": records}, f)
        f.flush()
        p = sluice(["invoke", "-e", f.name], env)
    return check_output(p, step, database) + (check_answer(p, step, first) if p else [])

def command(step, env, database):
    p = sluice(step["args"], env, step.get("stdin"))
    wrong = check_output(p, step, database)
    want = step.get("exit", 0)
    if p and p.returncode != want:
        wrong.append(f"{' '.join(step['args'])}: exit {p.returncode}, want {want}: {(p.stdout + p.stderr).strip()[-300:]}")
    return wrong

def models(s, folder):
    """Writes the scenario's models, and returns what SLUICE_MODEL is."""
    if "models" not in s and "model" not in s:
        return s.get("builtin", "user_logins")
    texts = s.get("models") or [s["model"]]
    for i, text in enumerate(texts, 1):
        with open(os.path.join(folder, f"{i}.yaml"), "w", encoding="utf-8") as f:
            f.write(text)
    return folder if "models" in s else os.path.join(folder, "1.yaml")

def play(s, database, folder):
    psql(admin, f"create database {database} {s.get('create', '')}")
    own = url_of(database)
    base = clean | {"SLUICE_MASK_KEYS": KEYS, "SLUICE_MODEL": models(s, folder)}
    if "before" in s:
        psql(own, s["before"].replace(":db", database))
    if s.get("migrate", True):
        p = sluice(["migrate"], base | {"DATABASE_URL": own})
        if p is None or p.returncode:
            raise RuntimeError("migrate: " + (p.stderr.strip()[-400:] if p else "no end in 60 s"))
    if "setup" in s:
        psql(own, s["setup"].replace(":db", database))
    if "user" in s:
        psql(admin, f"alter role {s['user']} password '{PASSWORD}'")
    env = base | {"DATABASE_URL": url_of(database, s.get("user"), s.get("params"))} | s.get("env", {})
    wrong = []
    for kind, act in (("deliver", deliver), ("command", command)):
        for i, step in enumerate(s.get(kind, []), 1):
            if "sql" in step:
                psql(own, step["sql"])
            wrong += [f"{kind} {i}: {w}" for w in act(step, env, database)]
    return wrong

passed = failed = 0
for number, path in enumerate(files):
    with open(path, "rb") as f:
        s = tomllib.load(f)
    database = f"scenario_{os.getpid()}_{number}"
    try:
        with tempfile.TemporaryDirectory() as folder:
            wrong = play(s, database, folder)
    except RuntimeError as e:
        wrong = [str(e)]
    finally:
        psql(admin, f"drop database if exists {database} with (force)", check=False)
        if "after" in s:
            psql(admin, s["after"], check=False)
    if wrong:
        failed += 1
        print(f"{os.path.basename(path)[:-5]}: {'; '.join(wrong)}  ({s['why']})")
    else:
        passed += 1
print(f"{passed} passed, {failed} failed")
sys.exit(failed > 0 or passed == 0)
