//go:build awslocal

package awslocal_test

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"example.com/owner/sluice/test/localstack"
)

func decodeText(t *testing.T, text string, v any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), v); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
}

// TestLocalWork does what docs/commands.md says of local work, with the commands that it names:
// `make start`, the exports that it prints, `sluice send`, `make run`, `make stop`. TEST_SAMPLE
// names the 100 sample bodies; without it the test sends events/bodies.jsonl.
func TestLocalWork(t *testing.T) {
	if _, err := os.Stat(filepath.Join(root, ".local", "run", "services.json")); err == nil {
		t.Fatal("`make start` has services running, which this test would use and end: `make stop` first")
	}
	exports := makeTarget(t, nil, "start")
	t.Cleanup(func() { makeTarget(t, nil, "stop") })
	s := &fixture{settings: map[string]string{"PATH": os.Getenv("PATH"), "SLUICE_MASK": "sha256"}}
	for _, m := range regexp.MustCompile(`(?m)^export (\w+)='([^']*)'$`).FindAllStringSubmatch(exports, -1) {
		s.settings[m[1]] = m[2]
	}
	for _, name := range []string{"SQS_URL", "PG_URL", "AWS_DEFAULT_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL"} {
		if s.settings[name] == "" {
			t.Fatalf("make start does not export %s:\n%s", name, exports)
		}
	}
	if again := makeTarget(t, nil, "start"); again != exports {
		t.Errorf("a second make start exports\n%swant\n%s", again, exports)
	}
	makeTarget(t, nil, "build-bin")

	file, stored, rejected, hash := filepath.Join(root, "events", "bodies.jsonl"), 6, map[string]int{"not_json": 1, "missing": 1, "not_an_ip_address": 1, "not_a_version": 1}, ""
	if path := os.Getenv("TEST_SAMPLE"); path != "" {
		file, stored, rejected, hash = path, 99, map[string]int{"unrecognized": 1}, sampleHash
	}
	send := exec.CommandContext(t.Context(), filepath.Join(root, "bin", "sluice"), "send", "--raw", file)
	send.Env = s.environ()
	if out, err := send.CombinedOutput(); err != nil || !strings.HasPrefix(string(out), fmt.Sprintf("%[1]d of %[1]d lines sent", stored+len(rejected))) {
		t.Fatalf("send: %v: %s", err, out)
	}
	if got := makeTarget(t, s.environ(), "run"); !strings.Contains(got, fmt.Sprintf(" %d new", stored)) || !strings.Contains(got, fmt.Sprintf("%d sent to the dead-letter queue", len(rejected))) {
		t.Errorf("make run: %s", got)
	}
	lines := rowsOf(t, s.settings["PG_URL"])
	if len(lines) != stored {
		t.Errorf("%d rows, want %d", len(lines), stored)
	}
	sum := sha256.Sum256([]byte(strings.Join(lines, "\n")))
	if got := hex.EncodeToString(sum[:]); hash != "" && got != hash {
		t.Errorf("the rows have the hash %s, want %s", got, hash)
	}
	if look := decode[peeked](t, s, "peek", "--json"); !maps.Equal(look.reasons(), rejected) {
		t.Errorf("the dead-letter queue has %+v, want %v", look, rejected)
	}
	s.sluice(t, "", "check") // finds no error
	s.Client = localstack.NewClient(s.settings["AWS_ENDPOINT_URL"])
	s.wantCount(t, s.settings["SQS_URL"], 0)
}

// rowsOf returns the rows as lines, sorted.
func rowsOf(t *testing.T, url string) []string {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	const query = "SELECT concat_ws('|', user_id, device_type, masked_ip, masked_device_id, coalesce(locale, ''), app_version::text) FROM user_logins"
	rows, err := conn.Query(t.Context(), query)
	if err != nil {
		t.Fatal(err)
	}
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(lines)
	return lines
}

// sampleHash is the hash of the sample's sorted rows.
const sampleHash = "6c5b41258ecee60513ed4a49bda2937b898e402bef1c8989fbdeb909d63e4e84"

func makeTarget(t *testing.T, environ []string, target string) (stdout string) {
	t.Helper()
	cmd := exec.Command("make", target)
	cmd.Dir = root
	cmd.Env = os.Environ()
	cmd.Env = append(slices.DeleteFunc(cmd.Env, func(v string) bool { return strings.HasPrefix(v, "MAKE") }), environ...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("make %s: %v\n%s%s", target, err, out, stderr.String())
	}
	return string(out)
}

// TestSecretsManager has the login and the mask keys in Secrets Manager, and rotates the password
// while messages flow.
func TestSecretsManager(t *testing.T) {
	t.Parallel()
	const n = 3000
	s := newFixture(t, map[string]string{"VisibilityTimeout": "5"})
	writer := s.db.Role(t, func(role string) []string {
		return []string{
			"ALTER ROLE " + role + " SET search_path = " + s.db.Schema,
			"GRANT USAGE ON SCHEMA " + s.db.Schema + " TO " + role,
			"GRANT INSERT, SELECT ON user_logins TO " + role,
		}
	})
	u, err := url.Parse(writer.URL)
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(u.Port())
	if err != nil {
		t.Fatal(err)
	}
	password, _ := u.User.Password()
	secret := map[string]any{
		"engine": "postgres", "username": u.User.Username(), "password": password,
		"host": u.Hostname(), "port": port, "dbname": strings.TrimPrefix(u.Path, "/"),
	}
	loginARN := s.createSecret(t, "login", secret)
	keysARN := s.createSecret(t, "masks", map[string]any{"primary": "k7", "k7": strings.Repeat("0123456789abcdef", 4)})

	delete(s.settings, "PG_URL")
	delete(s.settings, "SLUICE_MASK")
	s.settings["DATABASE_SECRET_ARN"], s.settings["SLUICE_MASK_SECRET_ARN"] = loginARN, keysARN
	s.settings["DATABASE_URL"] = "postgres:///?sslmode=disable"
	s.sluice(t, logins(0, n/2), "send", "-")
	p := s.start(t, "", "consume", "--forever")
	s.awaitRows(t, n/2)

	secret["password"] = rand.Text()
	s.db.Exec(t, fmt.Sprintf("ALTER ROLE %s PASSWORD '%s'", writer.User, secret["password"]))
	s.db.Exec(t, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1", writer.User)
	s.sluice(t, logins(n/2, n/2), "send", "-")
	time.Sleep(2 * time.Second) // it meets the old password, which no longer fits
	if err := s.PutSecret(t.Context(), loginARN, secret); err != nil {
		t.Fatal(err)
	}
	s.awaitRows(t, n)
	p.signal(syscall.SIGTERM)
	p.exits(0)
	s.wantRows(t, n)
	s.wantCount(t, s.dead, 0)
	if keys := s.db.Rows(t, "SELECT DISTINCT mask_key FROM user_logins"); len(keys) != 1 || keys[0][0] != "k7" {
		t.Errorf("the masks are of the keys %v, want k7", keys)
	}
}

func (s *fixture) awaitRows(t *testing.T, want int) {
	t.Helper()
	eventually(t, 2*time.Minute, func() string {
		if n := s.rows(t); n != want {
			return fmt.Sprintf("%d rows of %d", n, want)
		}
		return ""
	})
}

func (s *fixture) createSecret(t *testing.T, name string, value any) (arn string) {
	t.Helper()
	arn, err := s.CreateSecret(t.Context(), name+"-"+s.db.Schema, value)
	if err != nil {
		t.Fatal(err)
	}
	return arn
}
