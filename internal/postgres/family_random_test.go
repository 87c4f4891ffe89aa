package postgres_test

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/postgres"
	"example.com/owner/sluice/internal/testing/pgtest"
)

// mixed are the tables of the test below: one of each kind that a batch can be for.
type mixed struct {
	tables []*batch.Table
	sql    string
}

// newMixed makes the tables: with triggers that raise, discard, and end the session; partitioned where
// a table can be.
func newMixed(triggers, partitioned bool) *mixed {
	compared := wordColumn
	compared.Compared = true
	child := func(name string) *batch.Table {
		return &batch.Table{Name: name, Key: []int{0, 1}, Parent: []int{0}, Columns: []batch.Column{idColumn, nColumn, wordColumn}}
	}
	lines, items, notes, labels := child("lines"), child("items"), child("notes"), child("labels")
	m := &mixed{tables: []*batch.Table{
		{Name: "events", Key: []int{0}, Columns: []batch.Column{idColumn, senderColumn, compared}},
		{Name: "states", Key: []int{0}, OnConflict: batch.Replace, Columns: []batch.Column{idColumn, versionColumn, senderColumn, wordColumn}},
		{Name: "orders", Key: []int{0}, Columns: []batch.Column{idColumn, senderColumn, compared}, Children: []*batch.Table{lines}},
		{Name: "baskets", Key: []int{0}, OnConflict: batch.Replace, Columns: []batch.Column{idColumn, versionColumn, senderColumn, wordColumn}, Children: []*batch.Table{items, notes}},
		{Name: "readings", Key: []int{0, 1}, KeyOfMessage: true, Several: true, Columns: []batch.Column{idColumn, nColumn, wordColumn}},
		{Name: "gauges", Key: []int{0}, OnConflict: batch.Replace, Several: true, Columns: []batch.Column{idColumn, versionColumn, senderColumn, wordColumn}},
		{
			Name: "parcels", Key: []int{2}, KeyOfMessage: true, Ledger: "keys", Children: []*batch.Table{labels},
			Columns: []batch.Column{idColumn, wordColumn, {Name: "key", Kind: batch.Int8, Type: "bigint", NotNull: true, Ledger: true}},
		},
	}}
	var sql strings.Builder
	sql.WriteString("CREATE TABLE keys (key bigint PRIMARY KEY); CREATE SEQUENCE faults;")
	sql.WriteString(`CREATE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
		CASE split_part(NEW.word, '-', 2)
		WHEN 'raise' THEN RAISE 'never' USING ERRCODE = 'P0007';
		WHEN 'discard' THEN RETURN NULL;
		WHEN 'later' THEN IF nextval('faults') % 2 = 1 AND currval('faults') < 10 THEN RAISE 'later' USING ERRCODE = '40001'; END IF;
		WHEN 'kill' THEN IF nextval('faults') % 2 = 1 AND currval('faults') < 10 THEN PERFORM pg_terminate_backend(pg_backend_pid()); END IF;
		ELSE NULL; END CASE;
		RETURN NEW; END $$;`)
	for _, parent := range m.tables {
		for i, t := range append([]*batch.Table{parent}, parent.Children...) {
			var columns []string
			for _, c := range t.Columns {
				if !c.Ledger {
					columns = append(columns, c.Name+" "+c.Type)
				}
			}
			if t.Ledger == "" {
				columns = append(columns, fmt.Sprintf("PRIMARY KEY (%s)", strings.Join(t.KeyNames(), ", ")))
			}
			if i > 0 && parent.Ledger == "" {
				columns = append(columns, "FOREIGN KEY (id) REFERENCES "+parent.Name)
			}
			columns = append(columns, fmt.Sprintf("CONSTRAINT bad_%s CHECK (word NOT LIKE '%s%s%%')", t.Name, canary, badWordOf))
			end := ""
			if partitioned && t.Ledger == "" {
				end = fmt.Sprintf(" PARTITION BY HASH (id); CREATE TABLE %s0 PARTITION OF %[1]s FOR VALUES WITH (MODULUS 2, REMAINDER 0); CREATE TABLE %[1]s1 PARTITION OF %[1]s FOR VALUES WITH (MODULUS 2, REMAINDER 1)", t.Name)
			}
			fmt.Fprintf(&sql, "CREATE TABLE %s (%s)%s;", t.Name, strings.Join(columns, ", "), end)
			if triggers {
				fmt.Fprintf(&sql, "CREATE TRIGGER meddle BEFORE INSERT ON %s FOR EACH ROW EXECUTE FUNCTION meddle();", t.Name)
			}
			if !partitioned {
				fmt.Fprintf(&sql, "CREATE UNIQUE INDEX taken_%s ON %[1]s (word) WHERE word LIKE '%s%s%%';", t.Name, canary, takenWord)
			}
		}
	}
	m.sql = sql.String()
	return m
}

