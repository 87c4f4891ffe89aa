package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/fault"
	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/postgres"
	"example.com/owner/sluice/internal/testing/pgtest"
)

// blames checks the cause of an error, and parts of its text.
func (o *outcome) blames(cause message.Cause, says ...string) *outcome {
	o.Helper()
	if got := causeOf(o.err); got != cause {
		o.Fatalf("the cause is %q, want %q: %v", got, cause, o.err)
	}
	for _, text := range says {
		if !strings.Contains(o.err.Error(), text) {
			o.Errorf("the error does not say %q: %v", text, o.err)
		}
	}
	return o
}

// TestConfigurationErrors breaks the table in the ways in which people do, before the first
// connection and under a warm one. No row is to blame; the error names the remedy and quotes
// nothing; once it is fixed, the same store goes on.
func TestConfigurationErrors(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name      string
		breaks    string // $role is who inserts
		fixes     string
		says      []string
		qualified bool // the model names the schema
		grants    func(role string) []string
	}{
		{
			name: "no table", breaks: "ALTER TABLE events RENAME TO other", fixes: "ALTER TABLE other RENAME TO events",
			says: []string{"SQLSTATE 42P01", "sluice migrate"},
		},
		{
			name: "no column", breaks: "ALTER TABLE events RENAME word TO other", fixes: "ALTER TABLE events RENAME other TO word",
			says: []string{"SQLSTATE 42703", "lacks a column of the model: `sluice check` names it, and `sluice schema`"},
		},
		{
			name: "column of another type", breaks: "ALTER TABLE events ALTER word TYPE integer USING 1", fixes: "ALTER TABLE events ALTER word TYPE text",
			says: []string{"SQLSTATE 42804", "another type", "`sluice check` lists all such columns"},
		},
		{
			name: "generated column", breaks: "ALTER TABLE events DROP word, ADD word text GENERATED ALWAYS AS ('x') STORED", fixes: "ALTER TABLE events DROP word, ADD word text",
			says: []string{"SQLSTATE 428C9", "take it out of the model: `sluice check` names it"},
		},
		{
			name: "no key", breaks: "ALTER TABLE events DROP CONSTRAINT events_pkey", fixes: "ALTER TABLE events ADD PRIMARY KEY (id)",
			says: []string{"SQLSTATE 42P10", `no usable unique key on ("id")`, "sluice schema"},
		},
		{
			name: "deferrable key", breaks: "ALTER TABLE events DROP CONSTRAINT events_pkey, ADD CONSTRAINT later PRIMARY KEY (id) DEFERRABLE", fixes: "ALTER TABLE events DROP CONSTRAINT later, ADD PRIMARY KEY (id)",
			says: []string{"SQLSTATE 55000", `no usable unique key on ("id")`},
		},
		{
			name: "column that the model does not fill", breaks: "ALTER TABLE events ADD tenant integer NOT NULL", fixes: "ALTER TABLE events ALTER tenant SET DEFAULT 1",
			says: []string{"SQLSTATE 23502", `NOT NULL column "tenant"`, "give it a default"},
		},
		{
			name: "no partition", breaks: "DROP TABLE events; CREATE TABLE events (id bigint PRIMARY KEY, word text, n integer) PARTITION BY RANGE (id)", fixes: "CREATE TABLE part PARTITION OF events DEFAULT",
			says: []string{"SQLSTATE 23514", `no partition of "events"`, "create it"},
		},
		{
			name: "no grant to insert", breaks: "REVOKE INSERT ON events FROM $role", fixes: "GRANT INSERT ON events TO $role", grants: writes,
			says: []string{"SQLSTATE 42501", `the role lacks a grant: INSERT on "events"`, "`sluice check` names what is missing on the tables"},
		},
		{
			name: "no grant to select", breaks: "REVOKE SELECT ON events FROM $role", fixes: "GRANT SELECT ON events TO $role", grants: writes,
			says: []string{"SQLSTATE 42501", "SELECT on the columns of its key"},
		},
		{
			name: "no grant on the schema", breaks: "REVOKE USAGE ON SCHEMA $schema FROM $role", fixes: "GRANT USAGE ON SCHEMA $schema TO $role", grants: writes, qualified: true,
			says: []string{"SQLSTATE 42501", "USAGE on the schema"},
		},
		{
			name:   "no grant for what a trigger does",
			breaks: "CREATE TABLE audit (id bigint); CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO audit VALUES (NEW.id); RETURN NEW; END'; CREATE TRIGGER audit BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION audit()",
			fixes:  "GRANT INSERT ON audit TO $role", grants: writes,
			says: []string{"SQLSTATE 42501"},
		},
		{
			name:   "row-level security that lets nothing in",
			breaks: "ALTER TABLE events ENABLE ROW LEVEL SECURITY", fixes: "ALTER TABLE events DISABLE ROW LEVEL SECURITY", grants: writes,
			says: []string{"SQLSTATE 42501"},
		},
		{
			name: "a trigger without its table", breaks: "CREATE FUNCTION broken() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO nowhere VALUES (NEW.id); RETURN NEW; END'; CREATE TRIGGER broken BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION broken()",
			fixes: "DROP TRIGGER broken ON events",
			says:  []string{"SQLSTATE 42P01"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for _, warm := range []bool{false, true} {
				inModes(t, func(t *testing.T, mode string) {
					s := newSite(t, setup{mode: mode, grants: tt.grants})
					names := strings.NewReplacer("$role", s.user.User, "$schema", s.db.Schema)
					if tt.qualified {
						qualified := *events
						qualified.Schema = s.db.Schema
						s.store = openStore(t, withMode(s.proxy.URL, mode), &qualified)
					}
					if warm {
						s.warm()
					}
					s.db.Exec(t, names.Replace(tt.breaks))
					for i, rows := range [][]row{goods(1, 10), goods(1, 11), goods(1, 100), inGroups("aabbcc", goods(1, 6))} {
						o := s.redeliver(rows...).blames(message.CauseConfiguration, tt.says...)
						if i == 1 && o.trips != o.RoundTrips {
							t.Errorf("%d round trips cost %d on the wire: the connection was good, and was dropped", o.RoundTrips, o.trips)
						}
						for i, v := range o.Verdicts {
							if v.Outcome != message.Returned {
								t.Errorf("row %d is %s", o.ids[i], spell(v))
							}
						}
						if o.RoundTrips > 4 {
							t.Errorf("%d round trips: somebody has to fix something, so another try is pointless", o.RoundTrips)
						}
					}
					s.db.Exec(t, names.Replace(tt.fixes))
					s.insert(goods(1, 10)...).must().inserts(10)
				})
			}
		})
	}
}

