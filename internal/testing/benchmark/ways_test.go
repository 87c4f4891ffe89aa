package benchmark_test

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/google/uuid"

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/handler"
	"example.com/owner/sluice/internal/ingest"
	"example.com/owner/sluice/internal/mask"
	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/model"
	"example.com/owner/sluice/internal/postgres"
	"example.com/owner/sluice/internal/testing/benchmark/usual"
	"example.com/owner/sluice/internal/testing/pgtest"
	"example.com/owner/sluice/internal/testing/runtimeapi"
	"example.com/owner/sluice/models"
)

// A way is one way from messages to committed rows. Each has a schema to itself.
type way struct {
	// process does the client's work.
	process int
	// prepare does what is not measured and returns what is.
	prepare func(messages []message.Message) func() error
}

// kinds are the ways, in the order of the tables. Each masks by SHA-256 without a key, as the usual
// functions do.
var kinds = []struct {
	name string
	// most is the largest batch to measure: larger ones take seconds.
	most int
	// open opens a way into the schema of db.
	open func(t testing.TB, s *setup, db *pgtest.DB) way
}{
	{"COPY of ready rows", 6000, func(t testing.TB, s *setup, db *pgtest.DB) way { return copyReady(t, db, s.model) }},
	{"sluice from bodies", 6000, func(t testing.TB, s *setup, db *pgtest.DB) way { return fromBodies(t, pipeline(t, db, s.model.Set())) }},
	{"sluice from the event", 6000, func(t testing.TB, s *setup, db *pgtest.DB) way {
		return fromEvent(t, pipeline(t, db, s.model.Set()), func(messages []message.Message) []byte { return event(messages, 1) })
	}},
	{"sluice, bodies unlike", 6000, func(t testing.TB, s *setup, db *pgtest.DB) way {
		return fromEvent(t, pipeline(t, db, s.model.Set()), func(messages []message.Message) []byte { return event(unlike(messages), 1) })
	}},
	{"sluice, redelivered", 6000, func(t testing.TB, s *setup, db *pgtest.DB) way {
		return fromEvent(t, pipeline(t, db, s.model.Set()), func(messages []message.Message) []byte { return event(messages, 2) })
	}},
	{"usual Go", 6000, func(t testing.TB, _ *setup, db *pgtest.DB) way { return usualBatch(t, db) }},
	{"sluice, built", 6000, func(t testing.TB, s *setup, db *pgtest.DB) way {
		return function(t, s.ingest, "DATABASE_URL="+db.URL, "SLUICE_MASK=sha256")
	}},
	{"usual Go, built", 6000, func(t testing.TB, s *setup, db *pgtest.DB) way {
		return function(t, s.usual, "DATABASE_URL="+db.URL)
	}},
	{"each message by itself, Go, built", 1000, func(t testing.TB, s *setup, db *pgtest.DB) way {
		return function(t, s.usual, "DATABASE_URL="+db.URL, "HANDLER=each")
	}},
	{"usual Python", 6000, func(t testing.TB, s *setup, db *pgtest.DB) way { return python(t, s, db, "batch") }},
	{"each message by itself, Python", 1000, func(t testing.TB, s *setup, db *pgtest.DB) way { return python(t, s, db, "each") }},
}

// setup is what the ways need: the model, a server, and the programs that some run.
type setup struct {
	model         *model.Model
	server        *pgtest.Server // nil if TEST_DATABASE_URL is the server
	ingest, usual string
	python        string // "" if there is none with psycopg
}

// newSetup starts a server, builds the functions and looks for Python's driver.
func newSetup(t testing.TB, python string) *setup {
	t.Helper()
	s := &setup{model: userLogins(t), ingest: filepath.Join(t.TempDir(), "ingest"), usual: filepath.Join(t.TempDir(), "usual")}
	for source, output := range map[string]string{"../../../functions/ingest": s.ingest, "./testdata/usual": s.usual} {
		if err := runtimeapi.Build(t.Context(), source, output); err != nil {
			t.Fatal(err)
		}
	}
	with := cmp.Or(python, "python3")
	switch why, err := exec.CommandContext(t.Context(), with, "-c", "import psycopg").CombinedOutput(); {
	case err == nil:
		s.python = with
	case python != "":
		t.Fatalf("PYTHON=%s does not import psycopg (%v): %s\nInstall it: %[1]s -m pip install 'psycopg[binary]'", python, err, bytes.TrimSpace(why))
	default:
		progress("the ways of Python are not run: python3 with psycopg is not there (PYTHON=…)")
	}
	if os.Getenv("TEST_DATABASE_URL") == "" {
		// Those of tests lose what they committed if the machine stops: their commits cost nothing.
		s.server = pgtest.NewServer(t, pgtest.ServerConfig{Parameters: map[string]string{"fsync": "on", "full_page_writes": "on"}})
	}
	return s
}

