package pgtest_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"example.com/owner/sluice/internal/testing/pgtest"
)

// throughProxy returns an empty table `things (name text)`, a proxy before it, and a connection
// through the proxy whose round trips so far are not counted.
func throughProxy(t *testing.T) (*pgtest.DB, *pgtest.Proxy, *pgx.Conn) {
	t.Helper()
	db := pgtest.New(t)
	db.Exec(t, "CREATE TABLE things (name text)")
	proxy := pgtest.NewProxy(t, db.URL)
	conn := connect(t, proxy.URL)
	proxy.Reset()
	return db, proxy, conn
}

const insert = "INSERT INTO things VALUES ('a thing')"

// count returns the number of rows, by another connection than the one under test.
func count(t *testing.T, db *pgtest.DB) int64 {
	t.Helper()
	return db.Count(t, "SELECT count(*) FROM things")
}

func TestRoundTrips(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 10_000)
	tests := []struct {
		name string
		work func(context.Context, *pgx.Conn) error
		want int
	}{
		{
			name: "nothing",
			work: func(context.Context, *pgx.Conn) error { return nil },
			want: 0,
		},
		{
			name: "simple query",
			work: func(ctx context.Context, conn *pgx.Conn) error {
				_, err := conn.Exec(ctx, insert)
				return err
			},
			want: 1,
		},
		{
			name: "query with arguments, to be prepared",
			work: func(ctx context.Context, conn *pgx.Conn) error {
				_, err := conn.Exec(ctx, "INSERT INTO things VALUES ($1)", long)
				return err
			},
			want: 2,
		},
		{
			name: "transaction",
			work: func(ctx context.Context, conn *pgx.Conn) error {
				return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
					_, err := tx.Exec(ctx, insert)
					return err
				})
			},
			want: 3,
		},
		{
			name: "the server answers while the client is still sending",
			work: func(ctx context.Context, conn *pgx.Conn) error {
				pipeline := conn.PgConn().StartPipeline(ctx)
				for range 2_000 {
					pipeline.SendQueryParams("INSERT INTO things VALUES ($1)", [][]byte{[]byte(long[:200])}, nil, nil, nil)
					pipeline.SendPipelineSync()
				}
				if err := pipeline.Flush(); err != nil {
					return err
				}
				for {
					results, err := pipeline.GetResults()
					if err != nil || results == nil {
						return errors.Join(err, pipeline.Close())
					}
				}
			},
			want: 1,
		},
		{
			name: "a copy of some megabytes",
			work: func(ctx context.Context, conn *pgx.Conn) error {
				rows := strings.NewReader(strings.Repeat(long+"\n", 1_000))
				_, err := conn.PgConn().CopyFrom(ctx, rows, "COPY things FROM STDIN")
				return err
			},
			want: 1,
		},
		{
			name: "closing",
			work: func(ctx context.Context, conn *pgx.Conn) error { return conn.Close(ctx) },
			want: 0,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, proxy, conn := throughProxy(t)
			if err := tt.work(t.Context(), conn); err != nil {
				t.Fatal(err)
			}
			if got := proxy.RoundTrips(); got != tt.want {
				t.Errorf("RoundTrips() = %d, want %d", got, tt.want)
			}
		})
	}
}

func TestRoundTripsAreSummedOverSessions(t *testing.T) {
	t.Parallel()
	_, proxy, conn := throughProxy(t)
	connect(t, proxy.URL)
	opening := proxy.RoundTrips()
	if opening < 1 || opening > 3 { // by the server's way of authenticating
		t.Errorf("opening a session took %d round trips, want 1 to 3", opening)
	}
	if _, err := conn.Exec(t.Context(), insert); err != nil {
		t.Fatal(err)
	}
	if got := proxy.RoundTrips(); got != opening+1 {
		t.Errorf("RoundTrips() = %d, want %d", got, opening+1)
	}
}

func TestCancelsAreNoRoundTrips(t *testing.T) {
	t.Parallel()
	db, proxy, conn := throughProxy(t)
	result := make(chan error)
	go func() {
		_, err := conn.Exec(context.Background(), "SELECT pg_sleep(30)")
		result <- err
	}()
	for db.Count(t, "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1 AND state = 'active'", db.Schema) == 0 {
		time.Sleep(time.Millisecond)
	}
	if err := conn.PgConn().CancelRequest(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantCode(t, "the cancelled statement", <-result, "57014")
	if trips, cancels := proxy.RoundTrips(), proxy.Cancels(); trips != 1 || cancels != 1 {
		t.Errorf("%d round trips and %d cancels, want 1 and 1", trips, cancels)
	}
}

func TestDelay(t *testing.T) {
	t.Parallel()
	_, proxy, conn := throughProxy(t)
	proxy.SetDelay(30 * time.Millisecond)
	begin := time.Now()
	if _, err := conn.Exec(t.Context(), insert); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begin); took < 60*time.Millisecond {
		t.Errorf("a round trip took %v, want 60ms at least", took)
	}
	if got := proxy.RoundTrips(); got != 1 {
		t.Errorf("RoundTrips() = %d, want 1", got)
	}
}