// TestFaultsOfTheLogin has errors before the first statement.
func TestFaultsOfTheLogin(t *testing.T) {
	t.Parallel()
	s := newSite(t, setup{grants: writes})
	s.insert(goods(1, 3)...).must()
	for _, tt := range []struct {
		name, url string
		fault     message.Cause
		says      []string
	}{
		{name: "another database", url: strings.Replace(s.user.URL, "/postgres?", "/nowhere?", 1), fault: message.CauseConfiguration, says: []string{"SQLSTATE 3D000", "name of the database"}},
		{name: "an unknown setting", url: withOption(t, s.user.URL, "-cnonsense=1"), fault: message.CauseConfiguration, says: []string{"SQLSTATE 42704"}},
		{name: "read only", url: withOption(t, s.user.URL, "-cdefault_transaction_read_only=on"), fault: message.CauseTransient, says: []string{"SQLSTATE 25006", "replica or read only", "default_transaction_read_only"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			insertInto(t, openStore(t, tt.url, events), goods(11, 3)...).blames(tt.fault, tt.says...).verdicts(verdicts{unconfirmed: "11-13"})
		})
	}
}

// TestAMissingPartition has rows without a partition beside others with one: those are stored, and
// these are returned until it is fixed.
func TestAMissingPartition(t *testing.T) {
	t.Parallel()
	inModes(t, func(t *testing.T, mode string) {
		for _, ordered := range []bool{false, true} {
			for _, n := range []int{10, 100} {
				s := newSite(t, setup{mode: mode, sql: `CREATE TABLE events (id bigint, word text, n integer, tx xid8 DEFAULT pg_current_xact_id(), PRIMARY KEY (id)) PARTITION BY RANGE (id);
					CREATE TABLE old PARTITION OF events FOR VALUES FROM (0) TO (8);` + noBadWord})
				rows := goods(1, n)
				badWord(&rows[1])
				if ordered {
					rows[6].group, rows[7].group = 1, 1
					rows[n-2].group, rows[n-1].group = 2, 2
				}
				missing, kept := fmt.Sprintf("8-%d", n), "1 3-7"
				want := verdicts{stored: kept, configuration: missing, rejected(byNoBadWord): "2"}
				if ordered { // the last row is not tried, as the one before it must wait
					want = verdicts{stored: kept, configuration: fmt.Sprintf("8-%d", n-1), afterStopped: fmt.Sprint(n), rejected(byNoBadWord): "2"}
				}
				s.insert(rows...).verdicts(want).inserts(6).blames(message.CauseConfiguration, `no partition of "events"`, "create it")
				if got := s.stored(); got != kept {
					t.Errorf("stored %s, want %s", got, kept)
				}
				s.db.Exec(t, "CREATE TABLE new PARTITION OF events FOR VALUES FROM (8) TO (1000)")
				s.insert(rows...).want(verdicts{stored: "1 3-" + fmt.Sprint(n), rejected(byNoBadWord): "2"}).inserts(n - 7)
			}
		}
	})
}

