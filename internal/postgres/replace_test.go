package postgres_test

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/testing/pgtest"
)

// states is a table whose newest row wins.
var states = &batch.Table{
	Name: "states", OnConflict: batch.Replace, Key: []int{0},
	Columns: []batch.Column{
		{Name: "id", Kind: batch.Text, Type: "text", NotNull: true},
		{Name: "version", Kind: batch.Int8, Type: "bigint", NewerBy: true},
		wordColumn, messageID,
	},
}

// createStates makes the table: the type of the key, and what else the table has.
func createStates(key, more string) string {
	return "CREATE TABLE states (id " + key + " PRIMARY KEY, version bigint, word text CONSTRAINT good_word CHECK (word NOT LIKE '%bad%'), message_id uuid, tx xid8 DEFAULT pg_current_xact_id())" + more + ";"
}

const (
	// partitions divides states into parts by the key.
	partitions = " PARTITION BY HASH (id); CREATE TABLE states_0 PARTITION OF states FOR VALUES WITH (MODULUS 2, REMAINDER 0); CREATE TABLE states_1 PARTITION OF states FOR VALUES WITH (MODULUS 2, REMAINDER 1)"
	// discards discards rows before they are inserted or replaced.
	discards = `CREATE FUNCTION discard() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.word LIKE '%discard%' THEN RETURN NULL; END IF; RETURN NEW; END $$;
		CREATE TRIGGER discard BEFORE INSERT OR UPDATE ON states FOR EACH ROW EXECUTE FUNCTION discard()`
)

// state is a row of states.
type state struct {
	id      string
	version int64
	word    string // canary, and what a table dislikes
	message int    // the number of its message
	group   int
}

// key is what the table compares, whatever the case is.
func (s state) key() string { return strings.ToLower(s.id) }

func (s state) compare(o state) int {
	return cmp.Or(cmp.Compare(s.version, o.version), cmp.Compare(s.message, o.message))
}

func stateBatch(table *batch.Table, all []state) *batch.Batch {
	b := batch.New(table)
	for i, s := range all {
		b.Begin(i, s.group)
		b.String(s.id)
		b.Int8(s.version)
		b.String(s.word)
		b.Bytes(fmt.Appendf(nil, "%016d", s.message))
		b.End()
	}
	b.Sort()
	return b
}

// numbered are n states of n accounts.
func numbered(n int, version int64, message int) []state {
	all := make([]state, n)
	for i := range all {
		all[i] = state{id: fmt.Sprintf("%05d", i), version: version, word: canary, message: message + i}
	}
	return all
}

// upsert inserts states. The ids of the outcome are the numbers of their messages.
func (s *site) upsert(all ...state) *outcome {
	s.Helper()
	b := stateBatch(s.into[0], all)
	return s.insertBatch(s.Context(), b, messagesIn(b, all))
}

// rehearseStates is upsert for a rehearsal.
func (s *site) rehearseStates(all ...state) *outcome {
	s.Helper()
	b := stateBatch(s.into[0], all)
	result, err := s.store.Rehearse(s.Context(), b)
	return &outcome{TB: s.TB, Result: result, err: err, ids: messagesIn(b, all)}
}

// messagesIn are the numbers of the states' messages in the order of their batch.
func messagesIn(b *batch.Batch, all []state) []int64 {
	return byRow(b, all, func(s state) int64 { return int64(s.message) })
}

// newStates is a site with the table states.
func newStates(t testing.TB, sql, mode string) *site {
	t.Helper()
	return newSite(t, setup{sql: sql, table: states, mode: mode})
}

// counts compares how many rows were inserted and replaced.
func (o *outcome) counts(inserted, replaced int) *outcome {
	o.Helper()
	if got := o.Tallies.Sum(); got != (message.Tally{Inserted: inserted, Replaced: replaced}) {
		o.Errorf("got %+v, want %d inserted and %d replaced", got, inserted, replaced)
	}
	return o
}

const outdatedRow = "stored: outdated"

