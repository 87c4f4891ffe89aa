package sam_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"example.com/owner/sluice/internal/app"
	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/model"
	"example.com/owner/sluice/internal/postgres"
	"example.com/owner/sluice/internal/testing/localpg"
	"example.com/owner/sluice/models"
)

// block returns the SQL after a comment <!-- test: NAME --> in a document.
func block(t *testing.T, document, name string) string {
	t.Helper()
	found := regexp.MustCompile("<!-- test: " + regexp.QuoteMeta(name) + " -->\\s+```sql\n([^`]+)```").FindStringSubmatch(readFile(t, document))
	if found == nil {
		t.Fatalf("%s has no block <!-- test: %s -->", document, name)
	}
	return found[1]
}

func execute(t *testing.T, databaseURL, sql string) error {
	t.Helper()
	conn := connect(t, databaseURL)
	defer conn.Close(context.WithoutCancel(t.Context()))
	_, err := conn.Exec(t.Context(), sql)
	return err
}

func connect(t *testing.T, databaseURL string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

func count(t *testing.T, databaseURL, sql string) (n int) {
	t.Helper()
	conn := connect(t, databaseURL)
	defer conn.Close(context.WithoutCancel(t.Context()))
	if err := conn.QueryRow(t.Context(), sql).Scan(&n); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return n
}

func as(t *testing.T, databaseURL, user, password, database string) string {
	t.Helper()
	u, err := url.Parse(databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	u.User, u.Path = url.UserPassword(user, password), "/"+database
	return u.String()
}

// setPassword does what \password of psql does: the server gets only a verifier.
func setPassword(t *testing.T, databaseURL, role, password string) {
	t.Helper()
	verifier, err := localpg.ScramSecret(password)
	if err != nil {
		t.Fatal(err)
	}
	if err := execute(t, databaseURL, fmt.Sprintf("ALTER USER %s PASSWORD '%s'", role, verifier)); err != nil {
		t.Fatal(err)
	}
}

// TestGrants runs the SQL of docs/deploy.md, word for word, as an administrator who is not a superuser,
// as on RDS. Then the owner can migrate and the writer can store, and neither can do more.
func TestGrants(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it starts a server")
	}
	server, err := localpg.Start(t.Context(), localpg.Config{Log: t.Output()}) // roles are the server's: one of our own
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Stop() })
	if err := execute(t, server.URL(), "CREATE ROLE master LOGIN CREATEROLE CREATEDB PASSWORD 'm'"); err != nil {
		t.Fatal(err)
	}

	roles := block(t, "docs/deploy.md", "roles")
	logins := regexp.MustCompile(`CREATE ROLE (\w+) LOGIN;`).FindAllStringSubmatch(roles, -1)
	if len(logins) != 2 || logins[0][1] != "sluice_owner" || logins[1][1] != "sluice_writer" {
		t.Fatalf("the roles are %v", logins)
	}
	if strings.Contains(roles, "PASSWORD") {
		t.Error("a password in SQL stays in histories and logs")
	}
	bodies := map[string]string{
		"user_logins":       `{"user_id":"u-1","ip":"203.0.113.7","device_id":"d-1","app_version":"2.3.0"}`,
		"user_logins_plain": `{"user_id":"u-1","ip":"203.0.113.7","device_id":"d-1","app_version":"2.3.0"}`,
		"orders":            `{"order_id":"5f0e4c39-9c57-4a1f-8d1d-3c52d1f6b0a4","customer_email":"jo@example.com","total":12.50,"currency":"EUR","placed_at":"2026-01-01T00:00:00Z"}`,
	}
	for i, name := range []string{"user_logins", "user_logins_plain", "orders"} {
		database := "app_" + name
		if err := execute(t, as(t, server.URL(), "master", "m", "postgres"), "CREATE DATABASE "+database); err != nil {
			t.Fatal(err)
		}
		master := as(t, server.URL(), "master", "m", database)
		owner := as(t, server.URL(), "sluice_owner", "o", database)
		writer := as(t, server.URL(), "sluice_writer", "w", database)
		setUp := roles
		if i > 0 { // the roles are there already
			setUp = regexp.MustCompile(`(?m)^CREATE ROLE .*\n`).ReplaceAllString(roles, "")
		}
		if err := execute(t, master, setUp); err != nil {
			t.Fatalf("%s: the roles: %v", name, err)
		}
		if i == 0 {
			setPassword(t, master, "sluice_owner", "o")
			setPassword(t, master, "sluice_writer", "w")
			for block, who := range map[string]string{block(t, "docs/deploy.md", "log"): server.URL(), block(t, "docs/deploy.md", "idle"): master} {
				if err := execute(t, who, block); err != nil {
					t.Fatalf("%s: %v", block, err)
				}
			}
		}
		m, err := model.Load(name, models.FS)
		if err != nil {
			t.Fatal(err)
		}
		if err := migrate(t, writer, m); err == nil {
			t.Errorf("%s: the writer may create tables", name)
		}
		if err := migrate(t, owner, m); err != nil {
			t.Fatalf("%s: the owner: %v", name, err)
		}
		grants := block(t, "docs/deploy.md", "grants "+name)
		event := sqsEvent(t, 3, bodies[name])
		if name == "orders" {
			event = sqsEvent(t, 1, bodies[name])
		}
		if _, err := store(t, writer, name, event); err == nil || !strings.Contains(err.Error(), "42501") {
			t.Errorf("%s: without the grants the writer's error is %v", name, err)
		}
		for statement := range strings.SplitSeq(strings.TrimSpace(grants), "\n") {
			rest := strings.Replace(grants, statement+"\n", "", 1)
			if err := execute(t, owner, rest); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if _, err := store(t, writer, name, event); err == nil {
				t.Errorf("%s: not needed: %s", name, statement)
			}
			if err := execute(t, owner, "REVOKE ALL ON ALL TABLES IN SCHEMA sluice FROM sluice_writer"); err != nil {
				t.Fatal(err)
			}
		}
		if err := execute(t, master, grants); err != nil {
			t.Fatalf("%s: the grants, as the administrator: %v", name, err)
		}
		for delivery := range 2 {
			answer, err := store(t, writer, name, event)
			if err != nil || answer != `{"batchItemFailures":[]}` {
				t.Fatalf("%s, delivery %d: %v: %s", name, delivery, err, answer)
			}
		}
		want := strings.Count(event, `"messageId"`)
		if got := count(t, owner, "SELECT count(*) FROM "+m.Table.Name); got != want {
			t.Errorf("%s: %d rows, not %d", name, got, want)
		}
		refused(t, writer, name, m)
		if name == "user_logins" {
			erase(t, owner)
		}
	}
	existingTable(t, server.URL(), roles)
}