// overdue is a context whose deadline passes when it is cancelled: at the moment that a test wants,
// however slow the machine is.
type overdue struct{ context.Context }

// Err implements context.Context.
func (o overdue) Err() error {
	if o.Context.Err() == nil {
		return nil
	}
	return context.DeadlineExceeded
}

// TestALockIsHeldPastTheDeadline wants Insert to end in time and to name the reason, and nothing of
// it to go on waiting for the lock.
func TestALockIsHeldPastTheDeadline(t *testing.T) {
	t.Parallel()
	const n = 60
	refused := func(rows []row) { badWord(&rows[0]) }
	for _, tt := range []struct {
		name  string
		rows  []row
		spoil func(rows []row)
		lock  func(s *site) (release func())
	}{
		{name: "the table", rows: goods(1, n), lock: func(s *site) func() { return s.inTransaction("LOCK TABLE events IN ACCESS EXCLUSIVE MODE") }},
		{name: "a row", rows: goods(1, n), lock: func(s *site) func() { return s.hold(30) }},
		{name: "a row, when another one is refused", rows: goods(1, n), spoil: refused, lock: func(s *site) func() { return s.hold(30) }},
		{name: "many rows, when another one is refused", rows: goods(1, n), spoil: refused, lock: func(s *site) func() { return s.hold(idsFrom(10, n)...) }},
		{name: "many rows of a large batch, when another one is refused", rows: goods(1, 10*n), spoil: refused, lock: func(s *site) func() { return s.hold(idsFrom(10, 10*n)...) }},
		{name: "a row of a FIFO batch", rows: inGroups(strings.Repeat("a", n), goods(1, n)), spoil: refused, lock: func(s *site) func() { return s.hold(30) }},
	} {
		for _, ends := range []struct {
			name string
			when func(ctx context.Context, s *site) (context.Context, context.CancelFunc)
			want error
		}{
			{name: "deadline", want: context.DeadlineExceeded, when: func(ctx context.Context, s *site) (context.Context, context.CancelFunc) {
				ctx, cancel := context.WithCancel(ctx)
				s.whenItWaits(cancel)
				return overdue{ctx}, cancel
			}},
			{name: "canceled", want: context.Canceled, when: func(ctx context.Context, s *site) (context.Context, context.CancelFunc) {
				ctx, cancel := context.WithCancel(ctx)
				s.whenItWaits(cancel)
				return ctx, cancel
			}},
		} {
			t.Run(tt.name+", "+ends.name, func(t *testing.T) {
				t.Parallel()
				s := newSite(t, setup{sql: createEvents + noBadWord})
				s.warm()
				release := tt.lock(s)
				rows := append([]row{}, tt.rows...)
				if tt.spoil != nil {
					tt.spoil(rows)
				}
				ctx, cancel := ends.when(t.Context(), s)
				defer cancel()
				o := s.insertBy(ctx, rows...)
				if !errors.Is(o.err, ends.want) {
					t.Errorf("got error %v, want one that is %v", o.err, ends.want)
				}
				o.blames(message.CauseTransient).verdicts(verdicts{unconfirmed: fmt.Sprintf("1-%d", len(rows))}).inserts(0)
				if s.proxy.Cancels() == 0 {
					t.Error("the server was not told to stop")
				}
				// The lock is still held: what waits for it now would wait on.
				eventually(t, "nothing waits for the lock", func() bool { return !s.waits() })
				release()
				s.insert(goods(1, 3)...).must()
			})
		}
	}
}