const (
	takenWord = "taken"
	raiseWord = "raise"
	laterWord = "later" // fails at first
	killWord  = "kill"  // ends the session at first
)

// refusedWords are the words that a table refuses, with the SQLSTATEs.
var refusedWords = map[string]string{badWordOf: "23514", takenWord: "23505", raiseWord: "P0007"}

// mixedRow is a row of a message.
type mixedRow struct {
	child int // index in Children, -1 for the message's own table
	id    int64
	n     int
	word  string // canary, kind, and more
}

func (r mixedRow) kind() string { return strings.Split(r.word, "-")[1] }

// mixedMessage is a message of the random test.
type mixedMessage struct {
	number  int64
	table   int
	version int64
	group   int
	rows    []mixedRow // the first is of the table
}

// id is the message's id, as the table has it.
func (m *mixedMessage) id() string { return fmt.Sprintf("00000000-0000-0000-0000-%012d", m.number) }

// has reports whether a row has a word of some kinds.
func (m *mixedMessage) has(kinds ...string) bool {
	return slices.ContainsFunc(m.rows, func(r mixedRow) bool { return slices.Contains(kinds, r.kind()) })
}

// accepted reports whether the database takes the message.
func (m *mixedMessage) accepted() bool { return !m.has(badWordOf, takenWord, raiseWord, discardWord) }

// newer reports whether the message replaces another one.
func (m *mixedMessage) newer(than *mixedMessage) bool {
	return cmp.Or(cmp.Compare(m.version, than.version), cmp.Compare(m.number, than.number)) > 0
}

// random makes messages about few keys.
func (x *mixed) random(r *rand.Rand, size int, kinds []string, fifo bool) []*mixedMessage {
	all := make([]*mixedMessage, size)
	for i := range all {
		m := &mixedMessage{number: int64(i + 1), table: r.IntN(len(x.tables)), version: r.Int64N(5)}
		if fifo {
			m.group = 1 + r.IntN(1+size/8)
		}
		t := x.tables[m.table]
		own := int64(1 + r.IntN(1+size/16))
		if t.KeyOfMessage {
			own = m.number
		}
		troubled := r.IntN(3) == 0
		add := func(child int, id int64, n int) {
			kind := goodWord
			if troubled && r.IntN(3) == 0 {
				kind = kinds[r.IntN(len(kinds))]
			}
			end := fmt.Sprint(m.number, "-", n)
			switch {
			case kind == takenWord:
				end = "" // the word of a row that is there
			case child < 0 && t.FindsConflicts():
				end = fmt.Sprint(m.number % 2) // which another message may say too
			}
			if t.Name == "gauges" && (refusedWords[kind] != "" || kind == discardWord) {
				id = 1000*m.number + int64(n) // else a newer row of its batch could stand in for it
			}
			m.rows = append(m.rows, mixedRow{child, id, n, canary + kind + "-" + end})
		}
		add(-1, own, 1)
		if t.Several {
			for n := range r.IntN(6) {
				id := own
				if t.Name == "gauges" {
					id += int64(n + 1)
				}
				add(-1, id, n+2)
			}
		}
		for child := range t.Children {
			for n := range 6 {
				if r.IntN(2) == 0 {
					add(child, own, n)
				}
			}
		}
		all[i] = m
	}
	return all
}

// batchOf makes a batch of messages.
func (x *mixed) batchOf(messages []*mixedMessage) *batch.Batch {
	b := batch.New(x.tables...)
	for i, m := range messages {
		for k, r := range m.rows {
			t := x.tables[m.table]
			if k == 0 {
				b.BeginIn(m.table, i, m.group)
			} else {
				b.More(r.child)
			}
			if r.child >= 0 {
				t = t.Children[r.child]
			}
			for _, c := range t.Columns {
				switch c.Name {
				case "id", "key":
					b.Int8(r.id)
				case "n":
					b.Int4(int32(r.n))
				case "version":
					b.Int8(m.version)
				case "message":
					b.AppendTo(func(dst []byte) ([]byte, error) { //nolint:errcheck // it returns none
						digits := strings.ReplaceAll(m.id(), "-", "")
						for ; digits != ""; digits = digits[2:] {
							v, _ := strconv.ParseUint(digits[:2], 16, 8)
							dst = append(dst, byte(v))
						}
						return dst, nil
					})
				default:
					b.String(r.word)
				}
			}
			b.End()
		}
	}
	b.Sort()
	return b
}