// TestUpsertsCostOneRoundTrip: only what is outdated or stored already is looked up.
func TestUpsertsCostOneRoundTrip(t *testing.T) {
	t.Parallel()
	for _, sql := range []string{createStates("text", ""), createStates("text", partitions)} {
		inModes(t, func(t *testing.T, mode string) {
			s := newStates(t, sql, mode)
			s.upsert(numbered(1, 0, 1)...).must() // connects, asks how keys compare, and prepares
			for _, n := range []int{10, 1000, 5000} {
				s.db.Exec(t, "TRUNCATE states")
				s.upsert(numbered(n/2, 1, 1)...).must().counts(n/2, 0).costs(1)
				s.upsert(numbered(n, 2, 10001)...).must().counts(n/2, n/2).costs(1)
				s.upsert(numbered(n, 3, 20001)...).must().counts(0, n).costs(1)
				s.upsert(numbered(n, 3, 20001)...).must().counts(0, 0).costs(2)                                           // again
				s.upsert(numbered(n, 2, 10001)...).want(verdicts{outdatedRow: fmt.Sprintf("10001-%d", 10000+n)}).costs(2) // late
				mixed := slices.Concat(numbered(n, 2, 10001)[:n/2], numbered(n, 4, 30001)[n/2:])
				s.upsert(mixed...).want(verdicts{outdatedRow: fmt.Sprintf("10001-%d", 10000+n/2), stored: fmt.Sprintf("%d-%d", 30001+n/2, 30000+n)}).counts(0, n-n/2).costs(2)
				if got := s.db.Count(t, "SELECT count(DISTINCT tx) FROM states WHERE version = 4"); got != 1 {
					t.Errorf("%d transactions, want 1", got)
				}
			}
		})
	}
}

// TestRepeatedKeysCostNoRoundTrip: of rows with one key, a statement has the newest.
func TestRepeatedKeysCostNoRoundTrip(t *testing.T) {
	t.Parallel()
	s := newStates(t, createStates("text", ""), "")
	s.upsert(numbered(1, 0, 1)...).must()
	all := slices.Concat(numbered(2000, 9, 20001), numbered(2000, 1, 1), numbered(2000, 5, 10001))
	s.upsert(all...).want(verdicts{outdatedRow: "1-2000 10001-12000", stored: "20001-22000"}).counts(2000-1, 1).costs(1)
	if got := s.db.Count(t, "SELECT count(*) FROM states WHERE version = 9"); got != 2000 {
		t.Errorf("%d rows have the newest version, want 2000", got)
	}
}

// TestKeysThatAreEqualInTheirTypeOnly are in one statement, which fails with cardinality_violation: the
// rows are tried one by one, and nobody is blamed.
func TestKeysThatAreEqualInTheirTypeOnly(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t, "", "CREATE EXTENSION citext", createStates("citext", ""))
	s := siteOf(t, db, states)
	for _, group := range []int{0, 1} {
		s.upsert(state{"a", 2, canary, 2, group}, state{"A", 1, canary, 1, group}, state{"b", 1, canary, 3, 2 * group}).
			want(verdicts{stored: "2-3", outdatedRow: "1"}).counts(2, 0)
		s.upsert(state{"A", 4, canary, 4, group}, state{"a", 5, canary, 5, group}, state{"a", 3, canary, 6, 2 * group}).
			want(verdicts{stored: "5", outdatedRow: "4 6"}).counts(0, 1)
		if got := strings.ToLower(fmt.Sprint(db.Rows(t, "SELECT id, version FROM states ORDER BY id"))); got != "[[a 5] [b 1]]" {
			t.Errorf("in the table: %s", got)
		}
		db.Exec(t, "TRUNCATE states")
	}
	// 200 rows: a search in chunks.
	var all []state
	for i := range 100 {
		all = append(all, state{fmt.Sprint("k", i), 2, canary, 1000 + i, 0}, state{fmt.Sprint("K", i), 1, canary, 2000 + i, 0})
	}
	o := s.upsert(all...)
	if o.err != nil || slices.ContainsFunc(o.Verdicts, func(v message.Verdict) bool { return v.Outcome != message.Stored }) {
		t.Errorf("got %v, %v", o.Verdicts, o.err)
	}
	if got := db.Count(t, "SELECT count(*) FROM states WHERE version = 2"); got != 100 {
		t.Errorf("%d rows have the newest version, want 100", got)
	}
}

