package postgres_test

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/fault"
	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/postgres"
	"example.com/owner/sluice/internal/testing/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// unlessThorough returns how much of something is enough for every day, or all of it if
// TEST_THOROUGH is set, as `make versions-test` does.
func unlessThorough(few, all int) int {
	if os.Getenv("TEST_THOROUGH") != "" {
		return all
	}
	return few
}

// events is the table of most tests: a key, and two columns whose values the server can dislike.
// The table has one more column, which tells the rows of one transaction.
var events = &batch.Table{
	Name: "events",
	Columns: []batch.Column{
		idColumn, wordColumn,
		{Name: "n", Kind: batch.Int4, Type: "integer"},
	},
	Key: []int{0}, KeyOfMessage: true,
}

// Columns of many tables. A table that tells whose a row is has a sender, or a messageID that is NULL in
// the rows of others.
var (
	idColumn      = batch.Column{Name: "id", Kind: batch.Int8, Type: "bigint", NotNull: true}
	nColumn       = batch.Column{Name: "n", Kind: batch.Int4, Type: "integer", NotNull: true}
	wordColumn    = batch.Column{Name: "word", Kind: batch.Text, Type: "text"}
	versionColumn = batch.Column{Name: "version", Kind: batch.Int8, Type: "bigint", NotNull: true, NewerBy: true}
	senderColumn  = batch.Column{Name: "message", Kind: batch.UUID, Type: "uuid", NotNull: true, MessageID: true}
	messageID     = batch.Column{Name: "message_id", Kind: batch.UUID, Type: "uuid", MessageID: true}
)

const createEvents = "CREATE TABLE events (id bigint PRIMARY KEY, word text, n integer, tx xid8 DEFAULT pg_current_xact_id());"

// canary begins every word of these tests. No error and no verdict may hold it.
const canary = "canary-"

// row is a row of events. A nil is a NULL.
type row struct {
	id    int64
	word  any // a string
	n     any // an int
	group int // of its message, on a FIFO queue
	table int // index of its table
}

// good is a row that nobody dislikes.
func good(id int64) row { return row{id: id, word: fmt.Sprint(canary, "good-", id), n: 1} }

// goods are n rows from the given id on.
func goods(first int64, n int) []row {
	rows := make([]row, n)
	for i := range rows {
		rows[i] = good(first + int64(i))
	}
	return rows
}

// batchOf makes a batch of rows, sorted as package ingest does.
func batchOf(rows []row) *batch.Batch { return batchIn([]*batch.Table{events}, rows) }

// batchIn is batchOf for several tables.
func batchIn(tables []*batch.Table, rows []row) *batch.Batch {
	if len(tables) == 0 {
		tables = []*batch.Table{events}
	}
	b := batch.New(tables...)
	for i, r := range rows {
		b.BeginIn(r.table, i, r.group)
		b.Int8(r.id)
		r.end(b)
	}
	b.Sort()
	return b
}

// end adds what follows the row's keys, and ends it.
func (r row) end(b *batch.Batch) {
	if word, ok := r.word.(string); ok {
		b.String(word)
	} else {
		b.Null()
	}
	if n, ok := r.n.(int); ok {
		b.Int4(int32(n))
	} else {
		b.Null()
	}
	b.End()
}

// setup says what a site is.
type setup struct {
	// sql makes the table; createEvents if empty.
	sql string
	// table is events if nil. more are further ones, like events.
	table *batch.Table
	more  []*batch.Table
	// mode is default_query_exec_mode in the URL.
	mode string
	// grants makes a role that the store connects as; else it is the owner.
	grants func(role string) []string
}

// modes are the values of default_query_exec_mode that sluice is for: the default, and what people
// set for a pooler.
var modes = []string{"", "exec"}

// inModes runs a test in each of the modes.
func inModes(t *testing.T, test func(t *testing.T, mode string)) {
	t.Helper()
	for _, mode := range modes {
		t.Run("mode="+cmp.Or(mode, "default"), func(t *testing.T) {
			t.Parallel()
			test(t, mode)
		})
	}
}

// site is a store, its database, and a proxy between them that counts.
type site struct {
	testing.TB
	db    *pgtest.DB
	user  *pgtest.DB // who the store connects as
	proxy *pgtest.Proxy
	store *postgres.Store
	// into are the tables of the store, if they are not events alone.
	into []*batch.Table

	watching sync.WaitGroup // of whenItWaits
}

func newSite(t testing.TB, is setup) *site {
	t.Helper()
	db := pgtest.New(t, cmp.Or(is.sql, createEvents))
	s := &site{TB: t, db: db, user: db}
	if is.grants != nil {
		s.user = db.Role(t, is.grants)
	}
	s.proxy = pgtest.NewProxy(t, s.user.URL)
	s.into = append([]*batch.Table{cmp.Or(is.table, events)}, is.more...)
	s.store = openStoreOf(t, withMode(s.proxy.URL, is.mode), s.into)
	return s
}

