//go:build netns

// `make netns-test` has a function on the other side of a network whose link is taken down. It needs
// root and iproute2 (ip): the function runs in a network namespace of its own, at the end of a veth
// pair. A proxy would not do: behind it the kernel of the same machine goes on answering the server's
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

	"sluice/internal/model"
	"sluice/internal/pgtest"
	"sluice/internal/runtimeapi"
	"sluice/models"
)

// link is a network of this machine, where the server is, and a namespace.
type link struct {
	t            *testing.T
	namespace    string
	inside       string // the name of the namespace's end
	here, there  netip.Addr
	subnetPrefix netip.Prefix // of here
}

// newLink makes the n-th link of this process. Its addresses are of a range
// that is for benchmarks of networks (RFC 2544), and differ from process to
// process. Only a few kilobytes are ever on their way, so that what a
// function sends is not all with the server while that does not read it.
func newLink(t *testing.T, n int) *link {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("a network namespace needs root")
	}
	id := os.Getpid() % 8192
	base := 198<<24 + 18<<16 + id*16 + n*4
	address := func(i int) netip.Addr {
		return netip.AddrFrom4([4]byte{byte((base + i) >> 24), byte((base + i) >> 16), byte((base + i) >> 8), byte(base + i)})
	}
	l := &link{t: t, namespace: fmt.Sprintf("sluice-%d-%d", id, n), inside: fmt.Sprintf("slu%d.%din", id, n), here: address(1), there: address(2)}
	outside := fmt.Sprintf("slu%d.%dout", id, n)
	l.subnetPrefix = netip.PrefixFrom(l.here, 30)
	l.ip("netns", "add", l.namespace)
	t.Cleanup(func() { l.ip("netns", "delete", l.namespace) }) // and the link with it
	l.ip("link", "add", outside, "type", "veth", "peer", "name", l.inside)
	l.ip("link", "set", l.inside, "netns", l.namespace)
	l.ip("address", "add", l.subnetPrefix.String(), "dev", outside)
	l.ip("link", "set", outside, "up")
	l.ip("route", "add", l.there.String(), "dev", outside, "window", "16384")
	l.ip("-n", l.namespace, "address", "add", netip.PrefixFrom(l.there, 30).String(), "dev", l.inside)
	l.ip("-n", l.namespace, "link", "set", l.inside, "up")
	l.ip("netns", "exec", l.namespace, "sh", "-c", "echo 4096 16384 16384 >/proc/sys/net/ipv4/tcp_wmem")
	return l
}

// down makes the network silent: nobody is told.
func (l *link) down() { l.ip("-n", l.namespace, "link", "set", l.inside, "down") }

func (l *link) ip(args ...string) {
	l.t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		l.t.Fatalf("ip %s (of iproute2, a package of most systems): %v\n%s", strings.Join(args, " "), err, out)
	}
}

// gate is a trigger that stops at one row for as long as somebody holds the
// lock.
const (
	gateLock = 4711
	gate     = `CREATE FUNCTION gate() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN
			PERFORM pg_advisory_xact_lock_shared(%d);
			RETURN NEW;
		END $$;
	CREATE TRIGGER gate BEFORE INSERT ON orders FOR EACH ROW WHEN (NEW.item_count = 1) EXECUTE FUNCTION gate();
	ALTER TABLE orders ADD CONSTRAINT known_currency CHECK (currency <> 'XXX')`
)

// orders is an event of n orders that are large enough to be seen on the
// network. The database refuses the first one and stops at the middle one.
func orders(n int) []byte {
	all := records(n)
	for i, message := range all {
		currency, count := "EUR", 0
		switch i {
		case 0:
			currency = "XXX"
		case n / 2:
			count = 1
		}
		message["body"] = fmt.Sprintf(`{"order_id":"00000000-0000-4000-8000-%012d","total":1,"currency":%q,"item_count":%d,"placed_at":"2026-01-31T12:00:00Z","lines":%q}`,
			i, currency, count, strings.Repeat("x", 20_000))
	}
	return eventOf(all)
}

// TestANetworkThatGoesSilentWhileRowsAreIsolated has a function die for the
// server while it sends the flight that finds the refused rows. Their locks
// must not keep out those who deliver them again by another network.
func TestANetworkThatGoesSilentWhileRowsAreIsolated(t *testing.T) {
	t.Parallel()
	m, err := model.Load("orders", models.FS)
	if err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(t.TempDir(), "sluice")
	if err := runtimeapi.Build(t.Context(), "sluice/cmd/sluice", binary); err != nil {
		t.Fatal(err)
	}
	cases := 0
	for _, tt := range []struct {
		name  string
		quiet bool // nothing of the server's is on its way when the link goes down
		mode  string
		n     int // above 64 messages, there are two flights
	}{
		{"while the server answers", false, "", 60},
		{"while the server answers", false, "exec", 60},
		{"while the server answers", false, "exec", 100},
		{"while the server waits for more", true, "", 60},
		{"while the server waits for more", true, "exec", 60},
		{"while the server waits for more", true, "exec", 100},
	} {
		l := newLink(t, cases)
		cases++
		t.Run(fmt.Sprintf("%s, %d messages, mode=%s", tt.name, tt.n, tt.mode), func(t *testing.T) {
			t.Parallel()
			server := pgtest.NewServer(t, pgtest.ServerConfig{Network: l.subnetPrefix})
			db := server.New(t, append(m.DDL(), fmt.Sprintf(gate, gateLock))...)
			event := filepath.Join(t.TempDir(), "event.json")
			if err := os.WriteFile(event, orders(tt.n), 0o600); err != nil {
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

			// Where the insert is prepared, a group begins with all of its data. Until they are there the
			// server has seen nothing of it, and the idle timeout counts. Elsewhere it does not.
			starved := "'active'"
			if tt.mode == "" {
				starved = "'idle in transaction'"
			}

			far := exec.Command("ip", "netns", "exec", l.namespace, binary, "invoke", "-e", event)
			far.Env = environment(t, db, l.here, tt.mode)
			if err := far.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				_ = far.Process.Kill()
				_ = far.Wait()
			})
			eventually(t, "the flight is at the gate", backends("wait_event = 'advisory'"))
			if tt.quiet {
				if err := far.Process.Signal(syscall.SIGSTOP); err != nil { // so that it sends no more
					t.Fatal(err)
				}
				open()
				eventually(t, "the server waits for more of the flight", backends("wait_event = 'ClientRead' AND state = "+starved))
				l.down()
			} else {
				l.down()
				open()
			}
			eventually(t, "the server has given the function up", func() bool { return !backends("true")() })
			if got := db.Count(t, "SELECT count(*) FROM orders"); got != 0 {
				t.Errorf("%d rows are there: the flight had all arrived, and this shows nothing", got)
			}

			near := exec.CommandContext(t.Context(), binary, "invoke", "-e", event)
			near.Env = environment(t, db, netip.MustParseAddr("127.0.0.1"), tt.mode)
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
			if len(a.BatchItemFailures) != 1 {
				t.Errorf("delivered by another network, %d messages came back, want the one that the database refuses", len(a.BatchItemFailures))
			}
			if got := db.Count(t, "SELECT count(*) FROM orders"); got != int64(tt.n-1) {
				t.Errorf("got %d rows, want %d", got, tt.n-1)
			}
		})
	}
}

// environment is that of a function which reaches the database at an address.
func environment(t *testing.T, db *pgtest.DB, at netip.Addr, mode string) []string {
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

// eventually waits until something holds. It gives up after so long a time
// that no machine is that slow.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(plenty); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%v have passed, and still not: %s", plenty, what)
		}
	}
}
