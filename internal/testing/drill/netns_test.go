//go:build netns

// `make netns-test` runs a function behind a network whose link goes down. It needs Linux, root and
// iproute2 (ip): the server is in one network namespace and the function in another, at the ends of
// a veth pair. A proxy would not do: the kernel of the same machine would still answer the server's
// probes.

package drill_test

import (
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"example.com/owner/sluice/internal/model"
	"example.com/owner/sluice/internal/testing/pgtest"
	"example.com/owner/sluice/internal/testing/runtimeapi"
	"example.com/owner/sluice/models"
)

// binaryVariable names the command line for a test process that has its own network namespace.
const binaryVariable = "TEST_NETNS_BINARY"

// inOwnNamespace runs a test once more, in a process with its own network, and returns the path of
// the command line there and "" here. Buffers are small in that network: a server that does not
// read must not have everything that a function sends.
func inOwnNamespace(t *testing.T) (binary string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("a network namespace needs root")
	}
	if binary := os.Getenv(binaryVariable); binary != "" {
		ip(t, "link", "set", "lo", "up")
		for name, value := range map[string]string{"tcp_rmem": "4096 65536 65536", "tcp_wmem": "4096 65536 65536"} {
			if err := os.WriteFile("/proc/sys/net/ipv4/"+name, []byte(value), 0); err != nil {
				t.Fatal(err)
			}
		}
		return binary
	}
	binary = filepath.Join(t.TempDir(), "sluice")
	if err := runtimeapi.Build(t.Context(), "example.com/owner/sluice/cmd/sluice", binary); err != nil {
		t.Fatal(err)
	}
	pgtest.New(t) // so that a Postgres is on this machine, which cannot be fetched there
	again := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^"+t.Name()+"$", "-test.v", "-test.parallel", "8")
	again.Env = append(os.Environ(), binaryVariable+"="+binary)
	again.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	again.Stdout, again.Stderr = t.Output(), t.Output()
	if err := again.Run(); err != nil {
		t.Errorf("in a network namespace: %v", err)
	}
	return ""
}

// link is a network between this process, where the server is, and another namespace.
type link struct {
	t         *testing.T
	namespace string
	far       string       // the name of the far end
	here      netip.Prefix // our address, and the network
	there     netip.Addr
}

// newLink makes the n-th link of this process, in a range of addresses for tests (RFC 2544).
func newLink(t *testing.T, n int) *link {
	t.Helper()
	near, far := fmt.Sprintf("near%d", n), fmt.Sprintf("far%d", n)
	l := &link{
		t: t, namespace: fmt.Sprintf("sluice-%d-%d", os.Getpid(), n), far: far,
		here: netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 18, byte(n), 1}), 24), there: netip.AddrFrom4([4]byte{198, 18, byte(n), 2}),
	}
	ip(t, "netns", "add", l.namespace)
	t.Cleanup(func() { ip(t, "netns", "delete", l.namespace) }) // and the link with it
	ip(t, "link", "add", near, "type", "veth", "peer", "name", far)
	ip(t, "link", "set", far, "netns", l.namespace)
	ip(t, "address", "add", l.here.String(), "dev", near)
	ip(t, "link", "set", near, "up")
	ip(t, "-n", l.namespace, "address", "add", l.there.String()+"/24", "dev", far)
	ip(t, "-n", l.namespace, "link", "set", far, "up")
	ip(t, "netns", "exec", l.namespace, "sh", "-c", "echo 4096 16384 16384 >/proc/sys/net/ipv4/tcp_wmem")
	return l
}

// down makes the network silent: neither side is told.
func (l *link) down() { ip(l.t, "-n", l.namespace, "link", "set", l.far, "down") }

func ip(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s (of iproute2, a package of most systems): %v\n%s", strings.Join(args, " "), err, out)
	}
}

// gated is the SQL of a trigger that stops at one row for as long as somebody holds a lock, and of
// a constraint that refuses another row.
const (
	gateLock = 4711
	gated    = `CREATE FUNCTION gate() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN
			PERFORM pg_advisory_xact_lock_shared(%d);
			RETURN NEW;
		END $$;
	CREATE TRIGGER gate BEFORE INSERT ON orders FOR EACH ROW WHEN (NEW.item_count = 1) EXECUTE FUNCTION gate();
	ALTER TABLE orders ADD CONSTRAINT known_currency CHECK (currency <> 'XXX')`
)

// orders returns an event of n orders that are large enough to be seen on the network. The database
// refuses the first one, if they have one to refuse, and stops at the one with the given index.
func orders(n, gate int, refused bool) []byte {
	all := records(n)
	for i, message := range all {
		currency, count := "EUR", 0
		if i == 0 && refused {
			currency = "XXX"
		}
		if i == gate {
			count = 1
		}
		message["body"] = fmt.Sprintf(`{"order_id":"00000000-0000-4000-8000-%012d","total":1,"currency":%q,"item_count":%d,"placed_at":"2026-01-31T12:00:00Z","lines":%q}`,
			i, currency, count, strings.Repeat("x", 2_400_000/n))
	}
	return eventOf(all)
}