// TestWeAreGoneInTheMiddle lets the network go silent between the two round trips of a search: the
// server ends the transaction by itself, and others can store the rows.
func TestWeAreGoneInTheMiddle(t *testing.T) {
	t.Parallel()
	const n = 400
	s := newSite(t, setup{sql: createEvents + noBadWord})
	s.warm()
	rows := goods(1, n)
	badWord(&rows[0])
	release := s.hold(n - 10)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s.whenItWaits(func() {
		s.proxy.Silence()
		release()
		waiting, enough := context.WithTimeout(t.Context(), time.Minute)
		defer enough()
		result, err := openStore(t, s.db.URL, events).Insert(waiting, batchOf(rows[n/2:])) // waits for the transaction
		if err != nil || result.Tallies.Sum().Inserted != n/2 {
			t.Errorf("another delivery has %d new rows and error %v, want %d and none", result.Tallies.Sum().Inserted, err, n/2)
		}
		cancel()
	})
	s.insertBy(ctx, rows...).verdicts(verdicts{unconfirmed: fmt.Sprintf("1-%d", n)})
}

// TestTheDeadlineHasPassedAlready shows that nothing is begun then.
func TestTheDeadlineHasPassedAlready(t *testing.T) {
	t.Parallel()
	s := newSite(t, setup{})
	s.warm()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	o := s.insertBy(ctx, goods(1, 3)...)
	if !errors.Is(o.err, context.Canceled) {
		t.Errorf("got error %v, want %v", o.err, context.Canceled)
	}
	o.verdicts(verdicts{unconfirmed: "1-3"})
	if got := s.stored(); got != "" || s.proxy.RoundTrips() != 0 {
		t.Errorf("stored %q with %d round trips, want nothing", got, s.proxy.RoundTrips())
	}
}

// TestALockThatIsReleasedInTime shows that waiting alone is no fault.
func TestALockThatIsReleasedInTime(t *testing.T) {
	t.Parallel()
	s := newSite(t, setup{})
	s.warm()
	s.whenItWaits(s.hold(2))
	s.insert(goods(1, 3)...).must().inserts(3).costs(1)
}

// TestConnectionsDieWhileNobodyUsesThem has more dead idle connections than a batch has attempts:
// one attempt on any of them must be enough.
func TestConnectionsDieWhileNobodyUsesThem(t *testing.T) {
	t.Parallel()
	s := newSite(t, setup{})
	const many = 8
	release := s.hold(1) // so that all are in use at once
	var inserts sync.WaitGroup
	for range many {
		inserts.Go(func() {
			if _, err := s.store.Insert(t.Context(), batchOf(goods(1, 1))); err != nil {
				t.Error(err)
			}
		})
	}
	eventually(t, "all connections are in use", func() bool {
		return s.sessions("wait_event_type = 'Lock'") == many
	})
	release()
	inserts.Wait()
	s.proxy.Cut()
	s.insert(goods(2, 10)...).must().inserts(10)
	if got := s.stored(); got != "1-11" {
		t.Errorf("stored %s, want 1-11", got)
	}
}