// inTables are the rows of all tables, without those that were there.
func (x *mixed) inTables(t testing.TB, db *pgtest.DB) (all []string) {
	t.Helper()
	var queries []string
	for _, parent := range x.tables {
		for _, table := range append([]*batch.Table{parent}, parent.Children...) {
			parts := []string{"'" + table.Name + "'"}
			for _, c := range table.Columns {
				if !c.Ledger {
					parts = append(parts, c.Name)
				}
			}
			queries = append(queries, fmt.Sprintf("SELECT concat_ws(' ', %s) AS text FROM %s WHERE id > 0", strings.Join(parts, ", "), table.Name))
		}
	}
	queries = append(queries, "SELECT 'keys ' || key FROM keys WHERE key > 0")
	for _, r := range db.Rows(t, strings.Join(queries, " UNION ALL ")) {
		all = append(all, r[0])
	}
	slices.Sort(all)
	return all
}

// text is a row as inTables has it.
func (x *mixed) text(m *mixedMessage, r mixedRow) string {
	t := x.tables[m.table]
	if r.child >= 0 {
		t = t.Children[r.child]
	}
	parts := []string{t.Name}
	for _, c := range t.Columns {
		switch c.Name {
		case "id":
			parts = append(parts, fmt.Sprint(r.id))
		case "n":
			parts = append(parts, fmt.Sprint(r.n))
		case "version":
			parts = append(parts, fmt.Sprint(m.version))
		case "message":
			parts = append(parts, m.id())
		case "word":
			parts = append(parts, r.word)
		}
	}
	return strings.Join(parts, " ")
}

// mixedReference is what the tables have, by the simplest rules: which message a row is of.
type mixedReference struct {
	*mixed
	owner map[string]*mixedMessage // by table and id
}

// where is the key of the row in owner.
func (x *mixed) where(m *mixedMessage, r mixedRow) string {
	return fmt.Sprint(x.tables[m.table].Name, " ", r.id)
}

// store stores an accepted message.
func (x *mixedReference) store(m *mixedMessage) {
	for _, r := range m.rows {
		if was := x.owner[x.where(m, r)]; r.child < 0 && (was == nil || x.tables[m.table].OnConflict == batch.Replace && m.newer(was)) {
			x.owner[x.where(m, r)] = m
		}
	}
}

// contents are the rows of messages that are stored.
func (x *mixedReference) contents() (all []string) {
	for where, m := range x.owner {
		for _, r := range m.rows {
			if x.where(m, r) == where {
				all = append(all, x.text(m, r))
			}
		}
		if x.tables[m.table].Ledger != "" {
			all = append(all, fmt.Sprint("keys ", m.rows[0].id))
		}
	}
	slices.Sort(all)
	return all
}

// queueOf is a queue of messages, and what is known of them.
type queueOf struct {
	*mixed
	testing.TB
	fifo, quiet bool // quiet: one worker, and no faults
	reference   *mixedReference
	fates       map[string]int

	mu       sync.Mutex
	messages []*mixedMessage
	received map[*mixedMessage]int
	returned map[*mixedMessage]int  // for what is in the message
	done     map[*mixedMessage]bool // by the queue
	stored   map[*mixedMessage]message.Verdict
}

// receive returns a batch, which others may have too: some that are not done, and some whose deletion
// was lost. nil means that all are done.
func (q *queueOf) receive(r *rand.Rand) (messages []*mixedMessage, redelivered bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	waiting := 0
	size := 1 + r.IntN(len(q.messages))
	stopped := map[int]bool{}
	for _, i := range q.order(r) {
		m := q.messages[i]
		_, isStored := q.stored[m]
		if !q.done[m] {
			waiting++
		}
		switch {
		case stopped[m.group]:
		case q.done[m] && (!isStored || r.IntN(10) > 0):
		case len(messages) >= size || r.IntN(4) == 0:
			stopped[m.group] = m.group != 0 && !q.done[m] // none after it may come before it
		default:
			messages = append(messages, m)
		}
	}
	if waiting == 0 {
		return nil, false
	}
	for _, m := range messages {
		redelivered = redelivered || q.received[m] > 0
		q.received[m]++
	}
	return messages, redelivered && r.IntN(5) > 0 // SQS may deliver a message twice at once
}

