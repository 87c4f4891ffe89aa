package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"example.com/owner/sluice/events"
	"example.com/owner/sluice/internal/batch"
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

// demoCheck makes the database refuse one message that passes all checks.
const demoCheck = `CONSTRAINT known_locale CHECK (locale <> 'xx')`

const demoConstraint = `ALTER TABLE user_logins ADD ` + demoCheck

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
	// A pipe that closes, as in `sluice demo | head`, ends the output and not the process, which has a
	// server to end.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	defer signal.Reset(syscall.SIGPIPE)
	db, origin, stop, err := c.database(ctx, con, m)
	if err != nil && ctx.Err() != nil {
		return errStopped // and not what the server says of it
	}
	if err != nil {
		return err
	}
	defer stop()
	con.say("Started %s for this demo.", origin)
	con.say("It has the table user_logins, with a constraint that only the demo adds, so that")
	con.say("the database refuses one message: %s", demoCheck)
	d := &demo{con, db, m, keys}
	err = d.run(ctx)
	if err != nil && ctx.Err() != nil {
		return errStopped
	}
	return err
}

// demoDatabase is a store whose rows can be read.
type demoDatabase interface {
	ingest.Store
	Rows(ctx context.Context, query string) ([][]string, error)
}

// database starts a database with the table in it. The origin names it.
func (c demoCmd) database(ctx context.Context, con *console, m *model.Model) (db demoDatabase, origin string, stop func(), err error) {
	if c.Database == "sqlite:" || c.Database == "sqlite::memory:" {
		s, err := sqlite.Open("sqlite::memory:", m.Set().Tables(), fault.Names{URL: "--database", Migrate: "sluice migrate", Schema: "sluice schema"})
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
	s, err := postgres.Open(server.URL(), []*batch.Table{m.Table})
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
		Pipeline: ingest.New(d.model.Set(), d.db, ingest.Static(d.keys), log), Log: log,
		Observe: func(_ context.Context, r *ingest.Report) {
			report = &ingest.Report{Verdicts: slices.Clone(r.Verdicts), Tallies: r.Tallies, RoundTrips: r.RoundTrips}
		},
	}
	var took []time.Duration
	var reports []*ingest.Report
	invoke := func() ([]byte, error) {
		start := time.Now()
		answer, err := h.Invoke(ctx, event)
		took, reports = append(took, time.Since(start)), append(reports, report)
		return answer, err
	}
	answer, err := invoke()
	if err != nil {
		return err
	}
	d.title("The messages of events/batch.json, as they are sent (all values are made up)")
	d.bodies(messages)
	d.title("What became of them")
	d.verdicts(messages, report.Verdicts)
	d.title(fmt.Sprintf("The rows in user_logins, committed in one transaction (%d of %d columns)", len(demoColumns), len(d.model.Columns)))
	if err := d.rows(ctx); err != nil {
		return err
	}
	d.title("The answer to Lambda: SQS keeps these messages and deletes the others")
	fmt.Fprintf(d.con.stdout, "%s\n", strings.ReplaceAll(string(answer), `{"itemIdentifier"`, "\n "+`{"itemIdentifier"`))
	if _, err := invoke(); err != nil {
		return err
	}
	d.title("The same event twice, as SQS may deliver it")
	d.deliveries(reports, took)
	fmt.Fprint(d.con.stdout, `
A batch takes one round trip to the database, whatever its size. Here the
database refused a row, which costs one more.

Next: set DATABASE_URL and SLUICE_MASK_KEYS, then run
  sluice migrate
  sluice invoke -e events/batch.json
`)
	return nil
}

func (d *demo) title(text string) {
	fmt.Fprintf(d.con.stdout, "\n%s\n\n", d.con.styled(d.con.stdout, bold, text))
}

func (d *demo) bodies(messages []message.Message) {
	t := d.con.table("message", "body")
	for i := range messages {
		t.row(short(messages[i].ID), prose(messages[i].Body))
	}
	t.print()
}

func (d *demo) verdicts(messages []message.Message, verdicts []message.Verdict) {
	t := d.con.table("message", "verdict", "reason")
	for i, v := range verdicts {
		why := ""
		if v.Outcome == message.Rejected {
			why = said(v.Rejection)
		}
		t.row(short(messages[i].ID), v.Outcome, prose(why))
	}
	t.print()
}

func (d *demo) deliveries(reports []*ingest.Report, took []time.Duration) {
	t := d.con.table("", "first", "second")
	line := func(what string, count func(i int) string) { t.row(what, count(0), count(1)) }
	numbers := func(what string, count func(*ingest.Report) int) {
		line(what, func(i int) string { return strconv.Itoa(count(reports[i])) })
	}
	numbers("messages", func(r *ingest.Report) int { return len(r.Verdicts) })
	numbers("new rows", func(r *ingest.Report) int { return r.Tallies.Sum().Inserted })
	numbers("duplicates", func(r *ingest.Report) int { return r.Count(message.Stored) - r.Tallies.Sum().Inserted })
	numbers("repeated in the batch", func(r *ingest.Report) int { return r.Count(message.Repeated) })
	numbers("rejected", func(r *ingest.Report) int { return r.Count(message.Rejected) })
	numbers("returned", func(r *ingest.Report) int { return r.Count(message.Returned) })
	numbers("round trips", func(r *ingest.Report) int { return r.RoundTrips })
	line("milliseconds (the first connects)", func(i int) string { return strconv.FormatInt(took[i].Milliseconds(), 10) })
	t.print()
}

// demoColumns fit into a narrow terminal.
var demoColumns = []string{"message_id", "user_id", "masked_ip", "masked_device_id", "locale", "app_version"}

func (d *demo) rows(ctx context.Context) error {
	rows, err := d.db.Rows(ctx, "SELECT "+strings.Join(demoColumns, ", ")+" FROM user_logins ORDER BY sent_at, message_id")
	if err != nil {
		return err
	}
	t := d.con.table(demoColumns...)
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