// schema makes a schema.
func (s *setup) schema(t testing.TB, statements ...string) *pgtest.DB {
	t.Helper()
	if s.server != nil {
		return s.server.New(t, statements...)
	}
	return pgtest.New(t, statements...)
}

// tables makes a schema with the model's table.
func (s *setup) tables(t testing.TB) *pgtest.DB {
	t.Helper()
	// A vacuum in the middle of one way's turn would be counted as its time.
	return s.schema(t, append(s.model.DDL(), "ALTER TABLE user_logins SET (autovacuum_enabled = false)")...)
}

func userLogins(t testing.TB) *model.Model {
	t.Helper()
	m, err := model.Load("user_logins", models.FS)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// logins returns n messages that are new in each round, sent a millisecond apart from number first
// on.
func logins(n, first int) []message.Message {
	messages := make([]message.Message, n)
	for i := range messages {
		k := first + i
		messages[i] = message.Message{
			ID: uuid.NewString(), HasBody: true, HasSent: true, SentMillis: 1767225600000 + int64(k), ReceiveCount: 1,
			Body: fmt.Appendf(nil, `{"user_id": "%s", "app_version": "%d.3.%d", "device_type": "android", "ip": "%d.%d.%d.%d", "locale": "RU", "device_id": "593-%02d-%04d"}`,
				uuid.NewString(), k%7, k%10, 1+k%200, k>>8&255, k>>4&255, k&255, k%100, k%10000),
		}
	}
	return messages
}

// unlike gives each body another order of its members than the one before it: each has to be read
// by itself.
func unlike(messages []message.Message) []message.Message {
	for i := range messages {
		members := strings.Split(strings.Trim(string(messages[i].Body), "{}"), ", ")
		at := i % len(members)
		messages[i].Body = []byte("{" + strings.Join(append(members[at:len(members):len(members)], members[:at]...), ", ") + "}")
	}
	return messages
}

// event returns the event of messages, as long as those of SQS: about a kilobyte for each.
func event(messages []message.Message, receiveCount int) []byte {
	handle := "AQEB" + strings.Repeat("x7Kq+0/9", 45)
	out := make([]byte, 0, 1100*len(messages)+20)
	out = append(out, `{"Records":[`...)
	for i := range messages {
		m := &messages[i]
		if i > 0 {
			out = append(out, ',')
		}
		out = fmt.Appendf(out, `{"messageId":"%s","receiptHandle":"%s","body":%s,`, m.ID, handle, strconv.AppendQuote(nil, string(m.Body)))
		out = fmt.Appendf(out, `"attributes":{"ApproximateReceiveCount":"%d","SentTimestamp":"%d","SenderId":"AIDAIENQZJOLO23YVJ4VO","ApproximateFirstReceiveTimestamp":"%[2]d"},`, receiveCount, m.SentMillis)
		out = append(out, `"messageAttributes":{},"md5OfBody":"e4e68fb7bd0e697a0ae8f1bb342846b3","eventSource":"aws:sqs","eventSourceARN":"arn:aws:sqs:eu-central-1:123456789012:logins","awsRegion":"eu-central-1"}`...)
	}
	return append(out, "]}"...)
}

func pipeline(t testing.TB, db *pgtest.DB, set *model.Set) *ingest.Pipeline {
	t.Helper()
	store, err := postgres.Open(db.URL, set.Tables())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	return ingest.New(set, store, ingest.Static(mask.Unkeyed()), slog.New(slog.DiscardHandler))
}

func fromBodies(t testing.TB, p *ingest.Pipeline) way {
	return way{os.Getpid(), func(messages []message.Message) func() error {
		return func() error {
			r := p.Run(t.Context(), messages)
			if r.Tallies.Sum().Inserted != len(messages) {
				return fmt.Errorf("%d rows of %d: %w", r.Tallies.Sum().Inserted, len(messages), r.Err)
			}
			return nil
		}
	}}
}

func fromEvent(t testing.TB, p *ingest.Pipeline, event func([]message.Message) []byte) way {
	h := handler.Handler{Pipeline: p, Log: slog.New(slog.DiscardHandler)}
	return way{os.Getpid(), func(messages []message.Message) func() error {
		bytes := event(messages)
		return func() error {
			answer, err := h.Invoke(t.Context(), bytes)
			return accepted(answer, err)
		}
	}}
}

// accepted returns an error unless the answer is that all messages are done.
func accepted(answer []byte, err error) error {
	switch string(answer) {
	case `{"batchItemFailures":[]}`, `{"batchItemFailures":null}`:
		return err
	}
	return fmt.Errorf("the answer is %s, %w", answer, err)
}

// copyReady is the bound of what any client can do: it sends rows that are ready.
func copyReady(t testing.TB, db *pgtest.DB, m *model.Model) way {
	conn := db.Conn(t).PgConn()
	var names []string
	for _, c := range m.Table.Columns {
		names = append(names, batch.Quote(c.Name))
	}
	sql := "COPY user_logins (" + strings.Join(names, ", ") + ") FROM STDIN BINARY"
	return way{os.Getpid(), func(messages []message.Message) func() error {
		rows := batch.New(m.Table)
		reader := m.Reader(mask.Unkeyed())
		for i := range messages {
			reader.Append(rows, i, 0, &messages[i])
		}
		rows.Sort()
		data := append([]byte("PGCOPY\n\xff\r\n\x00"), make([]byte, 8)...)
		for i := range rows.Len() {
			data = binary.BigEndian.AppendUint16(data, uint16(len(names)))
			rows.Row(i, func(_ int, v []byte) {
				if v == nil {
					data = binary.BigEndian.AppendUint32(data, 0xffffffff)
					return
				}
				data = append(binary.BigEndian.AppendUint32(data, uint32(len(v))), v...)
			})
		}
		data = append(data, 0xff, 0xff)
		return func() error {
			_, err := conn.CopyFrom(t.Context(), bytes.NewReader(data), sql)
			return err
		}
	}}
}

func usualBatch(t testing.TB, db *pgtest.DB) way {
	f := usual.Function{Conn: db.Conn(t)}
	return way{os.Getpid(), func(messages []message.Message) func() error {
		bytes := event(messages, 1)
		return func() error {
			var e events.SQSEvent
			if err := json.Unmarshal(bytes, &e); err != nil {
				return err
			}
			_, err := f.Batch(t.Context(), e)
			return err
		}
	}}
}

// function is a built function under the stand-in of Lambda's runtime API.
func function(t testing.TB, binary string, env ...string) way {
	t.Helper()
	f, err := runtimeapi.Start(t.Context(), binary, env, 10*time.Minute, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Kill)
	return way{f.PID(), func(messages []message.Message) func() error {
		bytes := event(messages, 1)
		return func() error {
			answer, err := f.Invoke(bytes)
			return accepted(answer.Body, err)
		}
	}}
}

// python is a process of testdata/usual.py.
func python(t testing.TB, s *setup, db *pgtest.DB, handler string) way {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), s.python, "testdata/usual.py", handler)
	cmd.Env = append(os.Environ(), "DATABASE_URL="+db.URL)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close() // it ends then
		_ = cmd.Wait() // an error showed in its answers
	})
	const stored = "stored\n"
	return way{cmd.Process.Pid, func(messages []message.Message) func() error {
		bytes := event(messages, 1)
		framed := append(binary.BigEndian.AppendUint32(nil, uint32(len(bytes))), bytes...)
		return func() error {
			if _, err := in.Write(framed); err != nil {
				return err
			}
			_, err := io.ReadFull(out, make([]byte, len(stored)))
			return err
		}
	}}
}
