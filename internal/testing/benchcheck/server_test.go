package benchcheck_test

import (
	"fmt"
	"testing"
	"time"

	"example.com/owner/sluice/internal/handler"
	"example.com/owner/sluice/internal/ingest"
	"example.com/owner/sluice/internal/model"
	"example.com/owner/sluice/internal/testing/pgtest"
	"example.com/owner/sluice/models"
)

// delay is what the proxy takes in each direction, so that the client waits for every round trip,
// however fast the server is.
const delay = 3 * time.Millisecond

// refusedLocale is a value that the tables refuse.
const refusedLocale = "xx"

// server is a Postgres for this check alone, with the tables of both forms.
type server struct {
	dbs map[string]*pgtest.DB // by form
}

// forms are the two forms of the statement, and a model of each.
var forms = []struct{ name, model string }{
	{"keyed", "user_logins"},
	{"ledger", "user_logins_plain"},
}

// newServer starts the server. What it writes to its log by itself (checkpoints, autovacuum) is
// switched off. What remains, snapshots for a standby, is in the one or the other round, and the
// minimum of several rounds is without it.
func newServer(t *testing.T) *server {
	t.Helper()
	own := pgtest.NewServer(t, pgtest.ServerConfig{Parameters: map[string]string{
		"autovacuum": "off", "checkpoint_timeout": "1h", "max_wal_size": "10GB",
	}})
	s := &server{dbs: map[string]*pgtest.DB{}}
	for _, form := range forms {
		m, err := model.Load(form.model, models.FS)
		if err != nil {
			t.Fatal(err)
		}
		s.dbs[form.name] = own.New(t, append(m.DDL(), "ALTER TABLE user_logins ADD CONSTRAINT known_locale CHECK (locale <> '"+refusedLocale+"')")...)
	}
	return s
}

// version returns the server's major version.
func (s *server) version(t *testing.T) string {
	t.Helper()
	return fmt.Sprint(s.dbs["keyed"].Count(t, "SELECT current_setting('server_version_num')::bigint / 10000"))
}

// batchCase is a kind of batch: what is stored before it, and what must become of it.
type batchCase struct {
	name   string
	sizes  []int
	event  func(all span) (event []byte, err error)
	before func(all span) span // what an earlier batch has stored
	want   func(n int) outcome
}

var batchCases = []batchCase{
	{
		name: "first", sizes: []int{1, 10, 100, 1000, 6000},
		event: func(all span) ([]byte, error) { return all.event(1, -1) },
		want:  func(n int) outcome { return outcome{inserted: n} },
	},
	{
		name: "redelivered", sizes: []int{10, 1000},
		before: func(all span) span { return all },
		event:  func(all span) ([]byte, error) { return all.event(2, -1) },
		want:   func(n int) outcome { return outcome{duplicate: n} },
	},
	{ // SQS delivers a message twice, and says of both that it is the first time
		name: "one-repeated", sizes: []int{10, 1000},
		before: func(all span) span { return span{all.first + all.n/2, 1} },
		event:  func(all span) ([]byte, error) { return all.event(1, -1) },
		want:   func(n int) outcome { return outcome{inserted: n - 1, duplicate: 1} },
	},
	{
		name: "one-refused", sizes: []int{10, 1000},
		event: func(all span) ([]byte, error) { return all.event(1, all.first+all.n/2) },
		want:  func(n int) outcome { return outcome{inserted: n - 1, rejected: 1} },
	},
}

// cost is what a batch cost. Each is the least of several rounds: what disturbs a round only adds.
type cost struct {
	trips               int
	wal, sent, received float64
}

// batches measures batches of each case in both forms. It returns the round trips of each, and what
// a row costs in those of 1,000 rows and more, and of one.
func (s *server) batches(t *testing.T) (values []measured) {
	t.Helper()
	for _, form := range forms {
		db := s.dbs[form.name]
		proxy := pgtest.NewProxy(t, db.URL)
		proxy.SetDelay(delay)
		h, last, stop := newHandler(t.Context(), form.model, proxy.URL)
		t.Cleanup(stop)
		next := 0
		take := func(n int) span { next += n; return span{next - n, n} }
		warm, err := take(10).event(1, -1)
		if err != nil {
			t.Fatal(err)
		}
		invoke(t, h, last, warm, outcome{inserted: 10})
		for _, c := range batchCases {
			for _, n := range c.sizes {
				least := cost{}
				for round := range rounds(n) {
					now := s.measure(t, db, proxy, h, last, c, take(n))
					if round == 0 {
						least = now
					}
					least = cost{min(least.trips, now.trips), min(least.wal, now.wal), min(least.sent, now.sent), min(least.received, now.received)}
				}
				name := fmt.Sprintf("%s/%s/n=%d", form.name, c.name, n)
				values = append(values, measured{"round-trips/" + name, float64(least.trips)})
				if n == 1 || n >= 1000 {
					values = append(values, measured{"wal-bytes-per-row/" + name, least.wal / float64(n)},
						measured{"bytes-sent-per-row/" + name, least.sent / float64(n)}, measured{"bytes-received-per-batch/" + name, least.received})
				}
			}
		}
	}
	return values
}

// rounds is how often a batch of n messages is measured.
func rounds(n int) int {
	if n >= 1000 {
		return 3
	}
	return 8
}

// measure returns what one batch costs.
func (s *server) measure(t *testing.T, db *pgtest.DB, proxy *pgtest.Proxy, h *handler.Handler, last *ingest.Report, c batchCase, all span) cost {
	t.Helper()
	if c.before != nil {
		earlier := c.before(all)
		event, err := earlier.event(1, -1)
		if err != nil {
			t.Fatal(err)
		}
		invoke(t, h, last, event, outcome{inserted: earlier.n})
	}
	event, err := c.event(all)
	if err != nil {
		t.Fatal(err)
	}
	const written = "SELECT (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint"
	before := db.Count(t, written)
	proxy.Reset()
	invoke(t, h, last, event, c.want(all.n))
	trips := proxy.RoundTrips()
	sent, received := proxy.Bytes()
	return cost{trips, float64(db.Count(t, written) - before), float64(sent), float64(received)}
}
