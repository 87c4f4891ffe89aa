package handler_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"example.com/owner/sluice/internal/app"
	"example.com/owner/sluice/internal/handler"
	"example.com/owner/sluice/internal/model"
	"example.com/owner/sluice/internal/testing/pgtest"
	"example.com/owner/sluice/internal/testing/testlog"
	"example.com/owner/sluice/models"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// rawValues are personal in the cases: no output may hold one.
var rawValues = []string{"203.0.113.7", "cb00:7107", "cb007107", "593-47-5928", "canary-key@example.com", "2001:db8::1", "3405803783"}

// testCase is an event, and what it must come to, each time that it is
// delivered.
type testCase struct {
	name  string
	why   string
	env   map[string]string
	event []byte
	// failed lists the ids that the answer must hold, in any order.
	failed []string
	// failure is true when the invocation must fail as a whole.
	failure bool
	// rows are what the table must then hold.
	rows []row
	// names says what the messages are, by id, where that is not plain.
	names map[string]string
	// only is the model that the case is about, "" for every model of logins.
	only string
}

// row is a row by column; nil is NULL. It may say less than the table has.
type row map[string]any

// text spells out those of the columns that both the row and the table have.
func (r row) text(columns []string) string {
	var cells []string
	for _, c := range columns {
		v, ok := r[c]
		if !ok {
			continue
		}
		if v == nil {
			cells = append(cells, c+": NULL")
			continue
		}
		cells = append(cells, fmt.Sprintf("%s: %q", c, fmt.Sprint(v)))
	}
	return strings.Join(cells, ", ")
}

// fixture is the table of one model in a schema of its own, and the handlers
// that write to it, one for each environment.
type fixture struct {
	model   *model.Model
	columns []string // of the table
	db      *pgtest.DB
	conn    *pgx.Conn
	running map[string]*running
}

type running struct {
	handler *handler.Handler
	log     testlog.Log
}

// newFixture makes the model's tables, with a constraint that no check in Go
// knows of.
func newFixture(t *testing.T, name string) *fixture {
	t.Helper()
	m, err := model.Load(name, models.FS)
	if err != nil {
		t.Fatal(err)
	}
	s := &fixture{model: m, db: pgtest.New(t, m.DDL()...), running: map[string]*running{}}
	if slices.Contains(loginModels, name) {
		s.db.Exec(t, "ALTER TABLE user_logins ADD CONSTRAINT no_xx CHECK (locale <> 'xx')")
	}
	for _, c := range m.Table.Columns {
		if !c.Ledger {
			s.columns = append(s.columns, c.Name)
		}
	}
	s.conn = s.db.Conn(t)
	s.exec(t, "SET TIME ZONE 'UTC'")
	return s
}