// order is the order in which messages come.
func (q *queueOf) order(r *rand.Rand) []int {
	if !q.fifo {
		return r.Perm(len(q.messages))
	}
	order := make([]int, len(q.messages))
	for i := range order {
		order[i] = i
	}
	return order
}

// settle checks the verdicts on a batch, and deletes what is done.
func (q *queueOf) settle(b *batch.Batch, messages []*mixedMessage, result postgres.Result, err error, faulty bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if text := fmt.Sprintf("%v %+v", err, result); strings.Contains(text, canary) {
		q.Errorf("a value got into the result: %s", text)
	}
	faulty = faulty || slices.ContainsFunc(messages, func(m *mixedMessage) bool { return m.has(laterWord, killWord) })
	stopped := map[int]bool{}
	written, fresh := map[int]int{}, map[int]int{} // messages by table
	for i, row := range inOrder(b) {
		m, v := messages[i], result.Verdicts[row]
		if what := q.wrong(m, v, faulty, stopped[m.group]); what != "" && !q.Failed() {
			q.Errorf("message %d of %s is %s: %s; %+v, error %v", m.number, q.tables[m.table].Name, spellShort(v), what, *m, err)
			for i, row := range inOrder(b) {
				if messages[i].group == m.group {
					q.Logf("%s %s %+v", q.tables[messages[i].table].Name, spell(result.Verdicts[row]), *messages[i])
				}
			}
		}
		stopped[m.group] = stopped[m.group] || m.group != 0 && v.Outcome != message.Stored
		q.count(m, v)
		switch v.Outcome {
		case message.Stored:
			q.done[m], q.stored[m] = true, v
			if m.accepted() {
				if q.reference.owner[q.where(m, m.rows[0])] == nil {
					fresh[m.table]++
				}
				q.reference.store(m)
			}
			if !v.Outdated && !v.Conflicts() {
				written[m.table]++
			}
		case message.Rejected:
			q.done[m] = true
		default:
			if v.Cause == message.CauseDiscarded || v.Cause == message.CauseConfiguration {
				q.returned[m]++
				q.done[m] = q.done[m] || q.returned[m] > 2 // the redrive policy
			}
		}
	}
	if q.quiet {
		for i, row := range inOrder(b) {
			if m := messages[i]; result.Verdicts[row].Outdated && q.reference.owner[q.where(m, m.rows[0])] == m {
				q.Errorf("message %d of %s is outdated, and in the table", m.number, q.tables[m.table].Name)
				for i, row := range inOrder(b) {
					if messages[i].table == m.table && messages[i].rows[0].id == m.rows[0].id {
						q.Logf("%s %s %+v", q.tables[messages[i].table].Name, spellShort(result.Verdicts[row]), *messages[i])
					}
				}
			}
		}
	}
	for table, tally := range result.Tallies {
		if tally.Inserted+tally.Replaced > written[table] {
			q.Errorf("%s: %+v of %d messages that are stored", q.tables[table].Name, tally, written[table])
		}
		if q.quiet && q.tables[table].Name != "gauges" && tally.Inserted != fresh[table] {
			q.Errorf("%s: %+v, want %d inserted", q.tables[table].Name, tally, fresh[table])
		}
		q.fates["inserted"] += tally.Inserted
		q.fates["replaced"] += tally.Replaced
		q.fates["duplicate"] += written[table] - tally.Inserted - tally.Replaced
	}
}

// inOrder returns the row of each message.
func inOrder(b *batch.Batch) []int {
	rows := make([]int, b.Len())
	for row := range rows {
		rows[b.Message(row)] = row
	}
	return rows
}

var rowOfMessage = regexp.MustCompile(`^(?:the row|row (\d+)) of (\w+)$`)

