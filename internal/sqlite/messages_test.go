package sqlite_test

import (
	"fmt"
	"strings"
	"testing"

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/sqlite"
)

// TestChildrenAndTriggers has triggers that change what is written, or do not let it be deleted.
func TestChildrenAndTriggers(t *testing.T) {
	t.Parallel()
	const (
		discarded = "returned swallowed"
		refused   = "rejected (refused_by_database constraint TRIGGER)"
	)
	renames := func(event, table, column string) string {
		return fmt.Sprintf("CREATE TRIGGER renames AFTER %s ON %s WHEN NEW.word = 'bad' BEGIN UPDATE %[2]s SET %[3]s = %[3]s + 1000 WHERE word = 'bad' AND %[3]s < 1000; END", event, table, column)
	}
	for _, tt := range []struct {
		name       string
		onConflict batch.OnConflict
		trigger    string
		old        int // a line of the order that the message replaces
		want       string
	}{
		{"a parent gets another key", batch.Keep, renames("INSERT", "orders", "id"), 0, discarded},
		{"a parent that may replace gets another key", batch.Replace, renames("INSERT", "orders", "id"), 0, discarded},
		{"a parent that replaces gets another key", batch.Replace, renames("UPDATE", "orders", "id"), 9, discarded},
		{"a child gets another key", batch.Replace, renames("INSERT", "lines", "n"), 9, discarded},
		{"a child that is written over gets another key", batch.Replace, renames("UPDATE", "lines", "n"), 2, discarded},
		{"a child is not to be deleted", batch.Replace, "CREATE TRIGGER stays BEFORE DELETE ON lines WHEN OLD.n = 9 BEGIN SELECT RAISE(ABORT, 'no'); END", 9, refused},
		{"a child that is not to be deleted ends the transaction", batch.Replace, "CREATE TRIGGER stays BEFORE DELETE ON lines WHEN OLD.n = 9 BEGIN SELECT RAISE(ROLLBACK, 'no'); END", 9, refused},
	} {
		for _, fifo := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, fifo=%v", tt.name, fifo), func(t *testing.T) {
				t.Parallel()
				number := batch.Column{Name: "id", Kind: batch.Int8, Type: "bigint", NotNull: true}
				word := batch.Column{Name: "word", Kind: batch.Text, Type: "text"}
				lines := &batch.Table{Name: "lines", Key: []int{0, 1}, Parent: []int{0}, Columns: []batch.Column{number, {Name: "n", Kind: batch.Int8, Type: "bigint"}, word}}
				table := &batch.Table{Name: "orders", Key: []int{0}, OnConflict: tt.onConflict, Children: []*batch.Table{lines}, Columns: []batch.Column{
					number, {Name: "version", Kind: batch.Int8, Type: "bigint", NewerBy: tt.onConflict == batch.Replace}, word,
				}}
				f := newFile(t)
				for _, text := range sqlite.DDL(table) { // without the foreign key
					f.exec(t, strings.Replace(text, ",\n    FOREIGN KEY (\"id\") REFERENCES \"orders\" (\"id\")", "", 1))
				}
				f.exec(t, tt.trigger)
				want := "1.1 1.2 3.1 3.2"
				if tt.old > 0 {
					f.exec(t, "INSERT INTO orders VALUES (2, 1, 'old')", fmt.Sprintf("INSERT INTO lines VALUES (2, %d, 'old')", tt.old))
					want = fmt.Sprintf("1.1 1.2 2.%d 3.1 3.2", tt.old)
				}
				b := batch.New(table)
				for i, word := range []string{"good", "bad", "good"} {
					group := 0
					if fifo {
						group = i + 1
					}
					b.Begin(i, group)
					b.Int8(int64(i + 1))
					b.Int8(7)
					b.String(word)
					b.End()
					for n := range int64(2) {
						b.More(0)
						b.Int8(int64(i + 1))
						b.Int8(n + 1)
						b.String(word)
						b.End()
					}
				}
				result, err := open(t, f.url(), table).Insert(t.Context(), b)
				if err != nil {
					t.Fatal(err)
				}
				for i, v := range result.Verdicts {
					got := strings.TrimSpace(v.Outcome.String() + " " + string(v.Cause))
					if v.Rejection.Reason != "" {
						got += " (" + v.Rejection.String() + ")"
					}
					if want := []string{"stored", tt.want, "stored"}[i]; got != want {
						t.Errorf("message %d is %s, want %s", i+1, got, want)
					}
				}
				var rows []string
				for _, row := range f.rows(t, "SELECT id || '.' || n FROM lines ORDER BY id, n") {
					rows = append(rows, row[0])
				}
				if got := strings.Join(rows, " "); got != want {
					t.Errorf("the lines are %s, want %s", got, want)
				}
			})
		}
	}
}
