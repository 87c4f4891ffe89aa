package ingest_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/ingest"
	"example.com/owner/sluice/internal/mask"
	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/testing/testlog"
)

// waiting returns a pipeline whose model waits for missing rows until a message is received so
// often. Its store refuses every row for the same reason.
func waiting(t *testing.T, receives int, refusal message.Rejection) (*ingest.Pipeline, *testlog.Log) {
	t.Helper()
	m := logins(t)
	m.ForeignKeyReceives = receives
	st := &store{verdict: func(b *batch.Batch) (message.Result, error) {
		result := message.Result{Verdicts: make([]message.Verdict, b.Len())}
		for i := range result.Verdicts {
			result.Verdicts[i] = message.Verdict{Outcome: message.Rejected, Rejection: refusal}
			if i > 0 && b.Group(i) != 0 && b.Group(i) == b.Group(i-1) {
				result.Verdicts[i] = message.Verdict{Cause: message.CauseGroup}
			}
		}
		return result, nil
	}}
	log := &testlog.Log{}
	return ingest.New(m.Set(), st, ingest.Static(mask.Unkeyed()), slog.New(slog.NewJSONHandler(log, nil))), log
}

func TestOrphans(t *testing.T) {
	t.Parallel()
	orphan := message.Rejection{Reason: message.ReasonRefused, SQLState: "23503", Constraint: "of_user", Column: "user_id"}
	inSQLite := message.Rejection{Reason: message.ReasonRefused, Constraint: message.ForeignKey, Column: "user_id"}
	const returned, rejected = "a:returned(foreign_keyrefused_by_database)", "a:rejected(refused_by_database)"
	for _, tt := range []struct {
		name     string
		receives int // of the model
		count    int
		refusal  message.Rejection
		want     string
	}{
		{"the model does not wait", 0, 1, orphan, rejected},
		{"the first delivery", 20, 1, orphan, returned},
		{"an unknown count", 20, 0, orphan, returned},
		{"the last delivery that waits", 20, 19, orphan, returned},
		{"enough", 20, 20, orphan, rejected},
		{"more than enough", 20, 21, orphan, rejected},
		{"at once", 1, 1, orphan, rejected},
		{"SQLite", 20, 1, inSQLite, returned},
		{"another constraint", 20, 1, message.Rejection{Reason: message.ReasonRefused, SQLState: "23514", Constraint: message.ForeignKey}, rejected},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p, _ := waiting(t, tt.receives, tt.refusal)
			all := messages("a")
			all[0].ReceiveCount = tt.count
			report := p.Run(t.Context(), all)
			if got := words(report); got != tt.want || report.Err != nil || report.Cause != message.CauseNone {
				t.Errorf("got %s, %v %s; want %s and no error", got, report.Err, report.Cause, tt.want)
			}
		})
	}
}

// TestOrphansSettle with a back-off, and those after one in its FIFO group with it. A repeat shares
// the verdict.
func TestOrphansSettle(t *testing.T) {
	t.Parallel()
	p, _ := waiting(t, 20, message.Rejection{Reason: message.ReasonRefused, SQLState: "23503"})
	report := p.Run(t.Context(), messages("g/a g/b h/c! h/d"))
	if diff := cmp.Diff(report.Settle(true), []ingest.Settlement{ingest.Delay, ingest.Delay, ingest.Done, ingest.Leave}); diff != "" {
		t.Errorf("%s: got(-) want(+)\n%s", words(report), diff)
	}
	report = p.Run(t.Context(), messages("a a"))
	if diff := cmp.Diff(report.Settle(false), []ingest.Settlement{ingest.Delay, ingest.Delay}); diff != "" {
		t.Errorf("%s: got(-) want(+)\n%s", words(report), diff)
	}
}

func TestOrphansInTheLog(t *testing.T) {
	t.Parallel()
	p, log := waiting(t, 20, message.Rejection{Reason: message.ReasonRefused, SQLState: "23503", Constraint: "of_user"})
	const n = 3 * ingest.MaxLines
	var short strings.Builder
	for i := range n {
		fmt.Fprintf(&short, "m%d ", i)
	}
	all := messages(short.String())
	all[0].ReceiveCount = 3
	report := p.Run(t.Context(), all)
	p.Log(t.Context(), &report, false)
	p.LogBatch(t.Context(), &report)
	text := log.String()
	for want, times := range map[string]int{
		`"level":"WARN","msg":"message returned: its row refers to one that is not stored yet"`:                                                                ingest.MaxLines,
		`"message_id":"m0","cause":"foreign_key","receives":3,"rejected_at":20,"sqlstate":"23503","condition":"foreign_key_violation","constraint":"of_user"}`: 1,
		fmt.Sprintf(`"msg":"more messages returned","count":%d,"cause":"foreign_key"}`, n-ingest.MaxLines):                                                     1,
		fmt.Sprintf(`"stored":0,"duplicate":0,"rejected":0,"returned":%d`, n):                                                                                  1,
		`"level":"ERROR"`: 0,
	} {
		if got := bytes.Count([]byte(text), []byte(want)); got != times {
			t.Errorf("got %d lines with %s, want %d", got, want, times)
		}
	}
}
