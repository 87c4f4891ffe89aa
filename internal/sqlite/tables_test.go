package sqlite_test

import (
	"slices"
	"strings"
	"testing"

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/fault"
	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/sqlite"
)

// TestATableThatTakesNoRows does not hold up the others, and on a FIFO queue only what follows its rows
// in their groups.
func TestATableThatTakesNoRows(t *testing.T) {
	t.Parallel()
	text := batch.Column{Name: "id", Kind: batch.Text, Type: "text", NotNull: true}
	there, missing := &batch.Table{Name: "there", Columns: []batch.Column{text}, Key: []int{0}}, &batch.Table{Name: "missing", Columns: []batch.Column{text}, Key: []int{0}}
	for _, tt := range []struct {
		name   string
		groups []int
		want   []message.Verdict
	}{
		{"standard", []int{0, 0, 0}, []message.Verdict{{Outcome: message.Stored}, {Cause: message.CauseConfiguration}, {Outcome: message.Stored}}},
		{"FIFO", []int{1, 1, 1}, []message.Verdict{{Outcome: message.Stored}, {Cause: message.CauseConfiguration}, {Cause: message.CauseGroup}}},
		{"FIFO, another group", []int{1, 1, 2}, []message.Verdict{{Outcome: message.Stored}, {Cause: message.CauseConfiguration}, {Outcome: message.Stored}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s, err := sqlite.Open("sqlite::memory:", []*batch.Table{there, missing}, fault.Names{Migrate: "sluice migrate", Schema: "sluice schema"})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(s.Close)
			if _, err := s.Migrate(t.Context(), sqlite.DDL(there)); err != nil {
				t.Fatal(err)
			}
			b := batch.New(there, missing)
			for i, table := range []int{0, 1, 0} {
				b.BeginIn(table, i, tt.groups[i])
				b.String("r" + string(rune('0'+i)))
				b.End()
			}
			r, err := s.Insert(t.Context(), b)
			if err == nil || !strings.Contains(err.Error(), "no such table: missing") {
				t.Errorf("got the error %v", err)
			}
			if !slices.EqualFunc(r.Verdicts, tt.want, func(x, y message.Verdict) bool { return x.Outcome == y.Outcome && x.Cause == y.Cause }) {
				t.Errorf("got %+v, want %+v", r.Verdicts, tt.want)
			}
			stored := 0
			for _, v := range tt.want {
				if v.Outcome == message.Stored {
					stored++
				}
			}
			if rows, err := s.Rows(t.Context(), "SELECT id FROM there"); err != nil || len(rows) != stored || r.Tallies.Sum().Inserted != stored {
				t.Errorf("got the rows %v and %v, %v", rows, r.Tallies, err)
			}
			if err := s.Ping(t.Context()); err == nil {
				t.Error("a ping does not say that a table is missing")
			}
		})
	}
}