// TestStoredWhileItIsRefused refuses a row whose key another delivery stores after the look-up of the
// search and before its commit. It is a duplicate, as it is when it was there before.
func TestStoredWhileItIsRefused(t *testing.T) {
	t.Parallel()
	for _, n := range []int{2, 100} { // one round trip of a search, and two
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			// A function that uses no tables can have stored nothing.
			s := newSite(t, setup{sql: createEvents + noBadWord + `;
				CREATE FUNCTION stamps() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.n = 7; RETURN NEW; END $$;
				CREATE TRIGGER stamps BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION stamps()`})
			rows := goods(1, n)
			rows[0].word = canary + "bad"
			release := s.hold(2)
			s.whenItWaits(func() {
				s.db.Exec(t, "INSERT INTO events (id) VALUES (1)")
				release()
			})
			s.insert(rows...).want(verdicts{stored: fmt.Sprintf("1-%d", n)}).inserts(n - 1)
		})
	}
}

// TestOverlappingBatchesFromMany inserts the same rows by many connections at once, each in the
// order of the key: nobody deadlocks, and every row is new for one of them.
func TestOverlappingBatchesFromMany(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, sql string
		trips     int // at most
	}{
		{name: "the key alone", sql: createEvents, trips: 2},
		// A row can be refused by the other key when it is stored at the same time: one batch more
		// is searched.
		{name: "and another unique key", sql: oneWord, trips: 5},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			inModes(t, func(t *testing.T, mode string) {
				const workers, rounds, pool, size = 6, 25, 1500, 60
				s := newSite(t, setup{sql: tt.sql, mode: mode})
				var working sync.WaitGroup
				var mu sync.Mutex
				inserted, most := 0, 0
				all := map[int64]bool{}
				for w := range workers {
					working.Go(func() {
						r := rand.New(rand.NewPCG(uint64(w), 9))
						for round := range rounds {
							first := int64(round * pool / rounds) // all are about the same rows at the same time
							var rows []row
							for _, i := range r.Perm(2 * size)[:size] {
								rows = append(rows, good(first+int64(i)))
							}
							result, err := s.store.Insert(t.Context(), batchOf(rows))
							if err != nil {
								t.Error(err)
							}
							for _, v := range result.Verdicts {
								if v.Outcome != message.Stored {
									t.Errorf("a row is %s", spell(v))
								}
							}
							mu.Lock()
							inserted += result.Tallies.Sum().Inserted
							most = max(most, result.RoundTrips)
							for _, r := range rows {
								all[r.id] = true
							}
							mu.Unlock()
						}
					})
				}
				working.Wait()
				if got, want := s.stored(), ranges(keysOf(all)); got != want {
					t.Errorf("stored %s, want %s", got, want)
				}
				if inserted != len(all) {
					t.Errorf("the results say that %d rows are new, want %d", inserted, len(all))
				}
				if most > tt.trips {
					t.Errorf("a batch took %d round trips, want at most %d: something was tried again", most, tt.trips)
				}
			})
		})
	}
}