// siteOf is a site in a database that is there already.
func siteOf(t testing.TB, db *pgtest.DB, table *batch.Table) *site {
	t.Helper()
	s := &site{TB: t, db: db, user: db, proxy: pgtest.NewProxy(t, db.URL), into: []*batch.Table{table}}
	s.store = openStore(t, s.proxy.URL, table)
	return s
}

// writes are the grants that a role needs to store rows of events.
func writes(role string) []string { return []string{"GRANT INSERT, SELECT ON events TO " + role} }

// The stores of tests do not wait between attempts: impatient ones do not try again, and hasty ones
// do at once.
var (
	impatient = postgres.WithSleep(func(context.Context, time.Duration) bool { return false })
	hasty     = postgres.WithSleep(func(context.Context, time.Duration) bool { return true })
)

// withMode adds default_query_exec_mode to a URL that has parameters.
func withMode(url, mode string) string {
	if mode == "" {
		return url
	}
	return url + "&default_query_exec_mode=" + mode
}

// withOption adds an option of the server to a URL.
func withOption(t testing.TB, text, option string) string {
	t.Helper()
	u := parsed(t, text)
	q := u.Query()
	q.Set("options", q.Get("options")+" "+option)
	u.RawQuery = strings.ReplaceAll(q.Encode(), "+", "%20") // to pgx a plus is a plus
	return u.String()
}