// wrong says what is wrong with a verdict, "" for nothing. stopped: an earlier message of the group is
// not stored.
func (q *queueOf) wrong(m *mixedMessage, v message.Verdict, faulty, stopped bool) string {
	t := q.tables[m.table]
	mayFail := faulty || !q.quiet // a deadlock, since rows with groups are not sorted; or stored meanwhile by the other worker
	switch v.Outcome {
	case message.Stored:
		switch {
		case stopped:
			return "an earlier one of its group is not stored"
		case m.accepted():
		case t.KeyOfMessage || t.OnConflict == batch.Replace && !v.Outdated:
			return "the database does not take it"
		}
		if v.Conflicts() && !t.FindsConflicts() || v.Outdated && t.OnConflict != batch.Replace {
			return "that cannot be"
		}
	case message.Rejected:
		if stopped {
			return "an earlier one of its group is not stored"
		}
		return q.wrongRejection(m, v.Rejection, faulty)
	default:
		switch v.Cause {
		case message.CauseGroup:
			if !stopped {
				return "no earlier one of its group is in the way"
			}
		case message.CauseDiscarded:
			if !m.has(discardWord) {
				return "nothing discards it"
			}
		case message.CauseConfiguration: // what a function or an expression refuses is its fault only if another passes
			if !m.has(raiseWord, takenWord) {
				return "nothing is to be fixed"
			}
		case message.CauseTransient, message.CauseNone:
			if !mayFail {
				return "there was no fault"
			}
		default:
			return "an odd cause"
		}
	}
	return ""
}

// wrongRejection says what is wrong with the reason for a rejection: it must name a row that is refused.
func (q *queueOf) wrongRejection(m *mixedMessage, why message.Rejection, faulty bool) string {
	t := q.tables[m.table]
	if len(m.rows) == 1 && why.Detail == "" {
		why.Detail = "the row of " + t.Name
		if t.Several {
			why.Detail = "row 1 of " + t.Name
		}
	}
	hidden := why.SQLState == refusedWords[takenWord] && !t.KeyOfMessage // by a row that has been stored since then
	if why.Detail == "" && (faulty || hidden) {                          // nobody could ask
		for _, r := range m.rows {
			if refusedWords[r.kind()] == why.SQLState {
				return ""
			}
		}
	}
	parts := rowOfMessage.FindStringSubmatch(why.Detail)
	if parts == nil {
		return "it does not name the row"
	}
	n := 1
	if parts[1] != "" {
		n, _ = strconv.Atoi(parts[1])
	}
	for _, r := range m.rows {
		table := t
		if r.child >= 0 {
			table = t.Children[r.child]
		}
		if table.Name != parts[2] {
			continue
		}
		if n--; n > 0 {
			continue
		}
		kind := r.kind()
		if refusedWords[kind] != why.SQLState || kind != raiseWord && !strings.HasPrefix(why.Constraint, kind+"_"+table.Name) {
			return "that row is not refused for that"
		}
		return ""
	}
	return "it has no such row"
}

// count counts what became of a message.
func (q *queueOf) count(m *mixedMessage, v message.Verdict) {
	q.fates[spellShort(v)]++
	if v.Outcome == message.Rejected {
		q.fates["rejected by "+v.Rejection.SQLState]++
		if strings.HasPrefix(v.Rejection.Detail, "row ") && q.tables[m.table].Children != nil {
			q.fates["rejected for a child"]++
		}
	}
}

func spellShort(v message.Verdict) string {
	switch {
	case v.Outdated:
		return "outdated"
	case v.Conflicts():
		return "conflict"
	case v.Outcome == message.Returned && v.Cause == message.CauseNone:
		return transient
	case v.Outcome == message.Returned:
		return spell(v)
	}
	return v.Outcome.String()
}

// fault breaks the connection of a worker somewhere in the next insert.
func randomFault(r *rand.Rand) pgtest.Fault {
	f := pgtest.Fault{How: []pgtest.How{pgtest.Close, pgtest.Abort}[r.IntN(2)], Stays: r.IntN(2) == 0}
	switch r.IntN(5) {
	case 0:
		f.At = pgtest.AfterClientBytes(r.IntN(30_000))
	case 1:
		f.At = pgtest.AfterServerBytes(r.IntN(2_000))
	case 2:
		f.At = pgtest.AfterAnswer(1 + r.IntN(3))
	default:
		f.At = pgtest.BeforeAnswer(1 + r.IntN(3))
	}
	return f
}

