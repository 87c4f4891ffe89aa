package drill_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"sluice/internal/model"
	"sluice/internal/pgtest"
	"sluice/internal/runtimeapi"
	"sluice/models"
)

// TestKilledBetweenCommitAndAnswer kills the real process of the function
// (kill -9) after its COMMIT and before its answer, and delivers the batch
// again, as SQS does. SLUICE_KILLS says how often: CI does 200, `make drill` 1,000.
func TestKilledBetweenCommitAndAnswer(t *testing.T) {
	t.Parallel()
	kills := 50
	if text := os.Getenv("SLUICE_KILLS"); text != "" {
		var err error
		if kills, err = strconv.Atoi(text); err != nil {
			t.Fatalf("SLUICE_KILLS: %v", err)
		}
	}
	m, err := model.Load("user_logins", models.FS)
	if err != nil {
		t.Fatal(err)
	}
	db := pgtest.New(t, m.DDL()...)
	binary := filepath.Join(t.TempDir(), "bootstrap")
	if err := runtimeapi.Build(t.Context(), "sluice/functions/ingest", binary); err != nil {
		t.Fatal(err)
	}
	proxy := pgtest.NewProxy(t, db.URL)
	start := func() *runtimeapi.Function {
		var output safeBuilder
		f, err := runtimeapi.Start(t.Context(), binary, []string{"DATABASE_URL=" + proxy.URL, "SLUICE_MASK_KEYS=k1:0123456789abcdef0123456789abcdef"}, time.Minute, &output)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	const size = 10
	answered, want := 0, int64(0)
	for i := range kills {
		f := start()
		e := event(size)
		// Every other time the function has a connection, and the answer of
		// its COMMIT gets lost: so it cannot have answered when it dies. The
		// other times it may die a moment before its answer or behind it.
		if i%2 == 0 {
			if a, err := f.Invoke(event(1)); err != nil || a.Failed {
				t.Fatalf("%s, %v", a.Body, err)
			}
			want++
			proxy.DropServerBytes()
		}
		want += size
		if err := f.Send(e); err != nil {
			t.Fatal(err)
		}
		for db.Count(t, "SELECT count(*) FROM user_logins") < want {
			time.Sleep(time.Millisecond)
		}
		f.Kill()
		proxy.Cut()
		select {
		case <-f.Answers():
			answered++
		default:
		}
		again := start()
		if a, err := again.Invoke(e); err != nil || a.Failed || string(a.Body) != `{"batchItemFailures":[]}` {
			t.Fatalf("delivered again: %s, %v", a.Body, err)
		}
		again.Kill()
		if got := db.Count(t, "SELECT count(*) FROM user_logins"); got != want {
			t.Fatalf("after kill %d there are %d rows, want %d", i+1, got, want)
		}
	}
	twice := db.Count(t, "SELECT count(*) FROM (SELECT user_id FROM user_logins GROUP BY user_id HAVING count(*) > 1) AS t")
	t.Logf("killed %d times, %d of them before the answer: %d messages, %d rows, %d twice", kills, kills-answered, want, db.Count(t, "SELECT count(*) FROM user_logins"), twice)
	if twice != 0 {
		t.Errorf("%d messages have two rows", twice)
	}
	if answered > kills/2 {
		t.Errorf("the function had answered before %d of %d kills: the drill shows too little", answered, kills)
	}
}

// TestMisconfiguredFunctionSaysSo starts the real process without what it needs.
func TestMisconfiguredFunctionSaysSo(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it builds the function: not with -short")
	}
	binary := filepath.Join(t.TempDir(), "bootstrap")
	if err := runtimeapi.Build(t.Context(), "sluice/functions/ingest", binary); err != nil {
		t.Fatal(err)
	}
	var output safeBuilder
	f, err := runtimeapi.Start(t.Context(), binary, []string{"SLUICE_MODEL=nosuch"}, time.Minute, &output)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Kill()
	a, err := f.Invoke(event(1))
	if err != nil || !a.Failed {
		t.Fatalf("got %s, %v, want an error", a.Body, err)
	}
	for _, want := range []string{`"errorType":"ConfigError"`, "DATABASE_URL is not set", "SLUICE_MASK_KEYS", "no model is named"} {
		if !strings.Contains(string(a.Body), want) {
			t.Errorf("the error lacks %q: %s", want, a.Body)
		}
	}
	if err := f.Terminate(); err != nil {
		t.Fatal(fmt.Errorf("terminate: %w", err))
	}
}
