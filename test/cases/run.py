#!/usr/bin/env python3
"""Runs the cases of this folder through `sluice invoke` and compares the answers and the rows.

usage: DATABASE_URL=postgres://… run.py SLUICE_BINARY [FOLDER]

It needs psql, and creates and empties the table user_logins. `make cases` brings a Postgres.
A case is a JSON file: an event, what must fail, and the rows afterwards (columns: COLUMNS below).
Each event runs twice: the second run must give the same answer and add no row.
Prints each case that fails, then 'N passed, N failed'. Exits with 1 if any failed or none was found.
internal/handler reads the same files.
"""
import glob, json, os, subprocess, sys, tempfile

binary = os.path.abspath(sys.argv[1])
folder = sys.argv[2] if len(sys.argv) > 2 else os.path.dirname(os.path.abspath(__file__))
url = os.environ["DATABASE_URL"]
clean = {k: v for k, v in os.environ.items()
         if not k.startswith("SLUICE_") and k not in ("DEAD_LETTER_QUEUE_URL", "PG_URL")}
base = clean | {"SLUICE_MASK": "sha256", "SLUICE_MODEL": "user_logins"}
COLUMNS = "user_id,device_type,masked_ip,masked_device_id,locale,app_version,create_date"
# Personal values of the cases, in several forms: no output may have them.
RAW = ("203.0.113.7", "cb00:7107", "593-47-5928", "canary-key@example.com", "2001:db8::1", "3405803783")
# What every row must have besides the columns above.
INVALID = """select count(*) from user_logins where message_id is null or sent_at is null
    or create_date <> (sent_at at time zone 'UTC')::date or mask_key is null
    or (app_version_full is null) <> (app_version is null)"""

def psql(sql):
    args = ["psql", url, "-XAtq", "-v", "ON_ERROR_STOP=1", "-c", sql]
    return subprocess.run(args, capture_output=True, text=True, check=True).stdout.strip()

def invoke(case):
    """Runs the case's event once and returns what is wrong with the answer."""
    with tempfile.NamedTemporaryFile("w", suffix=".json", encoding="utf-8") as f:
        f.write(case["event"])
        f.flush()
        try:
            p = subprocess.run([binary, "invoke", "-e", f.name], env=base | case.get("env", {}),
                               capture_output=True, text=True, timeout=60)
        except subprocess.TimeoutExpired:
            return ["no answer in 60 s"]
    wrong = [f"raw value {r!r} in the output" for r in RAW if r in p.stdout or r in p.stderr]
    want = case["want"]
    try:
        out = json.loads(p.stdout)
        if "error" in want:
            good = p.returncode == 1 and "errorType" in out and "errorMessage" in out
            return wrong if good else wrong + [f"exit {p.returncode}, want 1 and an error: {p.stdout[:200]}"]
        failed = sorted(i["itemIdentifier"] for i in out["batchItemFailures"])
    except (ValueError, KeyError, TypeError):
        return wrong + [f"exit {p.returncode}, no answer: {p.stdout[:200]!r} {p.stderr[-200:]!r}"]
    if p.returncode != 0:
        wrong.append(f"exit {p.returncode}")
    if failed != want["failed"]:
        wrong.append(f"{len(failed)} failed {failed[:4]}, want {len(want['failed'])} {want['failed'][:4]}")
    return wrong

def run(case):
    psql("truncate user_logins")
    wrong = invoke(case) + ["second run: " + w for w in invoke(case)]
    rows = json.loads(psql(f"select coalesce(json_agg(json_build_array({COLUMNS})), '[]') from user_logins"))
    if sorted(map(json.dumps, rows)) != sorted(map(json.dumps, case["rows"])):
        extra = [r for r in rows if r not in case["rows"]]
        missing = [r for r in case["rows"] if r not in rows]
        wrong.append(f"{len(rows)} rows, want {len(case['rows'])}; extra {extra[:1]} missing {missing[:1]}")
    invalid = psql(INVALID)
    if invalid != "0":
        wrong.append(f"{invalid} rows with a message_id, sent_at, mask_key or app_version_full that the model forbids")
    return wrong

subprocess.run([binary, "migrate"], env=base, check=True, capture_output=True)
psql("alter table user_logins drop constraint if exists no_xx")
psql("truncate user_logins; alter table user_logins add constraint no_xx check (locale <> 'xx')")
passed = failed = 0
for path in sorted(glob.glob(os.path.join(folder, "*.json"))):
    with open(path, encoding="utf-8") as f:
        case = json.load(f)
    wrong = run(case)
    if wrong:
        failed += 1
        print(f"{case['name']}: {'; '.join(wrong)}  ({case['why']})")
    else:
        passed += 1
print(f"{passed} passed, {failed} failed")
sys.exit(failed > 0 or passed == 0)
