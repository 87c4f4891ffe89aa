package drill_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"example.com/owner/sluice/internal/model"
	"example.com/owner/sluice/internal/testing/pgtest"
	"example.com/owner/sluice/internal/testing/runtimeapi"
)

// kindsOfEvents are three models of one queue: rows that are kept, states of which the newest stays, and
// orders of which the newest stays with its lines. Each table refuses the text xx.
var kindsOfEvents = map[string]string{
	"1-clicks.yaml": `
model: clicks
when: {path: $.type, one_of: [click]}
table: clicks
key: [message_id]
fields: {text: {type: text}}
columns: {text: {type: text, from: text}, message_id: {type: uuid, meta: message_id}}
`,
	"2-accounts.yaml": `
model: accounts
when: {path: $.type, one_of: [account]}
table: accounts
key: [id]
on_conflict: replace
newer_by: version
fields: {id: {type: integer, required: true}, version: {type: integer, required: true}, text: {type: text}}
columns:
  id: {type: bigint, from: id}
  version: {type: bigint, from: version}
  text: {type: text, from: text}
  message_id: {type: uuid, meta: message_id}
`,
	"3-orders.yaml": `
model: orders
when: {path: $.type, one_of: [order]}
table: orders
key: [id]
on_conflict: replace
newer_by: version
fields: {id: {type: integer, required: true}, version: {type: integer, required: true}}
columns:
  id: {type: bigint, from: id}
  version: {type: bigint, from: version}
  message_id: {type: uuid, meta: message_id}
also:
  lines:
    rows: "$.lines[*]"
    fields: {text: {type: text, path: $}}
    columns:
      id: {type: bigint, from: id}
      line: {type: smallint, meta: row_number}
      text: {type: text, from: text}
`,
}

