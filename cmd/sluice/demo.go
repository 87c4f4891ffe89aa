package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"example.com/owner/sluice/events"
	"example.com/owner/sluice/internal/fault"
	"example.com/owner/sluice/internal/handler"
	"example.com/owner/sluice/internal/ingest"
	"example.com/owner/sluice/internal/mask"
	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/model"
	"example.com/owner/sluice/internal/postgres"
	"example.com/owner/sluice/internal/sqlite"
	"example.com/owner/sluice/internal/sqsevent"
	"example.com/owner/sluice/internal/testing/localpg"
	"example.com/owner/sluice/models"
)

type demoCmd struct {
	Database string `placeholder:"sqlite:" help:"sqlite: uses SQLite in memory instead of a Postgres."`
}

// Help returns the details.
func (demoCmd) Help() string {
	return `Starts a temporary PostgreSQL (from this machine's binaries if there are any, else downloaded once), creates the table,
gives events/batch.json to the handler that Lambda runs, and shows what became of each message. Nothing is left behind.`
}

// demoKey masks the demo's rows. It is public, so no other command uses it.
const demoKey = "demo:this-key-is-public-and-for-the-demo-only"

// demoConstraint makes the database refuse one message that passes all checks.
const demoConstraint = `ALTER TABLE user_logins ADD CONSTRAINT known_locale CHECK (locale <> 'xx')`

// Run implements the command.
func (c demoCmd) Run(ctx context.Context, con *console) error {
	keys, err := mask.ParseKeys(demoKey)
	if err != nil {
		return err
	}
	m, err := model.Load("user_logins", models.FS)
	if err != nil {
		return err
	}
	db, origin, stop, err := c.database(ctx, con, m)
	if err != nil {
		return err
	}
	defer stop()
	fmt.Fprintf(con.stdout, "Started %s for this demo, and created the table user_logins in it.\n", origin)
	d := &demo{con, db, m, keys}
	return d.run(ctx)
}

// demoDatabase is a store whose rows can be read.
type demoDatabase interface {
	ingest.Store
	Rows(ctx context.Context, query string) ([][]string, error)
}

// database starts a database with the table in it. The origin names it.
func (c demoCmd) database(ctx context.Context, con *console, m *model.Model) (db demoDatabase, origin string, stop func(), err error) {
	if c.Database == "sqlite:" || c.Database == "sqlite::memory:" {
		s, err := sqlite.Open("sqlite::memory:", m.Table, fault.Names{URL: "--database", Migrate: "sluice migrate", Schema: "sluice schema"})
		if err != nil {
			return nil, "", nil, err
		}
		_, err = s.Migrate(ctx, append(sqlite.DDL(m.Table), demoConstraint))
		return s, "SQLite in memory", s.Close, err
	}
	if c.Database != "" {
		return nil, "", nil, errors.New("--database takes only sqlite:; for your own Postgres use `sluice migrate` and `sluice invoke`")
	}
	server, err := localpg.Start(ctx, localpg.Config{Log: con.stderr, Durable: true})
	if err != nil {
		return nil, "", nil, err
	}
	s, err := postgres.Open(server.URL(), m.Table)
	if err == nil {
		_, err = s.Migrate(ctx, append(m.DDL(), demoConstraint))
	}
	if err != nil {
		return nil, "", nil, errors.Join(err, server.Stop())
	}
	stop = func() {
		s.Close()
		_ = server.Stop() // the demo is over either way
	}
	return demoPostgres{s}, server.Origin(), stop, nil
}

// demoPostgres is a store and a way to read its rows.
type demoPostgres struct{ *postgres.Store }

