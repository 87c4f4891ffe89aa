"""usage: usual.py batch|each, with DATABASE_URL

The function that one writes in Python with psycopg, without Lambda's runtime around it: it reads
events from standard input, each after its length in 4 bytes, and answers each with a line. batch
stores an event by executemany in a transaction, each stores each message by an insert and a commit.
"""

import datetime
import hashlib
import json
import os
import sys

import psycopg

INSERT = """INSERT INTO user_logins (user_id, device_type, masked_ip, masked_device_id, locale, app_version, create_date, app_version_full, mask_key, sent_at, message_id)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s, 'sha256', %s, %s) ON CONFLICT (sent_at, message_id) DO NOTHING"""


def digest(text):
    return hashlib.sha256(text.encode()).hexdigest()


def row(record):
    login = json.loads(record["body"])
    sent = datetime.datetime.fromtimestamp(int(record["attributes"]["SentTimestamp"]) / 1000, datetime.timezone.utc)
    version = login["app_version"]
    return (
        login["user_id"], login.get("device_type"), digest(login["ip"]), digest(login["device_id"]), login.get("locale"),
        int(version.split(".")[0]), sent.date(), version, sent, record["messageId"],
    )


def batch(connection, event):
    with connection.transaction(), connection.cursor() as cursor:
        cursor.executemany(INSERT, [row(record) for record in event["Records"]])


def each(connection, event):
    for record in event["Records"]:
        connection.execute(INSERT, row(record))
        connection.commit()


def main():
    handler = {"batch": batch, "each": each}[sys.argv[1]]
    events = sys.stdin.buffer
    with psycopg.connect(os.environ["DATABASE_URL"]) as connection:
        while length := events.read(4):
            handler(connection, json.loads(events.read(int.from_bytes(length, "big"))))
            print("stored", flush=True)


main()
