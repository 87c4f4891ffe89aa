package drill_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"example.com/owner/sluice/internal/testing/pgtest"
	"example.com/owner/sluice/internal/testing/runtimeapi"
)

// kills is how often the function is killed: TEST_KILLS, which `make drill` sets.
func kills(t *testing.T) int {
	t.Helper()
	text := os.Getenv("TEST_KILLS")
	if text == "" {
		return 50
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("TEST_KILLS: %v", err)
	}
	return n
}

// built builds the function, and returns what starts a process of it, and what all of these print.
func built(t *testing.T, env ...string) (start func() *runtimeapi.Function, output *safeBuilder) {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "bootstrap")
	if err := runtimeapi.Build(t.Context(), "example.com/owner/sluice/functions/ingest", binary); err != nil {
		t.Fatal(err)
	}
	output = &safeBuilder{}
	return func() *runtimeapi.Function {
		t.Helper()
		f, err := runtimeapi.Start(t.Context(), binary, env, time.Hour, output)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}, output
}

// TestKilledBetweenCommitAndAnswer kills the real process of the function (kill -9) after its
// COMMIT and before its answer, and delivers the batch again, as SQS does.
//
// No kill misses: the server's answer to the COMMIT never reaches the function, so it cannot have
// answered, and it is killed when others see its rows.
func TestKilledBetweenCommitAndAnswer(t *testing.T) {
	t.Parallel()
	kills := kills(t)
	db := pgtest.New(t, append(builtin(t, "user_logins").DDL(), "ALTER TABLE user_logins ADD looked boolean DEFAULT (current_query() LIKE '%ON CONFLICT%')")...)
	proxy := pgtest.NewProxy(t, db.URL)
	start, output := built(t, "DATABASE_URL="+proxy.URL, "SLUICE_MASK_KEYS=k1:0123456789abcdef0123456789abcdef")
	warmUp := func(f *runtimeapi.Function) {
		if a, err := f.Invoke(event(1)); err != nil || a.Failed {
			t.Fatalf("%s, %v", a.Body, err)
		}
	}
	warm, answered, want := 0, 0, int64(0)
	for i := range kills {
		size := 10
		if i%16 == 0 {
			size = 1500 // in two statements
		}
		f := start()
		messages := records(size)
		e := eventOf(messages)
		// Every other function has a connection when its batch comes: it inserts without a look for
		// rows that are there. The others open one, which gets no answers after its set-up.
		if i%2 == 0 {
			warmUp(f)
			want++
			warm++
			proxy.DropServerBytes()
		} else {
			proxy.DropAnswers(true)
		}
		want += int64(size)
		if err := f.Send(e); err != nil {
			t.Fatal(err)
		}
		for db.Count(t, "SELECT count(*) FROM user_logins") < want {
			select {
			case <-f.Exited():
				t.Fatalf("the function ended by itself: %s", output.String())
			case <-time.After(time.Millisecond):
			}
		}
		f.Kill()
		proxy.DropAnswers(false)
		proxy.Cut()
		select {
		case <-f.Answers():
			answered++
		default:
		}
		again := start()
		if i%4 < 2 {
			for _, m := range messages {
				m["attributes"].(record)["ApproximateReceiveCount"] = "2"
			}
			e = eventOf(messages)
		} else { // SQS may deliver a message twice at once, and then nothing says so
			warmUp(again)
			want++
		}
		if a, err := again.Invoke(e); err != nil || a.Failed || string(a.Body) != `{"batchItemFailures":[]}` {
			t.Fatalf("delivered again: %s, %v", a.Body, err)
		}
		again.Kill()
		if got := db.Count(t, "SELECT count(*) FROM user_logins"); got != want {
			t.Fatalf("after kill %d there are %d rows, want %d", i+1, got, want)
		}
	}
	twice := db.Count(t, "SELECT count(*) FROM (SELECT user_id FROM user_logins GROUP BY user_id HAVING count(*) > 1) AS t")
	without := db.Count(t, "SELECT count(*) FROM user_logins WHERE NOT looked")
	t.Logf("killed %d times behind the COMMIT, %d of them on the first batch of a connection, %d behind the answer: %d messages, %d rows (%d inserted without ON CONFLICT), %d twice",
		kills, kills-warm, answered, want, db.Count(t, "SELECT count(*) FROM user_logins"), without, twice)
	if without < int64(10*warm) {
		t.Errorf("%d rows were inserted without ON CONFLICT, want at least %d", without, 10*warm)
	}
	if twice != 0 {
		t.Errorf("%d messages have two rows", twice)
	}
	if answered != 0 {
		t.Errorf("the function had answered before %d of %d kills, want none", answered, kills)
	}
}

// TestMisconfiguredFunctionSaysSo starts the real process without what it needs.
func TestMisconfiguredFunctionSaysSo(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it builds the function: not with -short")
	}
	start, _ := built(t, "SLUICE_MODEL=nosuch", "SLUICE_MASK_KEYS=short")
	f := start()
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
