package handler_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/fault"
	"example.com/owner/sluice/internal/ingest"
	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/model"
	"example.com/owner/sluice/internal/postgres"
	"example.com/owner/sluice/internal/sqlite"
	"example.com/owner/sluice/internal/testing/pgtest"
	"example.com/owner/sluice/models"
)

// The models of a queue with three kinds of events, and a fourth that nobody reads. The orders refer
// to accounts, and wait for them.
var queueModels = []string{
	`
model: accounts
table: accounts
key: [account_id]
when: {path: $.type, one_of: ["account"]}
fields:
  account_id: {type: text, path: $.id, required: true}
  ip: {type: ip, personal: true}
columns:
  account_id: {type: text, from: account_id}
  masked_ip: {type: varchar(64), from: ip, masked: true}
`, `
model: orders
table: orders
key: [order_id]
foreign_key: return
foreign_key_receives: 3
when: {path: $.type, one_of: ["order"]}
fields:
  order_id: {type: text, path: $.id, required: true}
  account: {type: text}
  amount: {type: integer, required: true}
columns:
  order_id: {type: text, from: order_id}
  account_id: {type: text, from: account}
  amount: {type: integer, from: amount}
`, `
model: clicks
table: clicks
ledger: sluice_ledger
when: {path: $.kind, one_of: ["click"]}
fields:
  page: {type: text, required: true}
columns:
  page: {type: text, from: page}
`, `
model: tests
when: {path: $.Event, one_of: ["s3:TestEvent"]}
ignore: true
`,
}

