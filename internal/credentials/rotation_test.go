package credentials_test

import (
	"fmt"
	neturl "net/url"
	"os"
	"strings"
	"testing"
	"time"

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/fault"
	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/postgres"
	"example.com/owner/sluice/internal/testing/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// events is a table of one column.
var events = &batch.Table{Name: "events", Columns: []batch.Column{{Name: "id", Kind: batch.Text, Type: "text", NotNull: true}}, Key: []int{0}}

// tenant is a store whose login is in a secret, and a role on a real server.
type tenant struct {
	*installation
	t     *testing.T
	db    *pgtest.DB
	role  *pgtest.DB
	store *postgres.Store
	host  *neturl.URL
	rows  int
}

func newTenant(t *testing.T) *tenant {
	t.Helper()
	db := pgtest.New(t, "CREATE TABLE events (id text PRIMARY KEY)")
	role := db.Role(t, func(role string) []string { return []string{"GRANT SELECT, INSERT ON events TO " + role} })
	u, err := neturl.Parse(role.URL)
	if err != nil {
		t.Fatal(err)
	}
	x := &tenant{installation: install(t, ""), t: t, db: db, role: role, host: u}
	password, _ := u.User.Password()
	x.publish(password)
	// Host, port, user and password of the URL lead nowhere: the secret has them.
	said := *u
	said.Host, said.User = "nowhere.invalid:1", neturl.UserPassword("nobody", "url-"+canary)
	x.store, err = postgres.Open(said.String(), []*batch.Table{events}, postgres.WithLogins(x.Database))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(x.store.Close)
	return x
}

// publish writes the secret.
func (x *tenant) publish(password string) {
	x.set(answer{secret: fmt.Sprintf(`{"username":%q,"password":%q,"host":%q,"port":%q,"engine":"postgres"}`, x.role.User, password, x.host.Hostname(), x.host.Port())})
}

// rotate sets the password in the database, and ends the sessions of the old one.
func (x *tenant) rotate(password string) {
	x.db.Exec(x.t, "ALTER ROLE "+x.role.User+" PASSWORD '"+password+"'")
	x.db.Exec(x.t, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1", x.role.User)
}

func (x *tenant) insert() error {
	x.rows++
	b := batch.New(events)
	b.Begin(0, 0)
	b.String(fmt.Sprint("row-", x.rows))
	b.End()
	_, err := x.store.Insert(x.t.Context(), b)
	return err
}

// TestRotationOnARealServer rotates the password under a warm store.
func TestRotationOnARealServer(t *testing.T) {
	t.Parallel()
	x := newTenant(t)
	if err := x.insert(); err != nil {
		t.Fatal(err)
	}
	x.turn(time.Minute)

	x.rotate("two-" + canary)
	x.publish("two-" + canary)
	if err := x.insert(); err != nil {
		t.Errorf("after a rotation: %v", err)
	}
	if n := x.count(); n != 2 {
		t.Errorf("%d calls, want 2", n)
	}

	// The gap of a rotation: the database is ahead of the secret.
	x.turn(time.Minute)
	x.rotate("three-" + canary)
	err := x.insert()
	if err == nil {
		t.Fatal("the refused login was stored with")
	}
	if fault.Cause(err) != message.CauseConfiguration || !strings.Contains(err.Error(), "DATABASE_SECRET_ARN") || strings.Contains(err.Error(), canary) {
		t.Errorf("in the gap: %v", err)
	}
	x.publish("three-" + canary)
	x.turn(5 * time.Second)
	if err := x.insert(); err != nil {
		t.Errorf("after the gap: %v", err)
	}
	if got := x.db.Count(t, "SELECT count(*) FROM events"); got != 3 {
		t.Errorf("%d rows, want 3", got)
	}
	if n := x.count(); n != 4 {
		t.Errorf("%d calls, want 4", n)
	}
}

// TestConnectionsRefusedTogether: many connections of one process meet a
// rotation at once, and the secret is read once.
func TestConnectionsRefusedTogether(t *testing.T) {
	t.Parallel()
	x := newTenant(t)
	if err := x.insert(); err != nil {
		t.Fatal(err)
	}
	x.turn(time.Minute)
	x.rotate("two-" + canary)
	x.publish("two-" + canary)
	for _, err := range together(20, func() error {
		b := batch.New(events)
		b.Begin(0, 0)
		b.String("the same row")
		b.End()
		_, err := x.store.Insert(t.Context(), b)
		return err
	}) {
		if err != nil {
			t.Error(err)
		}
	}
	if n := x.count(); n != 2 {
		t.Errorf("%d calls, want 2", n)
	}
}
