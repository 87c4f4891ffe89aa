package benchmark_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"example.com/owner/sluice/internal/testing/testdoc"
)

// TestLargeTable sends as many rows as -rows says through one process of the built function, tells
// how its memory grows, and then compares the rate into this table with the rate into an empty one,
// turn by turn.
func TestLargeTable(t *testing.T) {
	if *rows == 0 {
		t.Skip("make bench ROWS=10000000")
	}
	const n, steps = 1000, 10
	s := newSetup(t, *python3)
	server := s.schema(t).Conn(t)
	full, empty := newRunner(t, s, kindOf("sluice, built")), newRunner(t, s, kindOf("sluice, built"))
	full.db.Exec(t, "ALTER TABLE user_logins RESET (autovacuum_enabled)") // as tables of this size have it
	for _, r := range []*runner{full, empty} {
		r.turn(t, server, n, 1) // connects
	}
	var lines [][]string
	var resident []float64
	for step := range steps {
		rate := fill(t, full, *rows*(step+1)/steps, n)
		resident = append(resident, memory(full.process))
		lines = append(lines, []string{thousands(float64(full.sent)), thousands(rate), known(resident[step], 1)})
		progress("%s rows, %s rows/s, %.1f MB", lines[step][0], lines[step][1], resident[step])
	}
	checkpoint(t, server)
	var ofFull, ofEmpty []turn
	turns := 15
	if *quick {
		turns = 1
	}
	for range turns {
		empty.counted(t)
		empty.db.Exec(t, "TRUNCATE user_logins")
		empty.sent = 0
		ofEmpty = append(ofEmpty, empty.turn(t, server, n, 10))
		ofFull = append(ofFull, full.turn(t, server, n, 10))
	}
	full.counted(t)
	a, b := summary(ofFull), summary(ofEmpty)
	text := func(markdown bool) string {
		return table([]string{"rows in the table", "rows/s", "memory of the function, MB"}, lines, markdown) + "\n" +
			table([]string{"batches of 1,000 into", "rows/s", "server's CPU, s for a million rows", "log, bytes for a row"}, [][]string{
				{"an empty table", thousands(b.Rate), measured(b.ServerCPU), known(b.WAL, 0)},
				{"the table of " + thousands(float64(full.sent)) + " rows", thousands(a.Rate), measured(a.ServerCPU), known(a.WAL, 0)},
				{"ratio, median of " + fmt.Sprint(turns) + " pairs (goal: at least 0.9)", known(ratio(ofFull, ofEmpty), 2), "", ""},
			}, markdown)
	}
	about := machine(t, s, "")
	fmt.Fprintf(os.Stdout, "\n%s\n\n%s", about, text(false))
	if *docs {
		testdoc.Write(t, page, "large", "\n"+about+"\n\n"+text(true)+"\n")
	}
}

// fill sends batches until the way has sent as many messages as total. The next event is made while
// the function works. It returns the rate.
func fill(t *testing.T, r *runner, total, n int) float64 {
	t.Helper()
	began, before := time.Now(), r.sent
	works := make(chan func() error, 2)
	go func() {
		defer close(works)
		for r.sent < total {
			works <- r.prepare(r.messages(min(n, total-r.sent)))
		}
	}()
	for work := range works {
		if err := work(); err != nil {
			t.Fatal(err)
		}
	}
	return float64(r.sent-before) / time.Since(began).Seconds()
}

// memory returns the resident memory of a process in MB, 0 where Linux does not tell it.
func memory(process int) float64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", process))
	if err != nil {
		return 0
	}
	_, after, _ := strings.Cut(string(text), "VmRSS:")
	var kib float64
	if _, err := fmt.Sscan(after, &kib); err != nil {
		return 0
	}
	return kib * 1024 / 1e6
}