// loadModels loads the models of a queue from a folder, as SLUICE_MODEL does.
func loadModels(t *testing.T, texts ...string) *model.Set {
	t.Helper()
	folder := t.TempDir()
	for i, text := range texts {
		if err := os.WriteFile(filepath.Join(folder, fmt.Sprint(i, ".yaml")), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	set, err := model.LoadSet(folder, models.FS)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// byModel is a dead-letter queue that notes which model rejected what.
type byModel []string

// Send implements ingest.DeadLetters.
func (b *byModel) Send(_ context.Context, rejected []message.RejectedMessage) ([]int, error) {
	for _, r := range rejected {
		*b = append(*b, fmt.Sprintf("%s %q %s", r.Message.ID, r.Model, r.Rejection.Reason))
	}
	return nil, nil
}

// TestSeveralModels takes events to the rows of several tables, on standard and FIFO queues, from
// Lambda and from EventBridge Pipes, and each event twice.
func TestSeveralModels(t *testing.T) {
	t.Parallel()
	set := loadModels(t, queueModels...)
	account := func(name string) string { return `{"type":"account","id":"` + name + `","ip":"203.0.113.7"}` }
	order := func(name, account, amount string) string {
		return `{"type":"order","id":"` + name + `","account":"` + account + `","amount":` + amount + `}`
	}
	const (
		click   = `{"kind":"click","page":"/"}`
		ignored = `{"Event":"s3:TestEvent","Service":"Amazon S3"}`
		unknown = `{"type":"canary"}`
	)
	type delivery struct {
		event          []string
		failed         []string
		sent           []string
		counts         string // of the models, the first of messages that none took
		again          string // of a second delivery of the same event
		accounts, rows string // names of accounts, orders, and how many clicks
	}
	standard := func(n, receives int, body string) string {
		return record(n, body, "attributes", attributes("ApproximateReceiveCount", fmt.Sprintf(`"%d"`, receives)))
	}
	for _, tt := range []struct {
		name  string
		steps []delivery
	}{
		{"standard", []delivery{
			{
				event: []string{
					standard(1, 1, order("o-1", "a-1", "5")), standard(2, 1, click), standard(3, 1, ignored), standard(4, 1, account("a-1")),
					standard(5, 1, unknown), standard(6, 1, order("o-2", "a-1", `"five"`)), standard(7, 1, order("o-3", "a-1", "666")), standard(2, 1, click),
				},
				sent:     []string{id(5) + ` "" no_model`, id(6) + ` "orders" wrong_type`, id(7) + ` "orders" refused_by_database`},
				counts:   "{rejected 1} {stored 1} {stored 1 rejected 2} {stored 1 duplicate 1} {ignored 1}",
				again:    "{rejected 1} {duplicate 1} {duplicate 1 rejected 2} {duplicate 2} {ignored 1}",
				accounts: "a-1", rows: "o-1 1",
			},
			{
				event: []string{standard(8, 1, order("o-4", "late", "5")), standard(9, 1, account("a-2")), standard(10, 1, "not JSON")}, failed: ids(8),
				sent:     []string{id(10) + ` "" not_json`},
				counts:   "{rejected 1} {stored 1} {returned 1} {} {}",
				again:    "{rejected 1} {duplicate 1} {returned 1} {} {}",
				accounts: "a-1 a-2", rows: "o-1 1",
			},
			{
				event: []string{standard(11, 3, order("o-5", "late", "5")), standard(12, 1, ignored)}, sent: []string{id(11) + ` "orders" refused_by_database`},
				counts:   "{} {} {rejected 1} {} {ignored 1}",
				again:    "{} {} {rejected 1} {} {ignored 1}",
				accounts: "a-1 a-2", rows: "o-1 1",
			},
			{
				event:    []string{standard(8, 4, order("o-4", "late", "5")), standard(13, 1, account("late"))}, // the parent is in the batch
				counts:   "{} {stored 1} {stored 1} {} {}",
				again:    "{} {duplicate 1} {duplicate 1} {} {}",
				accounts: "a-1 a-2 late", rows: "o-1 o-4 1",
			},
		}},
		{"FIFO", []delivery{
			{
				event: []string{
					inGroup(1, "g", account("a-1")), inGroup(2, "g", ignored), inGroup(3, "g", order("o-1", "a-1", "5")), inGroup(4, "h", unknown), inGroup(5, "h", click),
					inGroup(6, "i", order("o-2", "a-1", "666")), inGroup(7, "i", ignored), inGroup(8, "i", click),
				},
				failed:   ids(5, 7, 8),
				sent:     []string{id(4) + ` "" no_model`, id(6) + ` "orders" refused_by_database`},
				counts:   "{rejected 1 returned 1} {stored 1} {stored 1 rejected 1} {returned 1} {ignored 1 returned 1}",
				again:    "{rejected 1 returned 1} {duplicate 1} {duplicate 1 rejected 1} {returned 1} {ignored 1 returned 1}",
				accounts: "a-1", rows: "o-1 0",
			},
			{
				event:    []string{inGroup(5, "h", click), inGroup(7, "i", ignored), inGroup(8, "i", click)},
				counts:   "{} {} {} {stored 2} {ignored 1}",
				again:    "{} {} {} {duplicate 2} {ignored 1}",
				accounts: "a-1", rows: "o-1 2",
			},
		}},
	} {
		for name, form := range map[string]struct {
			of   func(...string) []byte
			open func(*testing.T, *model.Set) (ingest.Store, func(query string) [][]string)
		}{"Postgres, event": {event, inPostgres}, "Postgres, Pipes": {pipes, inPostgres}, "SQLite, event": {event, inSQLite}} {
			t.Run(tt.name+", "+name, func(t *testing.T) {
				t.Parallel()
				store, query := form.open(t, set)
				h, log := handlerOf(set, store)
				var counts string
				h.Observe = func(_ context.Context, r *ingest.Report) { counts = spelt(r) }
				for i, step := range tt.steps {
					for _, wantCounts := range []string{step.counts, step.again} {
						dead := &byModel{}
						h.DeadLetters, h.Backoff = dead, &backoff{}
						failed := invoke(t, h, form.of(step.event...))
						slices.Sort(failed)
						rows := query("SELECT coalesce((SELECT string_agg(account_id, ' ' ORDER BY account_id) FROM accounts), ''), concat_ws(' ', (SELECT string_agg(order_id, ' ' ORDER BY order_id) FROM orders), (SELECT count(*) FROM clicks))")[0]
						for what, diff := range map[string]string{
							"failed": cmp.Diff(failed, append([]string{}, step.failed...)), "sent": cmp.Diff(append([]string{}, *dead...), append([]string{}, step.sent...)), "counts": cmp.Diff(counts, wantCounts),
							"rows": cmp.Diff(rows, []string{step.accounts, step.rows}),
						} {
							if diff != "" {
								t.Errorf("step %d: %s got(-) want(+):\n%s", i, what, diff)
							}
						}
					}
				}
				if text := log.Take(); strings.Contains(text, "203.0.113.7") || strings.Contains(text, "canary") || strings.Contains(text, `"level":"ERROR"`) {
					t.Errorf("the log: %s", text)
				}
			})
		}
	}
}

// inPostgres opens a database with the tables, where orders refer to accounts and have no amount of 666.
func inPostgres(t *testing.T, set *model.Set) (ingest.Store, func(query string) [][]string) {
	t.Helper()
	return openPostgres(t, set, "ALTER TABLE orders ADD CHECK (amount <> 666)", "ALTER TABLE orders ADD FOREIGN KEY (account_id) REFERENCES accounts")
}

// openPostgres opens a database with the tables of models, and then does more.
func openPostgres(t *testing.T, set *model.Set, more ...string) (ingest.Store, func(query string) [][]string) {
	t.Helper()
	var ddl []string
	for _, m := range set.Models {
		ddl = append(ddl, m.DDL()...)
	}
	db := pgtest.New(t, append(ddl, more...)...)
	store, err := postgres.Open(db.URL, set.Tables())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	return store, func(query string) [][]string { return db.Rows(t, query) }
}

// inSQLite does the same in SQLite.
func inSQLite(t *testing.T, set *model.Set) (ingest.Store, func(query string) [][]string) {
	t.Helper()
	return openSQLite(t, set, "orders", `"amount"     INTEGER`, `"amount" INTEGER CHECK (amount <> 666)`, `"account_id" TEXT`, `"account_id" TEXT REFERENCES accounts`)
}

// openSQLite opens a database in memory with the tables of models, one of them with other text, or none.
func openSQLite(t *testing.T, set *model.Set, changed string, pairs ...string) (ingest.Store, func(query string) [][]string) {
	t.Helper()
	store, err := sqlite.Open("sqlite::memory:", set.Tables(), fault.Names{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	var ddl []string
	for _, table := range set.Tables() {
		ddl = append(ddl, sqlite.DDL(table)...)
	}
	for i := range ddl {
		if strings.Contains(ddl[i], "EXISTS "+batch.Quote(changed)) {
			ddl[i] = strings.NewReplacer(pairs...).Replace(ddl[i])
		}
	}
	if _, err := store.Migrate(t.Context(), ddl); err != nil {
		t.Fatal(err)
	}
	return store, func(query string) [][]string {
		rows, err := store.Rows(t.Context(), query)
		if err != nil {
			t.Fatal(err)
		}
		return rows
	}
}

// spelt spells the counts by model that are not 0.
func spelt(r *ingest.Report) string {
	var all []string
	for _, c := range r.ByModel() {
		all = append(all, speltCounts(c))
	}
	return strings.Join(all, " ")
}

func speltCounts(c message.Counts) string {
	var words []string
	add := func(word string, n int) {
		if n > 0 {
			words = append(words, fmt.Sprint(word, " ", n))
		}
	}
	add("stored", c.Stored)
	add("duplicate", c.Duplicate)
	for _, o := range c.Special() {
		add(o.Word, o.Messages)
	}
	add("rejected", c.Rejected)
	add("returned", c.Returned)
	return "{" + strings.Join(words, " ") + "}"
}

// TestIgnoredInAFailedInvocation are returned with the others: SQS delivers them again too.
func TestIgnoredInAFailedInvocation(t *testing.T) {
	t.Parallel()
	h, _ := handlerOf(loadModels(t, queueModels...), insertFunc(func(context.Context, *batch.Batch) (message.Result, error) {
		return message.Result{}, &fault.Error{Source: fault.Database, Cause: message.CauseConfiguration, What: "there is no table"}
	}))
	back := &backoff{}
	h.Backoff = back
	var counts string
	h.Observe = func(_ context.Context, r *ingest.Report) { counts = spelt(r) }
	if _, err := h.Invoke(t.Context(), event(record(1, `{"Event":"s3:TestEvent"}`), record(2, `{"type":"account","id":"a"}`))); err == nil {
		t.Error("the invocation did not fail")
	}
	if want := "{} {returned 1} {} {} {returned 1}"; counts != want {
		t.Errorf("counts: got %s, want %s", counts, want)
	}
	if diff := cmp.Diff(back.returned, ids(1, 2)); diff != "" {
		t.Errorf("backed off got(-) want(+):\n%s", diff)
	}
}