func (s *fixture) exec(t *testing.T, sql string) {
	t.Helper()
	if _, err := s.conn.Exec(t.Context(), sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// clear empties the tables.
func (s *fixture) clear(t *testing.T) {
	t.Helper()
	s.exec(t, "DELETE FROM "+s.model.Table.Name)
	if s.model.Table.Ledger != "" {
		s.exec(t, "DELETE FROM "+s.model.Table.Ledger)
	}
}

// handler assembles the handler as the function does.
func (s *fixture) handler(t *testing.T, env map[string]string) *running {
	t.Helper()
	environ := map[string]string{"DATABASE_URL": s.db.URL, "SLUICE_MODEL": s.model.Name, "SLUICE_MASK": "sha256"}
	maps.Copy(environ, env)
	key := fmt.Sprint(environ)
	if r := s.running[key]; r != nil {
		return r
	}
	r := &running{}
	h, stop := app.NewHandler(t.Context(), app.Options{
		Environ: environ, Log: slog.New(slog.NewJSONHandler(&r.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}, &r.log)
	r.handler = h
	s.running[key] = r
	t.Cleanup(stop)
	return r
}

// table returns the rows, each as row.text spells it.
func (s *fixture) table(t *testing.T, columns []string) []string {
	t.Helper()
	rows, err := s.conn.Query(t.Context(), "SELECT "+strings.Join(columns, "::text, ")+"::text FROM "+s.model.Table.Name)
	if err != nil {
		t.Fatal(err)
	}
	all, err := pgx.CollectRows(rows, func(found pgx.CollectableRow) (string, error) {
		r := row{}
		values, err := found.Values()
		for i, v := range values {
			r[columns[i]] = v
		}
		return r.text(columns), err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(all)
	return all
}

// column returns the values of a column of text, sorted.
func (s *fixture) column(t *testing.T, name string) []string {
	t.Helper()
	values := []string{}
	for _, r := range s.db.Rows(t, "SELECT "+name+" FROM "+s.model.Table.Name+" ORDER BY 1") {
		values = append(values, r[0])
	}
	return values
}

// play delivers a case's event twice: the second time must give the same
// answer and add no row.
func (s *fixture) play(t *testing.T, c *testCase) {
	t.Helper()
	s.clear(t)
	r := s.handler(t, c.env)
	for _, delivery := range []string{"first delivery", "second delivery"} {
		r.log.Take()
		answer, err := r.handler.Invoke(t.Context(), c.event)
		logged := r.log.Take()
		for _, problem := range c.judge(answer, err) {
			t.Errorf("%s: %s %s\nlog: %.1000s", delivery, problem, c.why, logged)
		}
		// The one thing that only the database knows is the constraint; all else is found before
		// SQL.
		if strings.Contains(logged, `"reason":"refused_by_database"`) && !bytes.Contains(c.event, []byte(`"xx\"`)) {
			t.Errorf("%s: it was the database that refused a row: %.2000s", delivery, logged)
		}
		for _, raw := range rawValues {
			for what, text := range map[string]string{"the answer": string(answer), "the error": fmt.Sprint(err), "the log": logged} {
				if strings.Contains(text, raw) {
					t.Errorf("%s: %s holds the raw value %q: %.2000s", delivery, what, raw, text)
				}
			}
		}
		s.compare(t, delivery, c)
	}
}

func (s *fixture) compare(t *testing.T, delivery string, c *testCase) {
	t.Helper()
	columns := s.columns
	want := []string{}
	for i, r := range c.rows {
		if i == 0 { // all rows of a case say equally much
			columns = slices.DeleteFunc(slices.Clone(s.columns), func(c string) bool { _, ok := r[c]; return !ok })
		}
		want = append(want, r.text(columns))
	}
	slices.Sort(want)
	if diff := cmp.Diff(s.table(t, columns), want); diff != "" {
		t.Errorf("%s: rows got(-) want(+) %s\n%s", delivery, c.why, c.label(diff))
	}
}

// judge says how an answer differs from what the case wants.
func (c *testCase) judge(answer []byte, err error) (problems []string) {
	switch {
	case c.failure && err == nil:
		return []string{fmt.Sprintf("got the answer %.200s, want the invocation to fail", answer)}
	case c.failure && answer != nil:
		return []string{fmt.Sprintf("got an answer beside the error: %.200s", answer)}
	case c.failure:
		return nil
	case err != nil:
		return []string{fmt.Sprintf("the invocation failed: %v", err)}
	}
	got, err := readAnswer(answer)
	if err != nil {
		return []string{fmt.Sprintf("the answer %.200s: %v", answer, err)}
	}
	want := append([]string{}, c.failed...)
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(got, want); diff != "" {
		problems = append(problems, "failed ids got(-) want(+):\n"+c.label(diff))
	}
	return problems
}

// label puts names after the ids in a text.
func (c *testCase) label(text string) string {
	for id, name := range c.names {
		text = strings.ReplaceAll(text, id, id+" ("+name+")")
	}
	return text
}

// readAnswer reads an answer as strictly as Lambda does.
func readAnswer(answer []byte) (failed []string, err error) {
	var a struct {
		Failures *[]struct {
			ID *string `json:"itemIdentifier"`
		} `json:"batchItemFailures"`
	}
	dec := json.NewDecoder(bytes.NewReader(answer))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&a); err != nil {
		return nil, err
	}
	if dec.More() {
		return nil, fmt.Errorf("there is more after the JSON")
	}
	if a.Failures == nil {
		return nil, fmt.Errorf("it lacks batchItemFailures, which Lambda takes for success")
	}
	failed = []string{}
	for _, f := range *a.Failures {
		if f.ID == nil || *f.ID == "" {
			return nil, fmt.Errorf("an identifier is empty, which returns the whole batch")
		}
		if slices.Contains(failed, *f.ID) {
			return nil, fmt.Errorf("%q is listed twice", *f.ID)
		}
		failed = append(failed, *f.ID)
	}
	return failed, nil
}

// loginModels are the two models whose rows and answers must not differ.
var loginModels = []string{"user_logins", "user_logins_plain"}

// playAll plays cases against each model.
func playAll(t *testing.T, cases []testCase) {
	t.Helper()
	seen := map[string]bool{}
	for _, c := range cases {
		if seen[c.only+" "+c.name] {
			t.Errorf("two cases are named %q", c.name)
		}
		seen[c.only+" "+c.name] = true
	}
	for _, name := range loginModels {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newFixture(t, name)
			for i := range cases {
				c := &cases[i]
				if c.only != "" && c.only != name {
					continue
				}
				t.Run(c.name, func(t *testing.T) { s.play(t, c) })
			}
		})
	}
}