// TestURLsThatAreNone shows that no complaint quotes a password.
func TestURLsThatAreNone(t *testing.T) {
	t.Parallel()
	const (
		form  = "DATABASE_URL is not a valid URL; expected postgres://user:password@host:5432/database ("
		query = "DATABASE_URL is not a valid URL; expected postgres://user:password@host:5432/database?name=value&name=value ("
	)
	for url, want := range map[string]string{
		"postgres://user:" + canary + "@host:port/db":                                form,
		"postgres://user:" + canary + "@host:99999/db":                               form,
		"postgres://user:" + canary + "%zz@host/db":                                  form,
		"host=localhost password=" + canary:                                          form,
		"mysql://user:" + canary + "@host/db":                                        form,
		"postgres://user:" + canary + "@host/db?sslmode=nonsense":                    "DATABASE_URL: sslmode is not valid: it can be disable, allow, prefer, require, verify-ca or verify-full",
		"postgres://user:" + canary + "@host/db?connect_timeout=soon&sslmode=" + "x": "DATABASE_URL: connect_timeout is not valid: it can be a number of seconds, and DATABASE_URL: sslmode is not valid",
		"postgres://user:x@host/db?connect_timeout=" + canary:                        "DATABASE_URL: connect_timeout is not valid",
		"postgres://user:" + canary + "/@host/db":                                    form,
		"postgres://user:x@" + canary + ":y@host/db":                                 form,
		"postgres://user:x@" + canary + "@host,other/db?sslmode=disable":             form,
		"postgres://user:x@" + canary + "@localhost/db":                              form,
		"postgres://user:1/" + canary + "@localhost/db":                              form,
		"postgres://user:x/" + canary + "@localhost/db":                              form,
		"postgres://user:x?" + canary + "@" + canary + "@localhost/db":               form,
		"postgres://user:x@" + canary + "@host/db":                                   form,
		"postgres://user:x@" + canary + ",y@host/db":                                 form,
		"postgres://user:x@" + canary + "/y@host/db":                                 form,
		"postgres://user:5432/" + canary + "@host/db":                                form,
		"postgres://user:" + canary + "@host/db?options=-c geqo=off":                 query,
		"postgres://user:" + canary + "@host/db?geqo":                                query,
		"postgres://user:" + canary + "@host/db?=" + canary:                          query,
		"postgres://user:" + canary + "@host/db?geqo=%zz" + canary:                   query,
		"postgres://u@host/db?sslrootcert=/nowhere/ca.pem":                           "DATABASE_URL: sslrootcert: /nowhere/ca.pem: no such file or directory",
		"postgres://u@host/db?sslcert=/nowhere/c&sslkey=/nowhere/k":                  "DATABASE_URL: sslkey: /nowhere/k: no such file or directory",
		"postgres://u@host/db?sslcert=/nowhere/c":                                    "DATABASE_URL: sslcert is not valid",
		"postgres://u@host/db?sslkey=/nowhere/k":                                     "DATABASE_URL: sslkey is not valid",
		"postgres://u@host/db?target_session_attrs=" + canary:                        "DATABASE_URL: target_session_attrs is not valid: it can be any, read-write",
		"postgres://u@host/db?channel_binding=" + canary:                             "DATABASE_URL: channel_binding is not valid: it can be disable, prefer or require",
		"postgres://u@host/db?require_auth=" + canary:                                "DATABASE_URL: require_auth is not valid",
		"postgres://u@host/db?sslcertmode=" + canary:                                 "DATABASE_URL: sslcertmode is not valid",
		"postgres://u@host/db?default_query_exec_mode=" + canary:                     "DATABASE_URL: default_query_exec_mode is not valid: it can be cache_statement",
		"postgres://u@host/db?statement_cache_capacity=" + canary:                    "DATABASE_URL: statement_cache_capacity is not valid",
		"postgres://u@host/db?min_protocol_version=3.2&max_protocol_version=3.0":     "DATABASE_URL: min_protocol_version is not valid",
		"postgres://u@host/db?service=" + canary:                                     "DATABASE_URL: service is not valid",
		"postgres://u@a:1,b:2/db?port=1,2,3":                                         "DATABASE_URL",
		"postgres://u@host/db?sslnegotiation=" + canary:                              "DATABASE_URL: sslnegotiation is not valid: it can be postgres or direct",
		"postgres://u@host/db?application_name=a;sslmode=disable":                    query,
		"postgres://u@host/db?sslsni=" + canary:                                      "DATABASE_URL: sslsni is not valid: it can be 0 or 1",
	} {
		_, err := postgres.Open(url, []*batch.Table{events}, mainNames)
		if err == nil {
			t.Errorf("%s passes", url)
		} else if !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), canary) {
			t.Errorf("%s: %v, want %s", url, err, want)
		}
	}
}

// TestWithoutNames has a caller that gives none: errors name no setting and no command.
func TestWithoutNames(t *testing.T) {
	t.Parallel()
	if _, err := postgres.Open("mysql://db", []*batch.Table{events}); err == nil || !strings.HasPrefix(err.Error(), "the database's URL is not a valid URL") {
		t.Errorf("got %v", err)
	}
	store, err := postgres.Open(pgtest.New(t).URL, []*batch.Table{events})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	if f := fault.Of(store.Ping(t.Context())); f == nil || f.Remedy != `create the table "events"` {
		t.Errorf("got %v", f)
	}
}