// TestACardinalityViolationOfATrigger is judged as in any table: it is not of rows with one key.
func TestACardinalityViolationOfATrigger(t *testing.T) {
	t.Parallel()
	s := newStates(t, createStates("text", "")+`CREATE FUNCTION wrong() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN IF NEW.word LIKE '%wrong%' THEN NEW.word := (SELECT g::text FROM generate_series(1, 2) AS g); END IF; RETURN NEW; END $$;
		CREATE TRIGGER wrong BEFORE INSERT ON states FOR EACH ROW EXECUTE FUNCTION wrong()`, "")
	o := s.upsert(state{"a", 1, canary, 1, 0}, state{"b", 1, canary + "wrong", 2, 0}, state{"a", 2, canary, 3, 0})
	o.verdicts(verdicts{outdatedRow: "1", stored: "3", configuration: "2"})
	if causeOf(o.err) != message.CauseConfiguration || !strings.Contains(o.err.Error(), `the function "wrong"`) {
		t.Errorf("got %v", o.err)
	}
}

// TestUpsertsNeedGrants: UPDATE, and SELECT on each column that is set.
func TestUpsertsNeedGrants(t *testing.T) {
	t.Parallel()
	for grants, works := range map[string]bool{
		"INSERT, UPDATE, SELECT": true,
		"INSERT, SELECT":         false,
		"INSERT, UPDATE, SELECT (id, version, message_id)":                                   false,
		"INSERT, UPDATE (version, word, message_id), SELECT (id, version, word, message_id)": true,
	} {
		s := newSite(t, setup{sql: createStates("text", ""), table: states, grants: func(role string) []string {
			return []string{"GRANT " + grants + " ON states TO " + role}
		}})
		o := s.upsert(numbered(2, 1, 1)...)
		if works {
			o.must().counts(2, 0)
			s.upsert(numbered(2, 2, 3)...).must().counts(0, 2)
			continue
		}
		o.verdicts(verdicts{configuration: "1-2"})
		if causeOf(o.err) != message.CauseConfiguration || !strings.Contains(o.err.Error(), `INSERT and UPDATE on "states" and SELECT on the columns that the model fills`) {
			t.Errorf("%s: %v", grants, o.err)
		}
	}
}

// TestUpsertsUnderRowSecurity: a policy can refuse to replace a row, because of what is stored or of what
// would be.
func TestUpsertsUnderRowSecurity(t *testing.T) {
	t.Parallel()
	policies := func(update string) *site {
		return newSite(t, setup{table: states, sql: createStates("text", "") + "ALTER TABLE states ENABLE ROW LEVEL SECURITY; CREATE POLICY see ON states FOR SELECT USING (true); CREATE POLICY store ON states FOR INSERT WITH CHECK (word NOT LIKE '%never%'); " + update, grants: func(role string) []string {
			return []string{"GRANT INSERT, UPDATE, SELECT ON states TO " + role}
		}})
	}
	s := policies("CREATE POLICY change ON states FOR UPDATE USING (word NOT LIKE '%final%') WITH CHECK (word NOT LIKE '%late%')")
	s.upsert(state{"a", 1, canary, 1, 0}, state{"b", 1, canary + "final", 2, 0}, state{"c", 1, canary + "never", 3, 0}).want(verdicts{stored: "1-2", rejected("42501"): "3"})
	s.upsert(state{"a", 2, canary + "late", 4, 0}, state{"b", 2, canary, 5, 0}, state{"d", 1, canary, 6, 0}).want(verdicts{stored: "6", rejected("42501"): "4-5"})
	s.upsert(state{"a", 3, canary, 7, 0}).want(verdicts{stored: "7"}).counts(0, 1)
	o := s.upsert(state{"b", 3, canary, 8, 0}) // no other row passes
	if o.verdicts(verdicts{configuration: "8"}); causeOf(o.err) != message.CauseConfiguration {
		t.Errorf("got %v", o.err)
	}
	s = policies("")
	s.upsert(state{"a", 1, canary, 1, 0}).must()
	o = s.upsert(state{"a", 2, canary, 2, 0}, state{"b", 1, canary, 3, 0})
	if o.verdicts(verdicts{configuration: "2", stored: "3"}); causeOf(o.err) != message.CauseConfiguration || !strings.Contains(o.err.Error(), "one for UPDATE") {
		t.Errorf("without a policy for UPDATE: %v", o.err)
	}
}