// TestMixedBatches delivers random messages for seven tables: rows that are kept and that are replaced,
// with children and without, several of a message in one table, beside a ledger. Rows are refused and
// discarded anywhere, connections break anywhere, and two workers have overlapping batches. In the end
// the tables have what the simplest reference has: each accepted message whole, the newest version with
// exactly its children, and nothing of the others.
func TestMixedBatches(t *testing.T) {
	t.Parallel()
	plain := []string{badWordOf, badWordOf, takenWord}
	meddling := []string{badWordOf, takenWord, raiseWord, discardWord, laterWord, killWord}
	for _, tt := range []struct {
		name                        string
		workers                     int
		faults, triggers, partition bool
		mode                        string
	}{
		{name: "one worker", workers: 1},
		{name: "one worker, triggers", workers: 1, triggers: true, mode: "exec"},
		{name: "two workers, faults", workers: 2, faults: true},
		{name: "two workers, faults, triggers, partitions", workers: 2, faults: true, triggers: true, partition: true, mode: "exec"},
	} {
		for _, fifo := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, fifo=%v", tt.name, fifo), func(t *testing.T) {
				t.Parallel()
				x := newMixed(tt.triggers, tt.partition)
				db := pgtest.New(t, x.sql)
				proxies := make([]*pgtest.Proxy, tt.workers)
				stores := make([]*postgres.Store, tt.workers)
				for w := range stores {
					proxies[w] = pgtest.NewProxy(t, withOption(t, db.URL, "-cdeadlock_timeout=20ms"))
					stores[w] = openStoreOf(t, withMode(proxies[w].URL, tt.mode), x.tables, impatient)
				}
				kinds := plain
				if tt.triggers {
					kinds = meddling
				}
				if tt.partition {
					kinds = slices.DeleteFunc(slices.Clone(kinds), func(kind string) bool { return kind == takenWord })
				}
				fates := map[string]int{}
				for seed := range uint64(unlessThorough(3, 60)) {
					x.clear(t, db, !tt.partition)
					r := rand.New(rand.NewPCG(seed, 13))
					size := 40
					if seed%3 == 2 && !fifo {
						size = 150 // searched in chunks
					}
					q := &queueOf{
						mixed: x, TB: t, fifo: fifo, quiet: tt.workers == 1, reference: &mixedReference{x, map[string]*mixedMessage{}}, fates: fates, messages: x.random(r, size, kinds, fifo),
						received: map[*mixedMessage]int{}, returned: map[*mixedMessage]int{}, done: map[*mixedMessage]bool{}, stored: map[*mixedMessage]message.Verdict{},
					}
					var workers sync.WaitGroup
					for w := range stores {
						workers.Go(func() {
							q.work(t.Context(), rand.New(rand.NewPCG(seed, uint64(100+w))), stores[w], proxies[w], tt.faults, db)
						})
					}
					workers.Wait()
					if !t.Failed() {
						q.check(stores[0], db)
					}
					if t.Failed() {
						t.Fatalf("that was seed %d", seed)
					}
				}
				t.Logf("%v", fates)
				must := []string{"inserted", "replaced", "outdated", "duplicate", "conflict", message.Stored.String(), message.Rejected.String(), "rejected by 23514", "rejected for a child"}
				if tt.triggers {
					must = append(must, discarded, "rejected by P0007")
				}
				if !tt.partition {
					must = append(must, "rejected by 23505")
				}
				if tt.faults || tt.triggers {
					must = append(must, transient)
				}
				if fifo {
					must = append(must, afterStopped)
				}
				for _, what := range must {
					if fates[what] == 0 {
						t.Errorf("no message was %s: the test shows less than it should", what)
					}
				}
			})
		}
	}
}

// clear empties the tables; those with a unique index then have a word that is taken.
func (x *mixed) clear(t testing.TB, db *pgtest.DB, taken bool) {
	t.Helper()
	sql := "ALTER SEQUENCE faults RESTART; TRUNCATE keys"
	insert := ""
	for _, parent := range x.tables {
		for _, table := range append([]*batch.Table{parent}, parent.Children...) {
			sql += ", " + table.Name
			var names, values []string
			for _, c := range table.Columns {
				if c.Ledger {
					continue
				}
				names = append(names, c.Name)
				value := "0"
				switch c.Name {
				case "message":
					value = "gen_random_uuid()"
				case "word":
					value = "'" + canary + takenWord + "-'"
				}
				values = append(values, value)
			}
			insert += fmt.Sprintf("INSERT INTO %s (%s) VALUES (%s);", table.Name, strings.Join(names, ", "), strings.Join(values, ", "))
		}
	}
	if !taken {
		insert = ""
	}
	db.Exec(t, sql+";"+insert)
}