// eventModels writes the models into a folder, and loads them.
func eventModels(t *testing.T) (folder string, set *model.Set, ddl []string) {
	t.Helper()
	folder = t.TempDir()
	for name, text := range kindsOfEvents {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	set, err := model.LoadSet(folder, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range set.Models {
		ddl = append(ddl, m.DDL()...)
	}
	for _, table := range []string{"clicks", "accounts", "lines"} {
		ddl = append(ddl, fmt.Sprintf("ALTER TABLE %s ADD CONSTRAINT no_xx_%[1]s CHECK (text <> 'xx')", table))
	}
	return folder, set, ddl
}

// randomEvents makes messages of all kinds about a few accounts and orders. The database refuses those
// for which the function returns true.
func randomEvents(r *rand.Rand, n, ids int, refuse func(i int) bool) []record {
	all := make([]record, n)
	for i := range all {
		text, kind := fmt.Sprint("t-", i), i%3
		if refuse(i) {
			text = "xx"
		}
		id, version := r.IntN(ids), r.IntN(1_000_000_000)
		lines := []string{}
		for k := range r.IntN(6) {
			lines = append(lines, fmt.Sprint("l-", i, "-", k))
		}
		var body any
		switch kind {
		case 0:
			body = record{"type": "click", "text": text}
		case 1:
			body = record{"type": "account", "id": id, "version": version, "text": text}
		default:
			if refuse(i) {
				lines = append(lines, text)
			}
			body = record{"type": "order", "id": id, "version": version, "lines": lines}
		}
		all[i] = record{
			"messageId": uuid.NewString(), "body": jsonOf(body), "refused": refuse(i), "kind": kind, "id": id, "version": version, "text": text, "lines": lines,
			"attributes":  record{"SentTimestamp": fmt.Sprint(1767225600000 + i), "ApproximateReceiveCount": "1"},
			"eventSource": "aws:sqs", "eventSourceARN": "arn:aws:sqs:eu-central-1:123456789012:events",
		}
	}
	return all
}

func jsonOf(body any) string {
	text, err := json.Marshal(body)
	if err != nil {
		panic(err)
	}
	return string(text)
}

// holdEvents checks that the tables have what is left of the messages: each click, and the newest of each
// account and order, with exactly its lines.
func holdEvents(t *testing.T, db *pgtest.DB, messages []record) {
	t.Helper()
	var want []string
	newest := map[string]record{}
	for _, m := range messages {
		if refused(m) {
			continue
		}
		key := fmt.Sprint(m["kind"], " ", m["id"])
		if m["kind"] == 0 {
			want = append(want, fmt.Sprintf("click %v %v", m.id(), m["text"]))
		} else if was := newest[key]; was == nil || cmp.Or(cmp.Compare(m["version"].(int), was["version"].(int)), cmp.Compare(m.id(), was.id())) > 0 {
			newest[key] = m
		}
	}
	for _, m := range newest {
		if m["kind"] == 1 {
			want = append(want, fmt.Sprintf("account %v %v %v %v", m["id"], m["version"], m.id(), m["text"]))
			continue
		}
		want = append(want, fmt.Sprintf("order %v %v %v", m["id"], m["version"], m.id()))
		for k, line := range m["lines"].([]string) {
			want = append(want, fmt.Sprintf("line %v %d %s", m["id"], k+1, line))
		}
	}
	slices.Sort(want)
	var got []string
	for _, row := range db.Rows(t, `SELECT concat_ws(' ', 'click', message_id, text) FROM clicks UNION ALL SELECT concat_ws(' ', 'account', id, version, message_id, text) FROM accounts
		UNION ALL SELECT concat_ws(' ', 'order', id, version, message_id) FROM orders UNION ALL SELECT concat_ws(' ', 'line', id, line, text) FROM lines`) {
		got = append(got, row[0])
	}
	slices.Sort(got)
	if diff := gocmp.Diff(got, want); diff != "" {
		t.Fatalf("the tables (-got +want):\n%s", diff)
	}
}

// never refuses no message.
func never(int) bool { return false }

// TestKilledWithSeveralTables kills the real process of the function (kill -9) anywhere in a batch for
// four tables, while it sends its rows and after they are committed, and delivers the batch again: each
// time the tables have nothing of the batch, or all of it, and in the end all.
func TestKilledWithSeveralTables(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it builds the function: not with -short")
	}
	folder, _, ddl := eventModels(t)
	db := pgtest.New(t, ddl...)
	proxy := pgtest.NewProxy(t, db.URL)
	start, output := built(t, "DATABASE_URL="+proxy.URL, "SLUICE_MODEL="+folder)
	random := chances(t)()
	var sent []record
	deliver := func(f *runtimeapi.Function, messages []record) {
		t.Helper()
		if a, err := f.Invoke(eventOf(messages)); err != nil || a.Failed || string(a.Body) != `{"batchItemFailures":[]}` {
			t.Fatalf("%s, %v; log:\n%s", a.Body, err, output.String())
		}
	}
	kills := max(10, kills(t)/5)
	committed, nothing := 0, 0
	for i := range kills {
		f := start()
		if i%4 < 2 { // it has a connection when the batch comes, or opens one
			warm := randomEvents(random, 6, 12, never)
			sent = append(sent, warm...)
			deliver(f, warm)
		}
		messages := randomEvents(random, 30+i%3*100, 12, never)
		before := db.Count(t, "SELECT count(*) FROM clicks")
		proxy.Reset()
		at := pgtest.AfterClientBytes(random.IntN(4_000))
		if i%2 == 0 {
			at = pgtest.BeforeAnswer(1 + random.IntN(3))
		}
		proxy.Plan(pgtest.Fault{At: at, How: pgtest.Lose})
		if err := f.Send(eventOf(messages)); err != nil {
			t.Fatal(err)
		}
		for answered := false; !answered && proxy.Planned(); {
			select {
			case <-f.Exited():
				t.Fatalf("the function ended by itself: %s", output.String())
			case <-f.Answers():
				answered = true // before the fault: it is killed after its answer
			case <-time.After(time.Millisecond):
			}
		}
		f.Kill()
		proxy.Restore()
		clicks := 0
		for _, m := range messages {
			if m["kind"] == 0 {
				clicks++
			}
		}
		switch n := int(db.Count(t, "SELECT count(*) FROM clicks") - before); n {
		case 0:
			nothing++
		case clicks:
			committed++
		default:
			t.Fatalf("after kill %d the tables have %d of %d clicks of a batch", i+1, n, clicks)
		}
		again := start()
		sent = append(sent, messages...)
		random.Shuffle(len(messages), func(i, j int) { messages[i], messages[j] = messages[j], messages[i] })
		deliver(again, messages)
		again.Kill()
		holdEvents(t, db, sent)
	}
	t.Logf("killed %d times: %d times nothing of the batch was committed, %d times all of it; %d messages", kills, nothing, committed, len(sent))
	if nothing == 0 || committed == 0 {
		t.Error("the kills came all before the commit, or all after it: the drill shows less than it should")
	}
}

// TestTheSameStatesManyTimes delivers messages for four tables to four environments at once: nearly all
// are the same, about a few accounts and orders, and the database refuses one in a hundred. No two
// environments deadlock, no good message is returned, and the newest rows stay.
func TestTheSameStatesManyTimes(t *testing.T) {
	t.Parallel()
	_, set, ddl := eventModels(t)
	random := chances(t)()
	d := newDeadlocks(t, ddl...)
	f := newFleet(t, d.db, set)
	sent := f.contend(4, 400, 3, kind{}, random, func(n int) []record {
		return randomEvents(random, n, 60, func(i int) bool { return i%100 == 20 })
	}, func(sent []record) { holdEvents(t, d.db, sent) })
	for _, m := range sent {
		// A refused state may be outdated instead: that depends on the order in which the messages come.
		if rejected := f.rejected[m.id()]; rejected && !refused(m) || !rejected && refused(m) && m["kind"] == 0 {
			t.Errorf("message %s: rejected is %v", m.id(), rejected)
		}
	}
	d.none()
}
