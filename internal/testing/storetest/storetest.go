// Package storetest is one suite of tests that every store must pass.
//
//	func TestStore(t *testing.T) {
//		storetest.Run(t, func(t *testing.T) storetest.Harness { … })
//	}
//
// It tests a store through Insert, and reads its database by SQL that is the same everywhere. What
// only one store can do is tested beside that store. Only tests import it.
package storetest

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/ingest"
	"example.com/owner/sluice/internal/mask"
	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/model"
	"example.com/owner/sluice/models"
)

// Store is what the suite tests.
type Store = ingest.Store

// Harness is an empty database for one test. Its functions fail the test on an error, and may be
// called from several goroutines.
type Harness struct {
	// Open makes one more store of some tables on the database, and closes it when the test ends. It
	// creates nothing.
	Open func(t testing.TB, tables ...*batch.Table) Store
	// DDL returns the SQL of a table, its ledger and its children.
	DDL func(*batch.Table) []string
	// Exec executes SQL, and Rows returns a query's rows as text.
	Exec func(t testing.TB, sql string)
	Rows func(t testing.TB, query string) [][]string
	// Elements is a query of the elements of the list v in the table t.
	Elements string
	// KeysAsText is set if keys whose texts differ are different, whatever the column's type says.
	KeysAsText bool
	// Discard and Raise return the SQL of a trigger before the INSERT or the UPDATE of rows of a table
	// for which the condition holds: one discards them, the other raises an error that quotes the
	// row's user_id. Several of a database have the same condition.
	Discard, Raise func(event, table, condition string) string
}

// Run runs the suite, each case on its own database.
func Run(t *testing.T, harness func(t *testing.T) Harness) {
	for _, c := range slices.Concat(cases, replaceCases, conflictCases, messageCases) {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.test(t, harness(t))
		})
	}
}

// canary is in every text value of a row. No verdict and no error may show it.
const canary = "canary"

// login is one row of user_logins. Logins are sent in the order of their numbers.
type login struct {
	n      int
	group  int
	locale string // "xx" is what a test makes a database refuse
	device string
	parent int // number of the login whose user_id is the device
}

const bodyForm = `{"user_id": "canary-%d", "app_version": "2.3.0", "device_type": %s, "ip": "203.0.113.7", "locale": %s, "device_id": "canary"}`

func (l login) message() *message.Message {
	quoted := func(s string) string {
		if s == "" {
			return "null"
		}
		return `"` + s + ` canary"`
	}
	device := quoted(l.device)
	if l.parent != 0 {
		device = fmt.Sprintf(`"canary-%d"`, l.parent)
	}
	return &message.Message{
		ID: fmt.Sprintf("00000000-0000-4000-8000-%012d", l.n), HasSent: true, SentMillis: 1767225600000 + int64(l.n), HasBody: true,
		Body: fmt.Appendf(nil, bodyForm, l.n, device, quoted(l.locale)),
	}
}

func (l login) messageGroup() int { return l.group }

// span returns logins with the numbers from first to last.
func span(first, last int) []login {
	var all []login
	for n := first; n <= last; n++ {
		all = append(all, login{n: n, locale: "de"})
	}
	return all
}

// named returns a model that comes with sluice.
func named(t testing.TB, name string) *model.Model {
	t.Helper()
	m, err := model.Load(name, models.FS)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// ByUser returns user_logins with the key in the body.
func ByUser(t testing.TB) *model.Model {
	t.Helper()
	text, err := fs.ReadFile(models.FS, "user_logins.yaml")
	if err != nil {
		t.Fatal(err)
	}
	m, err := model.Parse("by_user.yaml", bytes.Replace(text, []byte("key: [sent_at, message_id]"), []byte("key: [user_id]"), 1))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// create makes a model's tables, executes more SQL, and opens a store.
func create(t testing.TB, h Harness, m *model.Model, more ...string) Store {
	t.Helper()
	for _, sql := range append(h.DDL(m.Table), more...) {
		h.Exec(t, sql)
	}
	return h.Open(t, m.Table)
}

// outcome is what Insert returned, in the order of the messages.
type outcome struct {
	words    []string // for the verdicts
	verdicts []message.Verdict
	inserted int
	replaced int
	err      error
}

// insert gives logins to a store.
func insert(ctx context.Context, t testing.TB, s Store, m *model.Model, logins ...login) outcome {
	t.Helper()
	return insertAny(ctx, t, s, m, logins)
}

// sent is what a test sends.
type sent interface {
	message() *message.Message
	messageGroup() int
}

// insertAny gives messages to a store.
func insertAny[S sent](ctx context.Context, t testing.TB, s Store, m *model.Model, messages []S) outcome {
	t.Helper()
	b := batch.New(m.Table)
	reader := m.Reader(mask.Unkeyed())
	for i, each := range messages {
		if bad := reader.Append(b, i, each.messageGroup(), each.message()); !bad.IsZero() {
			t.Fatalf("message %d: %v", i, bad)
		}
	}
	b.Sort()
	return insertBatch(ctx, t, s, b)
}

// insertBatch gives a batch to a store.
func insertBatch(ctx context.Context, t testing.TB, s Store, b *batch.Batch) outcome {
	t.Helper()
	n := b.Len()
	result, err := s.Insert(ctx, b)
	if len(result.Verdicts) != n {
		t.Fatalf("%d verdicts for %d messages, error %v", len(result.Verdicts), n, err)
	}
	tally := result.Tallies.Sum()
	o := outcome{words: make([]string, n), verdicts: make([]message.Verdict, n), inserted: tally.Inserted, replaced: tally.Replaced, err: err}
	for i, v := range result.Verdicts {
		word := v.Outcome.String()
		switch {
		case v.Outcome == message.Returned:
			word += " " + string(v.Cause)
		case v.Outdated:
			word = outdated
		case v.Rejection.Reason == message.ReasonConflict:
			word += " conflict"
		case v.Rejection.Detail != "":
			word += " " + v.Rejection.Detail
		}
		o.words[b.Message(i)], o.verdicts[b.Message(i)] = word, v
	}
	if said := fmt.Sprintf("%+v %v", o.verdicts, err); strings.Contains(said, canary) {
		t.Errorf("what the store says quotes a value: %s", said)
	}
	return o
}

// store is insert that must not fail.
func store(t testing.TB, s Store, m *model.Model, logins ...login) outcome {
	t.Helper()
	o := insert(t.Context(), t, s, m, logins...)
	if o.err != nil {
		t.Fatalf("insert: %v", o.err)
	}
	return o
}

// want compares the outcome: how many rows are new, and a word for each.
func (o outcome) want(t testing.TB, inserted int, words ...string) {
	t.Helper()
	if !slices.Equal(o.words, words) || o.inserted != inserted {
		t.Errorf("got %q, %d of them new; want %q, %d", o.words, o.inserted, words, inserted)
	}
}

// wantRows compares the numbers of the logins in the table.
func wantRows(t testing.TB, h Harness, numbers ...int) {
	t.Helper()
	var all []string
	for _, row := range h.Rows(t, "SELECT substr(user_id, 8) FROM user_logins ORDER BY length(user_id), user_id") {
		all = append(all, row[0])
	}
	if got, want := fmt.Sprint(all), fmt.Sprint(numbers); got != want {
		t.Errorf("in the table: %s, want %s", got, want)
	}
}

// count returns the number of rows of a table.
func count(t testing.TB, h Harness, table string) string {
	t.Helper()
	return h.Rows(t, "SELECT count(*) FROM "+table)[0][0]
}