// TestNewerColumnsThatRound are refused: rows that differ here would be equally new there.
func TestNewerColumnsThatRound(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t, "", "CREATE DOMAIN amount AS numeric(10,1)")
	for i, tt := range []struct {
		kind    batch.Kind
		typed   string
		live    string
		refused bool
	}{
		{batch.Timestamp, "timestamptz", "timestamptz", false},
		{batch.Timestamp, "timestamptz", "timestamptz(6)", false},
		{batch.Timestamp, "timestamptz", "timestamptz(3)", true},
		{batch.TimestampNoZone, "timestamp", "timestamp(0)", true},
		{batch.Int8, "bigint", "bigint", false},
		{batch.Int8, "bigint", "integer", false},
		{batch.Int8, "bigint", "numeric", false},
		{batch.Int8, "bigint", "numeric(30,0)", false},
		{batch.Text, "numeric", "numeric", false},
		{batch.Text, "numeric", "numeric(20,0)", true},
		{batch.Text, "numeric(20,0)", "numeric(20,0)", false},
		{batch.Text, "numeric(20,0)", "numeric(38,2)", false},
		{batch.Text, "numeric(20,2)", "numeric(38,0)", true},
		{batch.Text, "numeric(20,2)", "amount", true},
		{batch.Text, "numeric(20,1)", "amount", false},
	} {
		c := batch.Column{Name: "v", Kind: tt.kind, Type: tt.typed, NewerBy: true}
		table := &batch.Table{
			Name: fmt.Sprint("things", i), OnConflict: batch.Replace, Key: []int{0},
			Columns: []batch.Column{{Name: "id", Kind: batch.Int8, Type: "bigint"}, c, wordColumn},
		}
		db.Exec(t, fmt.Sprintf("CREATE TABLE %s (id bigint PRIMARY KEY, v %s, word text)", table.Name, tt.live))
		b := batch.New(table)
		b.Begin(0, 0)
		b.Int8(1)
		if tt.kind == batch.Text {
			b.String("12")
		} else {
			b.Int8(12)
		}
		b.Null()
		b.End()
		result, err := openStore(t, db.URL, table).Insert(t.Context(), b)
		switch {
		case !tt.refused && (err != nil || result.Tallies.Sum().Inserted != 1):
			t.Errorf("%s in %s: %+v, %v", tt.typed, tt.live, result, err)
		case tt.refused && (causeOf(err) != message.CauseConfiguration || !strings.Contains(err.Error(), `ALTER COLUMN "v" TYPE `+tt.typed)):
			t.Errorf("%s in %s: %v", tt.typed, tt.live, err)
		}
	}
}

// stateTables are what states can be.
func stateTables(t *testing.T, test func(t *testing.T, newSite func(mode string) *site)) {
	t.Helper()
	for name, sql := range map[string]string{"text": createStates("text", ""), "citext": createStates("citext", ""), "partitioned": createStates("text", partitions)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, func(mode string) *site {
				db := pgtest.NewDatabase(t, "", "CREATE EXTENSION citext", sql+discards)
				s := &site{TB: t, db: db, user: db, proxy: pgtest.NewProxy(t, db.URL), into: []*batch.Table{states}}
				s.store = openStore(t, withMode(s.proxy.URL, mode), states)
				return s
			})
		})
	}
}