func parsed(t testing.TB, text string) *url.URL {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// mainNames are what the mains call the setting and the commands that errors name.
var mainNames = postgres.WithNames(fault.Names{URL: "DATABASE_URL", Migrate: "sluice migrate", Schema: "sluice schema", Check: "sluice check"})

func openStore(t testing.TB, url string, table *batch.Table, options ...postgres.Option) *postgres.Store {
	t.Helper()
	return openStoreOf(t, url, []*batch.Table{table}, options...)
}

// openStoreOf is openStore for several tables.
func openStoreOf(t testing.TB, url string, tables []*batch.Table, options ...postgres.Option) *postgres.Store {
	t.Helper()
	store, err := postgres.Open(url, tables, append(options, mainNames)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	return store
}

// warm connects and prepares, and leaves nothing behind.
func (s *site) warm() {
	s.Helper()
	s.insert(good(1)).must()
	s.db.Exec(s, "DELETE FROM events WHERE id = 1")
}

// insert stores rows and holds what is true of every insert: it says what it did with each row, and
// none of it quotes a value.
func (s *site) insert(rows ...row) *outcome {
	s.Helper()
	return s.insertBy(s.Context(), rows...)
}

// redeliver is insert for rows that an earlier delivery may have stored.
func (s *site) redeliver(rows ...row) *outcome {
	s.Helper()
	b := batchIn(s.into, rows)
	b.SetRedelivered(true)
	return s.insertBatch(s.Context(), b, idsIn(b, rows))
}

func (s *site) insertBy(ctx context.Context, rows ...row) *outcome {
	s.Helper()
	b := batchIn(s.into, rows)
	return s.insertBatch(ctx, b, idsIn(b, rows))
}

// idsIn are the ids of rows in the order of their batch.
func idsIn(b *batch.Batch, rows []row) []int64 {
	return byRow(b, rows, func(r row) int64 { return r.id })
}

// byRow are numbers of messages in the order of their rows in a batch.
func byRow[T any](b *batch.Batch, messages []T, number func(T) int64) []int64 {
	numbers := make([]int64, b.Len())
	for i := range numbers {
		numbers[i] = number(messages[b.Message(i)])
	}
	return numbers
}

// begin begins the n-th row of a message, counted from 0, in the only table of a batch.
func begin(b *batch.Batch, n, message, group int) {
	if n > 0 {
		b.More(-1)
	} else {
		b.Begin(message, group)
	}
}

// rehearse is insert for a rehearsal, which must leave the table as it is.
func (s *site) rehearse(rows ...row) *outcome {
	s.Helper()
	b := batchIn(s.into, rows)
	return s.rehearseBatch(b, idsIn(b, rows))
}

func (s *site) rehearseBatch(b *batch.Batch, ids []int64) *outcome {
	s.Helper()
	before := s.words()
	result, err := s.store.Rehearse(s.Context(), b)
	if diff := gocmp.Diff(s.words(), before); diff != "" {
		s.Errorf("after a rehearsal (-got +want):\n%s", diff)
	}
	if text := fmt.Sprintf("%v %+v", err, result); strings.Contains(text, canary) {
		s.Errorf("a value got into the result: %s", text)
	}
	return &outcome{TB: s.TB, Result: result, err: err, ids: ids}
}

// insertInto inserts rows by a store whose round trips nobody counts.
func insertInto(t *testing.T, store *postgres.Store, rows ...row) *outcome {
	t.Helper()
	result, err := store.Insert(t.Context(), batchOf(rows))
	return &outcome{TB: t, Result: result, err: err, ids: idsOf(rows)}
}

// insertBatch is insert for a batch that is made already. The ids are what its rows are mainNames.
func (s *site) insertBatch(ctx context.Context, b *batch.Batch, ids []int64) *outcome {
	s.Helper()
	s.proxy.Reset()
	result, err := s.store.Insert(ctx, b)
	s.watching.Wait()
	o := &outcome{TB: s.TB, Result: result, err: err, trips: s.proxy.RoundTrips(), ids: ids}
	if len(result.Verdicts) != b.Len() {
		s.Fatalf("got %d verdicts on %d rows", len(result.Verdicts), b.Len())
	}
	if text := fmt.Sprintf("%v %+v", err, result); strings.Contains(text, canary) {
		s.Errorf("a value got into the result: %s", text)
	}
	return o
}

// words are the rows of the table, "id word", sorted by id.
func (s *site) words() []string {
	s.Helper()
	var all, from []string
	for _, table := range s.into {
		from = append(from, "SELECT id, word FROM "+table.Name)
	}
	for _, r := range s.db.Rows(s, strings.Join(from, " UNION ALL ")+" ORDER BY id") {
		all = append(all, r[0]+" "+r[1])
	}
	return all
}

// stored are the ids in the table, as ranges.
func (s *site) stored() string {
	s.Helper()
	return ranges(numbersIn(s, s.db, "SELECT id FROM events ORDER BY id"))
}

// numbersIn returns the numbers that a query has in its first column.
func numbersIn(t testing.TB, db *pgtest.DB, query string) (all []int64) {
	t.Helper()
	for _, r := range db.Rows(t, query) {
		n, err := strconv.ParseInt(r[0], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, n)
	}
	return all
}

// outcome is what an Insert came to.
type outcome struct {
	testing.TB
	postgres.Result
	err   error
	trips int     // round trips that the proxy counted
	ids   []int64 // of the rows, in the order of the batch
}

// must fails the test unless every row is stored.
func (o *outcome) must() *outcome {
	o.Helper()
	return o.want(verdicts{stored: ranges(sorted(o.ids))})
}

// want compares the verdicts, and wants no error.
func (o *outcome) want(want verdicts) *outcome {
	o.Helper()
	if o.err != nil {
		o.Errorf("got error %v, want none", o.err)
	}
	return o.verdicts(want)
}

// verdicts compares the verdicts alone.
func (o *outcome) verdicts(want verdicts) *outcome {
	o.Helper()
	got := map[string][]int64{}
	for i, v := range o.Verdicts {
		got[spell(v)] = append(got[spell(v)], o.ids[i])
	}
	wanted := map[string][]int64{}
	for verdict, text := range want {
		wanted[verdict] = parse(text)
	}
	if diff := gocmp.Diff(compress(got), compress(wanted)); diff != "" {
		o.Errorf("verdicts (-got +want):\n%s", diff)
	}
	return o
}

// costs checks the number of round trips, as the result and the proxy count them. The proxy can
// count too many where a search of a large batch needs several writes: on a busy machine the
// server may answer one before the next.
func (o *outcome) costs(trips int) *outcome {
	o.Helper()
	oneWrite := trips == 1 || len(o.ids) <= 64
	if o.RoundTrips != trips || o.trips < trips || o.trips > trips && oneWrite {
		o.Errorf("got %d round trips in the result and %d on the wire, want %d", o.RoundTrips, o.trips, trips)
	}
	return o
}

// inserts compares the number of new rows.
func (o *outcome) inserts(n int) *outcome {
	o.Helper()
	if o.Tallies.Sum().Inserted != n {
		o.Errorf("got %d rows inserted, want %d", o.Tallies.Sum().Inserted, n)
	}
	return o
}

// verdicts are row ids, as ranges, by what became of the rows.
type verdicts map[string]string

// The verdicts that need no more words.
const (
	stored        = "stored"
	discarded     = "returned: swallowed"
	configuration = "returned: operator"
	transient     = "returned: moment"
	afterStopped  = "returned: group" // a row of its group that was not stored
	unconfirmed   = "returned: "
)

// rejected is the verdict on a row that the server refuses: the SQLSTATE, and then "constraint" or
// "column" and its name.
func rejected(by string) string {
	code, where, named := strings.Cut(by, " ")
	if named {
		where = " " + where
	}
	return "rejected: " + string(message.ReasonRefused) + " " + message.SQLState(code) + where
}

// rejectedRow is rejected for a message of several rows, of which it names one.
func rejectedRow(row, by string) string {
	return strings.Replace(rejected(by), string(message.ReasonRefused), string(message.ReasonRefused)+" "+row, 1)
}

func spell(v message.Verdict) string {
	switch {
	case v.Outdated:
		return outdatedRow
	case v.Outcome == message.Stored && !v.Rejection.IsZero():
		return "stored: " + v.Rejection.String()
	}
	switch v.Outcome {
	case message.Rejected:
		return "rejected: " + v.Rejection.String()
	case message.Returned:
		return "returned: " + string(v.Cause)
	default:
		return v.Outcome.String()
	}
}

func compress(all map[string][]int64) verdicts {
	short := verdicts{}
	for what, ids := range all {
		short[what] = ranges(sorted(ids))
	}
	return short
}

// ranges spells numbers out: "1-3 7".
func ranges(ids []int64) string {
	var parts []string
	for i := 0; i < len(ids); i++ {
		first := i
		for i+1 < len(ids) && ids[i+1] == ids[i]+1 {
			i++
		}
		if first == i {
			parts = append(parts, fmt.Sprint(ids[i]))
		} else {
			parts = append(parts, fmt.Sprintf("%d-%d", ids[first], ids[i]))
		}
	}
	return strings.Join(parts, " ")
}

// parse is the reverse of ranges. Ranges may follow each other: "1-2 3-9".
func parse(text string) (ids []int64) {
	for part := range strings.FieldsSeq(text) {
		var first, last int64
		if n, _ := fmt.Sscanf(part, "%d-%d", &first, &last); n == 1 {
			last = first
		}
		for id := first; id <= last; id++ {
			ids = append(ids, id)
		}
	}
	return ids
}

// ownGroups gives each row a message group of its own.
func ownGroups(rows []row) {
	for i := range rows {
		rows[i].group = i + 1
	}
}

// causeOf returns the cause of an error, and nothing of an error that has none.
func causeOf(err error) message.Cause {
	if f := fault.Of(err); f != nil {
		return f.Cause
	}
	return message.CauseNone
}

// split sorts the ids of rows into those of a set and the others.
func split(rows []row, bad map[int64]bool) (good, others string) {
	var in, out []int64
	for _, r := range rows {
		if bad[r.id] {
			in = append(in, r.id)
		} else {
			out = append(out, r.id)
		}
	}
	return ranges(out), ranges(in)
}

func sorted[T cmp.Ordered](values []T) []T { return slices.Sorted(slices.Values(values)) }

// keysOf are the keys of a map, sorted.
func keysOf[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }

// eventually waits until a condition holds. It gives up after so long a time that no machine is
// that slow. It may be mainNames from any goroutine.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Errorf("a minute has passed, and still not: %s", what)
			return
		}
	}
}