// TestVariablesThatAreNotValid: pgx reads the variables of libpq, and an error names the variable,
// not the URL.
func TestVariablesThatAreNotValid(t *testing.T) { //nolint:paralleltest // variables of the process
	for name, value := range map[string]string{
		"PGSSLROOTCERT": "/nowhere/ca.pem", "PGSSLMODE": "nonsense", "PGSSLCERT": "/nowhere/c", "PGSSLKEY": "/nowhere/k", "PGCONNECT_TIMEOUT": "soon",
		"PGTARGETSESSIONATTRS": "nonsense", "PGPORT": "none", "PGSERVICE": "nowhere", "PGCHANNELBINDING": "nonsense", "PGREQUIREAUTH": "nonsense",
		"PGMINPROTOCOLVERSION": "1", "PGMAXPROTOCOLVERSION": "1", "PGSSLCERTMODE": "nonsense", "PGSSLNEGOTIATION": "nonsense", "PGSSLSNI": "nonsense",
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(name, value)
			_, err := postgres.Open("postgres://user@db.example.com/app", []*batch.Table{events}, mainNames)
			if err == nil || !strings.HasPrefix(err.Error(), name) || strings.Contains(err.Error(), "DATABASE_URL") {
				t.Errorf("got %v, want an error that begins with %s", err, name)
			}
		})
	}
}

// TestTheURLIsTakenAsItIsWritten has what other parsers change.
func TestTheURLIsTakenAsItIsWritten(t *testing.T) {
	t.Parallel()
	s := newSite(t, setup{})
	// A space between two options, and a plus in a value.
	url := withOption(t, s.db.URL, "-cstatement_timeout=54321ms")
	url = withOption(t, url, "-csluice.text=one+two")
	s.db.Exec(t, `CREATE FUNCTION settings() RETURNS text RETURN concat_ws(' ', current_setting('statement_timeout'), current_setting('sluice.text', true), current_setting('application_name'));
		ALTER TABLE events ADD settings text DEFAULT settings()`)
	store := openStore(t, url, events)
	if _, err := store.Insert(t.Context(), batchOf(goods(1, 1))); err != nil {
		t.Fatal(err)
	}
	if got, want := s.db.Rows(t, "SELECT settings FROM events")[0][0], "54321ms one+two "+s.db.Schema; got != want {
		t.Errorf("the session has %q, want %q", got, want)
	}
}

// TestPing: what is wrong for every row shows without one, and what a row might be refused for does
// not.
func TestPing(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, sql, want string }{
		{"as it should be", "SELECT 1", ""},
		{"no grant", "REVOKE INSERT ON events FROM %s", "42501"},
		{"a statement that is refused for a value", `CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'x' USING ERRCODE = 'check_violation'; END $$;
			CREATE TRIGGER t BEFORE INSERT ON events FOR EACH STATEMENT EXECUTE FUNCTION refuse()`, ""},
		{"the table is gone", "DROP TABLE events", "42P01"},
		{"no key", "ALTER TABLE events DROP CONSTRAINT events_pkey", "42P10"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, setup{})
			writer := s.db.Role(t, writes)
			store := openStore(t, writer.URL, events)
			if err := store.Ping(t.Context()); err != nil {
				t.Fatal(err)
			}
			s.db.Exec(t, strings.Replace(tt.sql, "%s", writer.User, 1))
			err := store.Ping(t.Context())
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

// TestAnEmptyBatchCostsNothing needs no database at all.
func TestAnEmptyBatchCostsNothing(t *testing.T) {
	t.Parallel()
	store := openStore(t, "postgres://nobody@127.0.0.1:1/nowhere", events)
	result, err := store.Insert(t.Context(), batch.New(events))
	if err != nil || len(result.Verdicts) != 0 || result.RoundTrips != 0 {
		t.Errorf("got %+v, %v", result, err)
	}
}