// existingTable follows docs/deploy.md for a table in public. It changes the roles' search_path in
// every database.
func existingTable(t *testing.T, serverURL, roles string) {
	t.Helper()
	const database, name = "app_public", "user_logins_plain"
	if err := execute(t, as(t, serverURL, "master", "m", "postgres"), "CREATE DATABASE "+database); err != nil {
		t.Fatal(err)
	}
	master := as(t, serverURL, "master", "m", database)
	owner := as(t, serverURL, "sluice_owner", "o", database)
	writer := as(t, serverURL, "sluice_writer", "w", database)
	for _, sql := range []string{
		`CREATE TABLE public.user_logins (user_id varchar(128), device_type varchar(32), masked_ip varchar(256), masked_device_id varchar(256),
			locale varchar(32), app_version integer, create_date date)`,
		regexp.MustCompile(`(?m)^CREATE ROLE .*\n`).ReplaceAllString(roles, ""),
		block(t, "docs/deploy.md", "public"),
	} {
		if err := execute(t, master, sql); err != nil {
			t.Fatalf("%v: %s", err, sql)
		}
	}
	m, err := model.Load(name, models.FS)
	if err != nil {
		t.Fatal(err)
	}
	s, err := postgres.Open(owner, []*batch.Table{m.Table})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	got, err := s.Migrate(t.Context(), m.DDL())
	want := []batch.Migrated{{Name: "public.user_logins"}, {Name: "public.sluice_ledger", Created: true}}
	if diff := cmp.Diff(got, want); err != nil || diff != "" {
		t.Fatalf("%v; got(-) want(+):\n%s", err, diff)
	}
	grants := strings.ReplaceAll(block(t, "docs/deploy.md", "grants "+name), "sluice.", "public.")
	for url, of := range map[string]string{master: "user_logins", owner: "sluice_ledger"} { // each grants what it owns
		for statement := range strings.SplitSeq(strings.TrimSpace(grants), "\n") {
			if strings.Contains(statement, of+" ") {
				if err := execute(t, url, statement); err != nil {
					t.Fatalf("%v: %s", err, statement)
				}
			}
		}
	}
	for range 2 {
		if answer, err := store(t, writer, name, sqsEvent(t, 3, `{"user_id":"u-1","ip":"203.0.113.7"}`)); err != nil || answer != `{"batchItemFailures":[]}` {
			t.Fatalf("%v: %s", err, answer)
		}
	}
	if rows := count(t, master, "SELECT count(*) FROM public.user_logins"); rows != 3 {
		t.Errorf("%d rows, not 3", rows)
	}
}

