package pgtest_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"example.com/owner/sluice/internal/testing/pgtest"
)

func TestServerOfOnesOwn(t *testing.T) {
	t.Parallel()
	s := pgtest.NewServer(t, pgtest.ServerConfig{Parameters: map[string]string{"work_mem": "1MB"}})
	db := s.New(t, "CREATE TABLE things (name text)")
	if got := db.Rows(t, "SHOW work_mem")[0][0]; got != "1MB" {
		t.Errorf("work_mem is %s", got)
	}
	role := db.Role(t, func(role string) []string { return []string{"GRANT INSERT ON things TO " + role} })
	role.Exec(t, "INSERT INTO things VALUES ('kept')")
	s.Shutdown(t)
	s.Resume(t)
	if got := s.Has(t, db).Count(t, "SELECT count(*) FROM things"); got != 1 {
		t.Errorf("%d rows are left, want 1", got)
	}
	s.Has(t, role).Exec(t, "INSERT INTO things VALUES (current_user)")
	if got := s.Has(t, db).Count(t, "SELECT count(*) FROM things WHERE name = $1", role.User); got != 1 {
		t.Errorf("the role is another one after the start: %v", s.Has(t, db).Rows(t, "SELECT name FROM things"))
	}
}

// TestPair shows that a COMMIT waits for the standby, and what is lost with a primary.
func TestPair(t *testing.T) {
	t.Parallel()
	pair := pgtest.NewPair(t)
	db := pair.Primary.New(t, "CREATE TABLE things (name text)")
	proxy := pgtest.NewProxy(t, db.URL)
	insert := func(ctx context.Context, name string) error {
		conn, err := pgx.Connect(t.Context(), proxy.URL)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(t.Context())
		_, err = conn.Exec(ctx, "INSERT INTO things VALUES ($1)", name)
		return err
	}
	for range 2 {
		if err := insert(t.Context(), "confirmed"); err != nil {
			t.Fatal(err)
		}
		pair.StopStandby(t)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- insert(ctx, "only here") }()
		waits := func() bool {
			return db.Count(t, "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1 AND wait_event = 'SyncRep'", db.Schema) == 1
		}
		for deadline := time.Now().Add(time.Minute); !waits(); time.Sleep(5 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("a minute has passed, and still no COMMIT waits for the standby")
			}
		}
		select {
		case err := <-done:
			t.Errorf("a COMMIT did not wait for the standby: %v", err)
		default:
		}
		cancel()
		if err := <-done; err == nil {
			t.Error("a COMMIT whose wait was given up says that it succeeded")
		}
		pair.ResumeStandby(t)
	}
	pair.StopStandby(t)
	db.Exec(t, "INSERT INTO things VALUES ('lost')") // a helper waits for no standby
	pair.FailOver(t)
	proxy.Redirect(t, pair.Standby.URL())
	if err := insert(t.Context(), "after it"); err != nil {
		t.Fatal(err)
	}
	promoted := pair.Standby.Has(t, db)
	if got := promoted.Count(t, "SELECT count(*) FROM things WHERE name IN ('confirmed', 'after it')"); got != 3 {
		t.Errorf("the promoted server has %d of the confirmed rows, want 3", got)
	}
	if got := promoted.Count(t, "SELECT count(*) FROM things WHERE name = 'lost'"); got != 0 {
		t.Error("the promoted server has what the primary alone had")
	}
}

// TestPairFailsOverWithARunningStandby loses nothing.
func TestPairFailsOverWithARunningStandby(t *testing.T) {
	t.Parallel()
	pair := pgtest.NewPair(t)
	db := pair.Primary.New(t, "CREATE TABLE things (name text)")
	if _, err := db.Conn(t).Exec(t.Context(), "INSERT INTO things VALUES ('confirmed')"); err != nil {
		t.Fatal(err)
	}
	pair.FailOver(t)
	if got := pair.Standby.Has(t, db).Count(t, "SELECT count(*) FROM things"); got != 1 {
		t.Errorf("the promoted server has %d rows, want 1", got)
	}
}