// TestUpsertsLikeTheirModel compares random batches with a simple model.
func TestUpsertsLikeTheirModel(t *testing.T) {
	t.Parallel()
	rounds := unlessThorough(60, 300)
	stateTables(t, func(t *testing.T, newSite func(string) *site) {
		for _, kind := range []string{"standard", "FIFO", "large"} {
			s, folds := newSite(modes[len(kind)%2]), strings.HasSuffix(t.Name(), "/citext")
			seen := map[string]int{}
			for seed := range rounds {
				r := rand.New(rand.NewPCG(uint64(seed), 2))
				n := 1 + r.IntN(20)
				if kind == "large" {
					n = 65 + r.IntN(150)
				}
				if kind == "large" && seed > rounds/4 {
					break
				}
				old, all := randomStates(r, n/2, n/2+2, 1, folds), randomStates(r, n, n/2+2, 500, folds)
				if kind == "FIFO" {
					for i := range all {
						all[i].group = 1 + r.IntN(4)
					}
				}
				m := states0(old)
				s.db.Exec(t, "TRUNCATE states")
				for _, one := range m {
					version := any(one.version)
					if one.version < 0 {
						version = nil
					}
					s.db.Exec(t, "INSERT INTO states (id, version, word, message_id) VALUES ($1, $2, $3, $4)", one.id, version, one.word, uuidOf(one.message))
				}
				all = append(all, redelivered(r, m, all)...)
				before := s.states()
				want, tally := m.run(all, kind == "FIFO")
				if kind == "standard" && seed%5 == 0 {
					s.rehearseStates(all...).want(want).counts(tally.Inserted, tally.Replaced)
					if diff := gocmp.Diff(s.states(), before); diff != "" {
						t.Errorf("the table after a rehearsal (-got +want):\n%s", diff)
					}
				}
				o := s.upsert(all...).want(want).counts(tally.Inserted, tally.Replaced)
				if diff := gocmp.Diff(s.states(), m.contents()); diff != "" {
					t.Errorf("the table (-got +want):\n%s", diff)
				}
				if t.Failed() {
					t.Fatalf("that was %s, seed %d: %+v, old %+v; %v", kind, seed, all, old, o.err)
				}
				for what := range want {
					seen[what]++
				}
				seen["inserted"] += tally.Inserted
				seen["replaced"] += tally.Replaced
				seen["duplicate"] += len(parse(want[stored])) - tally.Inserted - tally.Replaced
			}
			must := []string{"inserted", "replaced", "duplicate", outdatedRow, rejected("23514 constraint good_word"), discarded}
			if kind == "FIFO" {
				must = append(must, afterStopped)
			}
			for _, what := range must {
				if seen[what] == 0 {
					t.Errorf("%s: no batch had a row that was %s: the test shows less than it should; %v", kind, what, seen)
				}
			}
		}
	})
}

func uuidOf(n int) string {
	text := fmt.Sprintf("%016d", n)
	return fmt.Sprintf("%x-%x-%x-%x-%x", text[:4], text[4:6], text[6:8], text[8:10], text[10:])
}

// randomStates makes states of some accounts. Where case does not count, some ids differ in it.
func randomStates(r *rand.Rand, n, accounts, message int, folds bool) []state {
	all := make([]state, n)
	for i := range all {
		one := state{id: fmt.Sprintf("k%02d", r.IntN(accounts)), version: int64(r.IntN(6)), word: canary, message: message + r.IntN(400)}
		if folds && r.IntN(3) == 0 {
			one.id = strings.ToUpper(one.id)
		}
		switch r.IntN(14) {
		case 0:
			one.word += "bad"
		case 1:
			one.word += "discard"
		}
		one.message = message + i
		all[i] = one
	}
	return all
}