// work delivers batches until all is done.
func (q *queueOf) work(ctx context.Context, r *rand.Rand, store *postgres.Store, proxy *pgtest.Proxy, faults bool, db *pgtest.DB) {
	for {
		messages, redelivered := q.receive(r)
		if messages == nil && q.allDone() || q.Failed() {
			return
		}
		b := q.batchOf(messages)
		b.SetRedelivered(redelivered)
		faulty := faults && r.IntN(3) == 0
		if faulty {
			proxy.Plan(randomFault(r))
		}
		result, err := store.Insert(ctx, b)
		proxy.Restore()
		q.settle(b, messages, result, err, faulty)
		if q.quiet {
			if diff := gocmp.Diff(q.inTables(q, db), q.reference.contents()); diff != "" {
				q.Errorf("the tables (-got +want):\n%s", diff)
			}
		}
	}
}

func (q *queueOf) allDone() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return !slices.ContainsFunc(q.messages, func(m *mixedMessage) bool { return !q.done[m] })
}

// check compares the tables with the reference, and delivers everything once more, which adds nothing.
func (q *queueOf) check(store *postgres.Store, db *pgtest.DB) {
	q.Helper()
	got := q.inTables(q, db)
	want := &mixedReference{q.mixed, map[string]*mixedMessage{}}
	if !q.quiet { // which of two messages with one key came first is not known
		for _, m := range q.messages {
			if t := q.tables[m.table]; t.FindsConflicts() && m.accepted() && slices.Contains(got, q.text(m, m.rows[0])) {
				want.store(m)
			}
		}
		for _, m := range q.messages {
			if m.accepted() {
				want.store(m)
			}
		}
		q.reference = want
	}
	if diff := gocmp.Diff(got, q.reference.contents()); diff != "" {
		q.Errorf("the tables in the end (-got +want):\n%s", diff)
	}
	var all []*mixedMessage
	for _, m := range q.messages {
		v, isStored := q.stored[m]
		if m.accepted() && !isStored {
			q.Errorf("message %d was never stored", m.number)
		}
		if !isStored {
			continue
		}
		all = append(all, m)
		if v.Outdated && q.reference.owner[q.where(m, m.rows[0])] == m {
			q.Errorf("message %d is outdated, and in the table", m.number)
		}
		if t := q.tables[m.table]; t.FindsConflicts() {
			owner := q.reference.owner[q.where(m, m.rows[0])]
			if same := owner == m || owner.rows[0].word == m.rows[0].word; same == v.Conflicts() {
				q.Errorf("message %d has %q, and message %d of the stored row %q; it is %s %+v", m.number, m.rows[0].word, owner.number, owner.rows[0].word, spell(v), v.Rejection)
			} else if v.Conflicts() && !strings.HasSuffix(v.Rejection.Detail, owner.id()) {
				q.Errorf("message %d is in conflict with %s, want %s", m.number, v.Rejection.Detail, owner.id())
			}
		}
	}
	db.Exec(q, "SELECT setval('faults', 1000)") // no more of them
	b := q.batchOf(all)
	b.SetRedelivered(true)
	result, err := store.Insert(q.Context(), b)
	if sum := result.Tallies.Sum(); err != nil || sum != (message.Tally{}) {
		q.Errorf("everything delivered again: %+v, error %v", sum, err)
	}
	for row, v := range result.Verdicts {
		if m := all[b.Message(row)]; v.Outcome != message.Stored && m.accepted() {
			q.Errorf("message %d delivered again is %s", m.number, spell(v))
		}
	}
	if diff := gocmp.Diff(q.inTables(q, db), got); diff != "" {
		q.Errorf("the tables after a redelivery (-got +want):\n%s", diff)
	}
}

// TestARefusedRowOnANewConnection refuses the last row of a table, before the insert of the next one
// could be prepared, in the batch and in the chunk that has rows of both: the next chunk needs it.
func TestARefusedRowOnANewConnection(t *testing.T) {
	t.Parallel()
	s := newTables(t, createEvents+noBadWord, "", nil)
	s.store = openStoreOf(t, s.proxy.URL, s.into, impatient)
	rows := inTables("012", goods(1, 200))
	badWord(&rows[198])
	s.insert(rows...).want(verdicts{stored: "1-198 200", rejected(byNoBadWord): "199"}).inserts(199)
}