func TestSilence(t *testing.T) {
	t.Parallel()
	db, proxy, conn := throughProxy(t)
	proxy.Silence()
	result := make(chan error)
	go func() {
		_, err := conn.Exec(context.Background(), insert)
		result <- err
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := pgx.Connect(ctx, proxy.URL); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("connecting to a silent server: %v, want the deadline's error", err)
	}
	select {
	case err := <-result:
		t.Fatalf("a silent server's client got an answer: %v", err)
	default:
	}
	if got := count(t, db); got != 0 {
		t.Errorf("rows before Resume: %d, want 0", got)
	}

	proxy.Resume()
	if err := <-result; err != nil {
		t.Errorf("the statement after Resume: %v", err)
	}
	if got := count(t, db); got != 1 {
		t.Errorf("rows after Resume: %d, want 1", got)
	}
}

func TestCut(t *testing.T) {
	t.Parallel()
	_, proxy, conn := throughProxy(t)
	proxy.Cut()
	_, err := conn.Exec(t.Context(), insert)
	wantLost(t, err)

	if _, err := connect(t, proxy.URL).Exec(t.Context(), insert); err != nil {
		t.Errorf("on a new connection after a cut: %v", err)
	}
}

func TestCutAfterClientBytes(t *testing.T) {
	t.Parallel()
	whole := len(insert) + 1 + 4 + 1 // type, length, closing NUL
	tests := []struct {
		name  string
		bytes int
		want  int64 // rows
	}{
		{"nothing gets there", 0, 0},
		{"all but a byte", whole - 1, 0},
		{"all", whole, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			db, proxy, conn := throughProxy(t)
			proxy.Refuse(true) // pgx's cancel request
			proxy.CutAfterClientBytes(tt.bytes)
			_, err := conn.Exec(t.Context(), insert)
			wantLost(t, err)
			awaitEnd(t, db)
			if got := count(t, db); got != tt.want {
				t.Errorf("rows: %d, want %d", got, tt.want)
			}
		})
	}
}

// awaitEnd waits until the server has noticed the end of the test's connections and has done what
// they asked for.
func awaitEnd(t *testing.T, db *pgtest.DB) {
	t.Helper()
	for db.Count(t, "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1", db.Schema) != 0 {
		time.Sleep(time.Millisecond)
	}
}

func TestLostAnswerOfACommit(t *testing.T) {
	t.Parallel()
	db, proxy, conn := throughProxy(t)
	tx, err := conn.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), insert); err != nil {
		t.Fatal(err)
	}
	proxy.DropServerBytes()
	result := make(chan error)
	go func() { result <- tx.Commit(context.Background()) }()
	for count(t, db) == 0 {
		time.Sleep(time.Millisecond)
	}
	proxy.Cut()
	wantLost(t, <-result)

	again := connect(t, proxy.URL) // whose answers are heard
	if _, err := again.Exec(t.Context(), insert); err != nil {
		t.Errorf("on a new connection: %v", err)
	}
}

func TestLostAnswerOfAFirstStatement(t *testing.T) {
	t.Parallel()
	db, proxy, before := throughProxy(t)
	proxy.DropAnswers(true)
	conn := connect(t, proxy.URL) // it is set up, and hears nothing after that
	proxy.DropAnswers(false)
	result := make(chan error)
	go func() {
		_, err := conn.Exec(context.Background(), insert)
		result <- err
	}()
	for count(t, db) == 0 {
		time.Sleep(time.Millisecond)
	}
	for name, heard := range map[string]*pgx.Conn{"opened before": before, "opened after": connect(t, proxy.URL)} {
		if _, err := heard.Exec(t.Context(), insert); err != nil {
			t.Errorf("on a connection %s: %v", name, err)
		}
	}
	select {
	case err := <-result:
		t.Fatalf("the answer came: %v", err)
	default:
	}
	proxy.Cut()
	wantLost(t, <-result)
}

func TestRefuse(t *testing.T) {
	t.Parallel()
	_, proxy, conn := throughProxy(t)
	proxy.Refuse(true)
	if _, err := pgx.Connect(t.Context(), proxy.URL); err == nil {
		t.Error("a connection was accepted")
	}
	if _, err := conn.Exec(t.Context(), insert); err != nil {
		t.Errorf("on a connection that was open before: %v", err)
	}
	proxy.Refuse(false)
	connect(t, proxy.URL)
}

// wantLost checks for an error that says nothing about what the server did.
func wantLost(t *testing.T, err error) {
	t.Helper()
	var answer *pgconn.PgError
	if err == nil || errors.As(err, &answer) {
		t.Errorf("over a connection that is cut: %v, want that it is lost", err)
	}
}
