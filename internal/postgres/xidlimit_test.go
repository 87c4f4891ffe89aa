//go:build xidlimit

// `make xidlimit-test` takes a scratch cluster to the limit of transaction ids, where Postgres
// gives out no more ("database is not accepting commands that assign new transaction IDs to avoid
// wraparound data loss"). To get there by transactions would take two thousand million of them. The
// test does it in seconds:
//
//  1. A logical replication slot that nobody reads holds VACUUM back from the catalog. Without it
//     autovacuum, which starts by itself on a cluster that is so old, would be faster than we are. (A
//     prepared transaction would do, too, but the start would fill pg_subtrans from its id on: 8 GB.)
//  2. The limit is 3,000,000 ids before the one that is 2³¹ after the oldest datfrozenxid. With the
//     cluster shut down, `pg_resetwal -x` sets the next id to a little less, and dd writes the segment
//     of pg_xact that the id belongs to: a file of 256 KiB, zeros, named by the id / 2²⁰ in four
//     hexadecimal digits. Without it the cluster does not start.
//  3. Started again, it gives out the rest of the ids, one for each transaction, and then says 54000.
//
// What has to be shown there: the same SQLSTATE is that of an index row which is too long, the
// fault of a row; here no row is at fault. And after the remedy (end what holds VACUUM back, VACUUM
// every database, as a superuser and without single-user mode) all rows are stored.
//
// pg_resetwal comes with a packaged Postgres. Fetched binaries lack it.

package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/testing/pgtest"
)

const (
	slot     = "holds_vacuum_back"
	idsAhead = 200 // transaction ids that are left when the cluster starts
)

func TestTransactionIDLimit(t *testing.T) {
	server := pgtest.NewServer(t, pgtest.ServerConfig{Parameters: map[string]string{"wal_level": "logical"}})
	if out, err := server.Command(t, "pg_resetwal", "--version").CombinedOutput(); err != nil {
		t.Fatalf("this Postgres has no pg_resetwal; install a packaged one (postgresql of most systems): %v\n%s", err, out)
	}
	admin := server.New(t)
	var sources []*source
	for _, k := range kinds {
		for _, mode := range modes {
			s := newSource(t, k, server, mode)
			s.name += ", mode=" + mode
			s.delivered(1)
			sources = append(sources, s)
		}
	}
	admin.Exec(t, "ALTER DATABASE template0 ALLOW_CONNECTIONS true") // for the VACUUM at the end
	admin.Exec(t, "SELECT pg_create_logical_replication_slot($1, 'pgoutput')", slot)

	admin = takeToTheLimit(t, server, admin)
	for _, s := range sources {
		s.proxy.Redirect(t, server.URL())
		t.Run(s.name, func(t *testing.T) {
			s := s.in(t)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			for range 2 { // the second time by a connection that is warm
				s.nobodysFault(s.deliver(ctx, 1001))
			}
			s.holds(server.Has(t, s.db), 1)
		})
	}

	admin.Exec(t, "SELECT pg_drop_replication_slot($1)", slot)
	for _, database := range []string{"template0", "template1", "postgres"} {
		vacuum(t, server.URL(), database)
	}
	eventually(t, "there are transaction ids", func() bool { return newID(t, admin) == nil })
	for _, s := range sources {
		t.Run(s.name+", after VACUUM", func(t *testing.T) {
			s := s.in(t)
			s.delivered(1001)
			s.holds(server.Has(t, s.db), 1, 1001)
		})
	}
}

// nobodysFault wants a configuration error, and that every row that the database would take is
// returned.
func (s *source) nobodysFault(o *outcome) {
	s.Helper()
	if cause := causeOf(o.err); cause != message.CauseConfiguration {
		s.Errorf("got error %v with cause %q, want one with cause %q", o.err, cause, message.CauseConfiguration)
	}
	wrong := map[string][]int64{}
	for i, v := range o.Verdicts {
		if id := o.ids[i]; v.Outcome == message.Stored || v.Outcome == message.Rejected && !s.refuses(id) {
			wrong[spell(v)] = append(wrong[spell(v)], id)
		}
	}
	for verdict, ids := range compress(wrong) {
		s.Errorf("rows %s are %s, want them returned", ids, verdict)
	}
}

// takeToTheLimit returns the database on the restarted server.
func takeToTheLimit(t *testing.T, server *pgtest.Server, db *pgtest.DB) *pgtest.DB {
	t.Helper()
	next := db.Count(t, "SELECT min(datfrozenxid::text::bigint) FROM pg_database") + 1<<31 - 1 - 3_000_000 - idsAhead
	server.Shutdown(t)
	for _, command := range [][]string{
		{"pg_resetwal", "-x", fmt.Sprint(next), "."},
		{"dd", "if=/dev/zero", fmt.Sprintf("of=pg_xact/%04X", next>>20), "bs=256k", "count=1"},
	} {
		if out, err := server.Command(t, command[0], command[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", command, err, out)
		}
	}
	server.Resume(t)
	db = server.Has(t, db)
	if got := db.Count(t, "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint"); got < next || got > next+idsAhead {
		t.Fatalf("the next transaction id is %d, want about %d", got, next)
	}
	for used := 0; ; used++ {
		err := newID(t, db)
		if err == nil && used <= idsAhead {
			continue
		}
		server, ok := errors.AsType[*pgconn.PgError](err)
		if !ok || server.Code != "54000" || server.Routine != "GetNewTransactionId" {
			t.Fatalf("after %d transaction ids: %v, want the end of them", used, err)
		}
		t.Logf("after %d transaction ids: %v", used, server)
		return db
	}
}

// newID asks for a transaction id, in a transaction of its own.
func newID(t *testing.T, db *pgtest.DB) error {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), db.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	_, err = conn.Exec(t.Context(), "SELECT pg_current_xact_id()")
	return err
}

func vacuum(t *testing.T, server, database string) {
	t.Helper()
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	u.Path = "/" + database
	conn, err := pgx.Connect(t.Context(), u.String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if _, err := conn.Exec(t.Context(), "VACUUM"); err != nil {
		t.Fatalf("VACUUM of %s: %v", database, err)
	}
}