// redelivered are some of the stored rows.
func redelivered(r *rand.Rand, stored stateModel, all []state) (again []state) {
	for _, key := range keysOf(stored) {
		if one := stored[key]; one.version >= 0 && r.IntN(3) == 0 {
			one.group = all[0].group
			again = append(again, one)
		}
	}
	return again
}

// stateModel is the table in the simplest form: the newest row of each key.
type stateModel map[string]state

// states0 is a table with some rows. A version below 0 is a NULL.
func states0(rows []state) stateModel {
	m := stateModel{}
	for _, one := range rows {
		one.word = canary
		if one.version == 0 {
			one.version = -1
		}
		if before, ok := m[one.key()]; !ok || before.compare(one) < 0 {
			m[one.key()] = one
		}
	}
	return m
}

// one is what becomes of a row by itself.
func (m stateModel) one(s state) string {
	before, ok := m[s.key()]
	switch {
	case ok && before.version >= 0 && before.compare(s) > 0:
		return outdatedRow
	case ok && before.version >= 0 && before.compare(s) == 0:
		return stored
	case strings.HasSuffix(s.word, "bad"):
		return rejected("23514 constraint good_word")
	case strings.HasSuffix(s.word, "discard"):
		return discarded
	default:
		return "new"
	}
}

// put stores a row in the place of an older one.
func (m stateModel) put(s state) { m[s.key()] = s }

// run stores rows. Without groups their order does not matter, and of groups nothing is stored that
// follows a row that is not. There the older rows of a key are only tried if another row is refused.
func (m stateModel) run(rows []state, groups bool) (verdicts, message.Tally) {
	before := maps.Clone(m)
	fates := map[int]string{}
	if groups {
		m.runGroups(rows, fates)
	} else {
		order := slices.SortedStableFunc(slices.Values(rows), state.compare)
		for _, s := range order {
			if fates[s.message] = m.one(s); fates[s.message] == "new" {
				m.put(s)
			}
		}
	}
	var tally message.Tally
	for key, one := range m {
		was, ok := before[key]
		switch {
		case !ok:
			tally.Inserted++
		case was.message != one.message:
			tally.Replaced++
		}
	}
	all := map[string][]int64{}
	for _, s := range rows {
		what := fates[s.message]
		switch now, ok := m[s.key()]; {
		case what == "new" && now.message == s.message:
			what = stored
		case what == "new" || !groups && ok && now.version >= 0 && now.compare(s) > 0:
			what = outdatedRow
		}
		all[what] = append(all[what], int64(s.message))
	}
	for _, ids := range all {
		slices.Sort(ids)
	}
	return compress(all), tally
}

// runGroups stores rows of groups: as one statement, and after a refusal one by one.
func (m stateModel) runGroups(rows []state, fates map[int]string) {
	newest := map[string]state{}
	for _, s := range rows {
		if best, ok := newest[s.id]; !ok || best.compare(s) < 0 {
			newest[s.id] = s
		}
	}
	refused := false
	written := maps.Clone(m) // by the statement, which has the newest row of each spelling of a key
	by := map[string]bool{}
	var gone []state
	for _, s := range rows {
		switch {
		case newest[s.id].message != s.message:
		case strings.HasSuffix(s.word, "bad"):
			refused = true
		case strings.HasSuffix(s.word, "discard"):
			gone = append(gone, s)
		default:
			refused = refused || by[s.key()] // two keys that are equal only in their type
			if m.one(s) == "new" {
				written.put(s)
				by[s.key()] = true
			}
		}
	}
	for _, s := range gone { // it is done only if the table has one as new
		now, ok := written[s.key()]
		refused = refused || !ok || now.version < 0 || now.compare(s) < 0
	}
	before := maps.Clone(m)
	stopped := map[int]bool{}
	for _, s := range rows {
		what := m.one(s)
		if strings.HasSuffix(s.word, "bad") { // what the batch stores says nothing for it
			what = before.one(s)
		}
		switch {
		case !refused && newest[s.id].message != s.message:
			what = outdatedRow
			if before, ok := m[s.key()]; ok && before.compare(s) == 0 {
				what = "new" // as it will be overtaken
			}
		case !refused && what == discarded:
			what = outdatedRow
		case stopped[s.group]:
			what = afterStopped
		case what == "new":
			m.put(s)
		case what != stored && what != outdatedRow:
			stopped[s.group] = true
		}
		fates[s.message] = what
	}
}

