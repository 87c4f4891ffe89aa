// Package benchcheck_test holds what sluice costs and the machine does not change: round trips, bytes
// on the wire, write-ahead log, allocations, instructions. It compares them with the checked-in
// values of values.txt, and fails with the name of the value that moved, up or down:
//
//	make bench-check
//	make bench-check UPDATE=1     accepts what was measured
//
// As part of all tests only the comparison is tested: under the race detector other numbers hold.
package benchcheck_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"example.com/owner/sluice/internal/testing/runtimeapi"
)

var (
	check  = flag.Bool("check", false, "measure, and compare with values.txt")
	update = flag.Bool("update", false, "with -check: write what was measured into values.txt")
)

func TestMain(m *testing.M) {
	if os.Getenv(childVariable) != "" {
		os.Exit(child())
	}
	os.Exit(m.Run())
}

// TestValues is the check.
func TestValues(t *testing.T) {
	if !*check {
		t.Skip("`make bench-check` runs it")
	}
	all := readValues(t)
	if os.Getenv("TEST_POSTGRES_VERSION") == "" {
		_, checkedIn := asCheckedIn(t, all)
		t.Setenv("TEST_POSTGRES_VERSION", checkedIn["postgres"])
	}
	s := newServer(t)
	f := facts{"always": "", "go": goVersion(), "arch": runtime.GOARCH, "postgres": s.version(t)}
	values := s.batches(t)
	values = append(values, s.allocations(t)...)
	values = append(values, s.instructions(t)...)
	report, problems := compare(all, values, f)

	out := t.Output()
	fmt.Fprintf(out, "%-52s %12s %14s   on %s %s, PostgreSQL %s\n", "", "checked in", "measured", runtime.Version(), runtime.GOARCH, f["postgres"])
	for _, line := range report {
		fmt.Fprintln(out, line)
	}
	fmt.Fprintf(out, "%-52s %12s %14s   not compared\n", "binary/functions/ingest, MB", "", format(binarySize(t)))
	if *update {
		if err := os.WriteFile(valuesFile, []byte(updated(all, values, f)), 0o644); err != nil {
			t.Fatal(err)
		}
		_, problems = compare(readValues(t), values, f)
	}
	for _, p := range problems {
		t.Error(p)
	}
}

// goVersion returns Go's version without the patch release.
func goVersion() string {
	parts := strings.SplitN(strings.TrimPrefix(runtime.Version(), "go"), ".", 3)
	return strings.Join(parts[:min(2, len(parts))], ".")
}

// binarySize returns the size of the Lambda function in MB.
func binarySize(t *testing.T) float64 {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "bootstrap")
	if err := runtimeapi.Build(t.Context(), "example.com/owner/sluice/functions/ingest", binary); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(binary)
	if err != nil {
		t.Fatal(err)
	}
	return float64(info.Size()) / 1e6
}