// Rows implements demoDatabase.
func (p demoPostgres) Rows(ctx context.Context, query string) ([][]string, error) {
	conn, err := p.Connect(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Close(ctx)
	results, err := conn.Exec(ctx, query).ReadAll()
	if err != nil {
		return nil, err
	}
	var rows [][]string
	for _, r := range results[0].Rows {
		cells := make([]string, len(r))
		for i, v := range r {
			if cells[i] = string(v); v == nil {
				cells[i] = "NULL"
			}
		}
		rows = append(rows, cells)
	}
	return rows, nil
}

// demo is a run, and what its parts share.
type demo struct {
	con   *console
	db    demoDatabase
	model *model.Model
	keys  *mask.Keyring
}

func (d *demo) run(ctx context.Context) error {
	event, err := events.FS.ReadFile("batch.json")
	if err != nil {
		return err
	}
	messages, err := sqsevent.Decode(event)
	if err != nil {
		return err
	}
	log, report := slog.New(slog.DiscardHandler), &ingest.Report{}
	h := &handler.Handler{
		Pipeline: ingest.New(d.model, d.db, ingest.Static(d.keys), log), Log: log,
		Observe: func(_ context.Context, r *ingest.Report) { report = r },
	}
	t := d.con.table("delivery", "messages", "new rows", "duplicates", "repeated", "rejected", "returned", "round trips", "milliseconds")
	invoke := func(delivery string) ([]byte, error) {
		start := time.Now()
		answer, err := h.Invoke(ctx, event)
		took := time.Since(start)
		t.row(delivery, len(messages), report.Inserted, report.Count(message.Stored)-report.Inserted, report.Count(message.Repeated),
			report.Count(message.Rejected), report.Count(message.Returned), report.RoundTrips, fmt.Sprintf("%.1f", float64(took.Microseconds())/1000))
		return answer, err
	}
	answer, err := invoke("first (connects)")
	if err != nil {
		return err
	}
	d.title("The messages of events/batch.json (personal fields are shown masked)")
	d.messages(messages, report.Verdicts)
	d.title("The rejected messages, and why")
	d.rejected(messages, report.Verdicts)
	d.title("The rows in user_logins, committed in one transaction")
	if err := d.rows(ctx); err != nil {
		return err
	}
	d.title("The answer to Lambda: SQS keeps these messages and deletes the others")
	fmt.Fprintf(d.con.stdout, "%s\n", strings.ReplaceAll(string(answer), `},{`, "},\n                      {"))
	d.title("The same event again, as SQS may deliver it")
	if _, err := invoke("second"); err != nil {
		return err
	}
	t.print()
	fmt.Fprint(d.con.stdout, "\nA batch takes one round trip to the database, whatever its size. Here the database refused a row, which costs\none more. Next: set DATABASE_URL and SLUICE_MASK_KEYS, then run `sluice migrate` and\n`sluice invoke -e events/batch.json`.\n")
	return nil
}

func (d *demo) title(text string) {
	fmt.Fprintf(d.con.stdout, "\n%s\n\n", d.con.styled(d.con.stdout, bold, text))
}

// messages shows each message as the model reads it, so nothing raw.
func (d *demo) messages(messages []message.Message, verdicts []message.Verdict) {
	t := d.con.table("message", "user_id", "device_type", "ip", "device_id", "locale", "app_version", "verdict")
	reader := d.model.Reader(d.keys)
	for i := range messages {
		row, _ := columns(d.model, reader, &messages[i])
		cells := []any{short(messages[i].ID)}
		for _, name := range []string{"user_id", "device_type", "masked_ip", "masked_device_id", "locale", "app_version_full"} {
			cells = append(cells, short(cmp.Or(row[name], "·")))
		}
		t.row(append(cells, verdicts[i].Outcome)...)
	}
	t.print()
}

func (d *demo) rejected(messages []message.Message, verdicts []message.Verdict) {
	t := d.con.table("message", "reason", "where", "which means")
	for i, v := range verdicts {
		if v.Outcome != message.Rejected {
			continue
		}
		where := v.Rejection.Field
		if v.Rejection.Constraint != "" {
			where = "constraint " + v.Rejection.Constraint
		}
		t.row(short(messages[i].ID), v.Rejection.Reason, where, cmp.Or(v.Rejection.Detail, v.Rejection.Reason.Explain()))
	}
	t.print()
}

func (d *demo) rows(ctx context.Context) error {
	columns := []string{"message_id", "user_id", "device_type", "masked_ip", "masked_device_id", "locale", "app_version", "create_date", "mask_key"}
	rows, err := d.db.Rows(ctx, "SELECT "+strings.Join(columns, ", ")+" FROM user_logins ORDER BY sent_at, message_id")
	if err != nil {
		return err
	}
	t := d.con.table(columns...)
	for _, row := range rows {
		cells := make([]any, len(row))
		for i := range row {
			cells[i] = short(row[i])
		}
		t.row(cells...)
	}
	t.print()
	return nil
}

// short shortens ids and masks for the screen.
func short(s string) string {
	if len(s) > 13 {
		return s[:12] + "…"
	}
	return s
}