func (m stateModel) contents() (all []string) {
	for _, key := range keysOf(m) {
		one := m[key]
		version := strconv.FormatInt(one.version, 10)
		if one.version < 0 {
			version = isNull
		}
		all = append(all, fmt.Sprint(key, " ", version, " ", uuidOf(one.message)))
	}
	return all
}

func (s *site) states() (all []string) {
	s.Helper()
	for _, r := range s.db.Rows(s, `SELECT lower(id::text) COLLATE "C" AS key, version, message_id FROM states ORDER BY key`) {
		all = append(all, strings.Join(r, " "))
	}
	return all
}

// TestUpsertsEndAlike delivers random states by two workers at once, each several times, in any order
// and in batches of any size, while connections are ended. The table ends with the newest row of each
// account.
func TestUpsertsEndAlike(t *testing.T) {
	t.Parallel()
	stateTables(t, func(t *testing.T, newSite func(string) *site) {
		for _, groups := range []bool{false, true} {
			s := newSite("")
			folds := strings.HasSuffix(t.Name(), "/citext")
			r := rand.New(rand.NewPCG(3, 3))
			all := randomStates(r, unlessThorough(300, 2000), 25, 1, folds)
			m := stateModel{}
			for i, one := range all {
				if strings.HasSuffix(one.word, "discard") {
					one.word, all[i].word = canary, canary // it would come for ever
				}
				if before, ok := m[one.key()]; one.word == canary && (!ok || before.compare(one) < 0) {
					m[one.key()] = one
				}
			}
			s.db.Exec(t, "TRUNCATE states")
			var workers sync.WaitGroup
			for w := range 2 {
				queue := slices.Concat(all, all)
				r := rand.New(rand.NewPCG(uint64(w), 4))
				if !groups { // a FIFO queue keeps its order
					r.Shuffle(len(queue), func(i, j int) { queue[i], queue[j] = queue[j], queue[i] })
				}
				store := openStore(t, s.proxy.URL, states, hasty)
				workers.Go(func() {
					for len(queue) > 0 {
						size := 90
						if groups {
							size = 10 // as a FIFO queue has
						}
						n := min(len(queue), 1+r.IntN(size))
						sent := slices.Clone(queue[:n])
						slices.SortStableFunc(sent, func(a, b state) int { return cmp.Compare(a.message, b.message) })
						sent = slices.CompactFunc(sent, func(a, b state) bool { return a.message == b.message })
						if groups {
							for i := range sent {
								sent[i].group = 1 + sent[i].message%5
							}
						}
						b := stateBatch(states, sent)
						b.SetRedelivered(r.IntN(2) == 0)
						if r.IntN(3) == 0 {
							s.proxy.CutAfterClientBytes(1 + r.IntN(20_000))
						}
						result, _ := store.Insert(t.Context(), b)
						done := map[int]bool{}
						for i, v := range result.Verdicts {
							one := sent[b.Message(i)]
							done[one.message] = v.Outcome != message.Returned
							if v.Outcome == message.Rejected && one.word == canary {
								t.Errorf("%+v is rejected: %v", one, v.Rejection)
							}
						}
						again := slices.DeleteFunc(slices.Clone(queue[:n]), func(s state) bool { return done[s.message] })
						queue = append(again, queue[n:]...)
					}
				})
			}
			workers.Wait()
			if diff := gocmp.Diff(s.states(), m.contents()); diff != "" {
				t.Errorf("groups %v: the table (-got +want):\n%s", groups, diff)
			}
		}
	})
}