// refused checks what the writer may not do.
func refused(t *testing.T, writer, name string, m *model.Model) {
	t.Helper()
	personal := map[string]string{"user_logins": "user_id", "user_logins_plain": "user_id", "orders": "masked_email"}[name]
	for _, sql := range []string{
		fmt.Sprintf("SELECT %s FROM %s", personal, m.Table.Name), "SELECT * FROM " + m.Table.Name, fmt.Sprintf("UPDATE %s SET %s = 'x'", m.Table.Name, personal),
		"DELETE FROM " + m.Table.Name, "TRUNCATE " + m.Table.Name, "DROP TABLE " + m.Table.Name, "ALTER TABLE " + m.Table.Name + " ADD COLUMN x int", "CREATE TABLE sluice.x (y int)",
	} {
		if err := execute(t, writer, sql); err == nil || !strings.Contains(err.Error(), "42501") {
			t.Errorf("%s: the writer may do %s: %v", name, sql, err)
		}
	}
}

// erase follows docs/operate.md to find and delete one person's rows.
func erase(t *testing.T, owner string) {
	t.Helper()
	pseudonym := "b42adbf209538193ee85f7c6b4ccd8f607372f9f27ad6cf8f14eeba6648fc09d" // of 203.0.113.7 under localKeys
	fill := strings.NewReplacer("MASK_UNDER_K1", pseudonym, "MASK_UNDER_K2", strings.Repeat("0", 64))
	if rows := count(t, owner, "SELECT count(*) FROM ("+strings.TrimSuffix(strings.TrimSpace(fill.Replace(block(t, "docs/operate.md", "find"))), ";")+") AS found"); rows != 3 {
		t.Errorf("docs/operate.md finds %d rows, not 3", rows)
	}
	if err := execute(t, owner, fill.Replace(block(t, "docs/operate.md", "erase"))); err != nil {
		t.Error(err)
	}
	if rows := count(t, owner, "SELECT count(*) FROM user_logins"); rows != 0 {
		t.Errorf("after docs/operate.md has erased a person, %d rows are left", rows)
	}
}

func migrate(t *testing.T, databaseURL string, m *model.Model) error {
	t.Helper()
	s, err := postgres.Open(databaseURL, []*batch.Table{m.Table})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	_, err = s.Migrate(t.Context(), m.DDL())
	return err
}

func store(t *testing.T, databaseURL, modelName, event string) (string, error) {
	t.Helper()
	h, stop := app.NewHandler(t.Context(), app.Options{
		Environ: map[string]string{"DATABASE_URL": databaseURL, "SLUICE_MODEL": modelName, "SLUICE_MASK_KEYS": localKeys}, Log: slog.New(slog.DiscardHandler),
	}, nil)
	defer stop()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	answer, err := h.Invoke(ctx, []byte(event))
	return string(answer), err
}

func sqsEvent(t *testing.T, n int, body string) string {
	t.Helper()
	var records []map[string]any
	for i := range n {
		records = append(records, map[string]any{
			"messageId": fmt.Sprintf("5f0e4c39-9c57-4a1f-8d1d-%012d", i), "receiptHandle": "r", "body": body, "eventSource": "aws:sqs", "awsRegion": region,
			"eventSourceARN": arn("sqs", "logins"), "attributes": map[string]string{"SentTimestamp": fmt.Sprint(1767225600000 + i), "ApproximateReceiveCount": "1"},
		})
	}
	text, err := json.Marshal(map[string]any{"Records": records})
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