// whenItWaits does something once a session of the store waits for a lock. The insert that waits
// returns no sooner than that is done.
func (s *site) whenItWaits(do func()) {
	s.Helper()
	s.watching.Go(func() {
		defer do() // also when looking fails the test, which ends this goroutine
		eventually(s, "the store waits for a lock", s.waits)
	})
}

// waits reports whether a session of the store waits for a lock.
func (s *site) waits() bool {
	s.Helper()
	return s.sessions("wait_event_type = 'Lock'") > 0
}

// ofStore are the sessions of the store.
const ofStore = " FROM pg_stat_activity WHERE application_name LIKE $1 || '%' AND "

// sessions counts the sessions of the store for which a condition holds.
func (s *site) sessions(condition string) int64 {
	s.Helper()
	return s.db.Count(s, "SELECT count(*)"+ofStore+condition, s.db.Schema)
}

// signal calls a function of the server for such sessions, such as pg_cancel_backend.
func (s *site) signal(function, condition string) {
	s.Helper()
	s.db.Exec(s, "SELECT "+function+"(pid)"+ofStore+condition, s.db.Schema)
}

// hold stores rows in a transaction that stays open until release.
func (s *site) hold(ids ...int64) (release func()) {
	s.Helper()
	return s.inTransaction("INSERT INTO events (id) SELECT unnest($1::bigint[])", ids)
}

// inTransaction executes a statement in a transaction of another connection that stays open until
// release.
func (s *site) inTransaction(sql string, args ...any) (release func()) {
	s.Helper()
	other := s.db.Conn(s)
	if _, err := other.Exec(s.Context(), "BEGIN"); err != nil {
		s.Fatal(err)
	}
	if _, err := other.Exec(s.Context(), sql, args...); err != nil {
		s.Fatal(err)
	}
	return func() {
		s.Helper()
		if _, err := other.Exec(s.Context(), "ROLLBACK"); err != nil {
			s.Error(err)
		}
	}
}