// TestAFunctionThatVanishesInARoundTrip has a function disappear for the server while it sends the
// round trip that finds the refused rows, or between two statements of a large batch: because the
// network goes silent, or because it is killed. Its locks must not block those who deliver the rows
// again by another network.
func TestAFunctionThatVanishesInARoundTrip(t *testing.T) {
	t.Parallel()
	binary := inOwnNamespace(t)
	if binary == "" {
		return
	}
	m, err := model.Load("orders", models.FS)
	if err != nil {
		t.Fatal(err)
	}
	for i, tt := range []struct {
		name   string
		quiet  bool // nothing of the server's is on its way when the link goes down
		killed bool // the link stays
		// If the insert is prepared, a group begins with its data. Until they are all there the
		// server has seen nothing of the group: it is idle in a transaction, which has its own
		// limit. With exec it is active.
		mode string
		n    int // above 64 messages, a search has two round trips; above 1,000, nothing is refused
	}{
		{"while the server answers", false, false, "", 40},
		{"while the server answers", false, false, "exec", 40},
		{"while the server answers", false, false, "exec", 70},
		{"while the server waits for more", true, false, "", 40},
		{"while the server waits for more", true, false, "exec", 40},
		{"while the server waits for more", true, false, "exec", 70},
		{"while the server answers between two statements", false, false, "", 2500},
		{"while the server waits for the next statement", true, false, "", 2500},
		{"while the server waits for the next statement", true, false, "exec", 2500},
		{"killed while the server waits for the next statement", true, true, "", 2500},
	} {
		t.Run(fmt.Sprintf("%s, %d messages, mode=%s", tt.name, tt.n, tt.mode), func(t *testing.T) {
			t.Parallel()
			l := newLink(t, i)
			server := pgtest.NewServer(t, pgtest.ServerConfig{Network: l.here})
			db := server.New(t, append(m.DDL(), fmt.Sprintf(gated, gateLock))...)
			event := filepath.Join(t.TempDir(), "event.json")
			gate, refused := tt.n/2, 1
			if tt.n > 1000 {
				gate, refused = 10, 0 // in the first statement
			}
			if err := os.WriteFile(event, orders(tt.n, gate, refused > 0), 0o600); err != nil {
				t.Fatal(err)
			}
			keeper := db.Conn(t)
			if _, err := keeper.Exec(t.Context(), "SELECT pg_advisory_lock($1)", gateLock); err != nil {
				t.Fatal(err)
			}
			backends := func(condition string) func() bool {
				return func() bool {
					return db.Count(t, "SELECT count(*) FROM pg_stat_activity WHERE client_addr = $1::inet AND "+condition, l.there.String()) > 0
				}
			}
			open := func() {
				if _, err := keeper.Exec(t.Context(), "SELECT pg_advisory_unlock($1)", gateLock); err != nil {
					t.Fatal(err)
				}
			}

			far := exec.Command("ip", "netns", "exec", l.namespace, binary, "invoke", "-e", event)
			far.Env = databaseAt(t, db, l.here.Addr(), tt.mode)
			if err := far.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				_ = far.Process.Kill()
				_ = far.Wait()
			})
			eventually(t, "the round trip is at the gate", backends("wait_event = 'advisory'"))
			if tt.quiet {
				if err := far.Process.Signal(syscall.SIGSTOP); err != nil { // so that it sends no more
					t.Fatal(err)
				}
				open()
				eventually(t, "the server waits for more of the round trip", backends("wait_event = 'ClientRead' AND state IN ('active', 'idle in transaction')"))
				if tt.killed {
					if err := far.Process.Kill(); err != nil {
						t.Fatal(err)
					}
				} else {
					l.down()
				}
			} else {
				l.down()
				open()
			}
			eventually(t, "the server has given the function up", func() bool { return !backends("true")() })
			if got := db.Count(t, "SELECT count(*) FROM orders"); got != 0 {
				t.Errorf("%d rows are there: all of the round trip had arrived, and this shows nothing", got)
			}

			near := exec.CommandContext(t.Context(), binary, "invoke", "-e", event)
			near.Env = databaseAt(t, db, netip.MustParseAddr("127.0.0.1"), tt.mode)
			answer, err := near.Output()
			if err != nil {
				t.Fatalf("delivered by another network: %v", err)
			}
			var a struct {
				BatchItemFailures []struct{ ItemIdentifier string }
			}
			if err := json.Unmarshal(answer, &a); err != nil {
				t.Fatal(err)
			}
			if len(a.BatchItemFailures) != refused {
				t.Errorf("delivered by another network, %d messages came back, want %d, which the database refuses", len(a.BatchItemFailures), refused)
			}
			if got := db.Count(t, "SELECT count(*) FROM orders"); got != int64(tt.n-refused) {
				t.Errorf("got %d rows, want %d", got, tt.n-refused)
			}
		})
	}
}

// databaseAt returns the environment of a function that reaches the database at an address.
func databaseAt(t *testing.T, db *pgtest.DB, at netip.Addr, mode string) []string {
	t.Helper()
	u, err := url.Parse(db.URL)
	if err != nil {
		t.Fatal(err)
	}
	u.Host = net.JoinHostPort(at.String(), u.Port())
	if mode != "" {
		u.RawQuery += "&default_query_exec_mode=" + mode
	}
	return append(os.Environ(), "DATABASE_URL="+u.String(), "SLUICE_MODEL=orders", "SLUICE_MASK_KEYS=k1:0123456789abcdef0123456789abcdef")
}

// eventually waits until something holds. Its limit is longer than any machine needs.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(plenty); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%v have passed, and still not: %s", plenty, what)
		}
	}
}
