package handler_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
)

// TestSample stores real bodies, which are other people's and so are not in
// the repository: TEST_SAMPLE names a file of them, JSON lines. One of the
// 100 is no login; the rows of the others are known by their hash.
func TestSample(t *testing.T) {
	t.Parallel()
	path := os.Getenv("TEST_SAMPLE")
	if path == "" {
		t.Skip("TEST_SAMPLE is not set: it names a JSON-lines file with the 100 sample bodies, which are not in the repository")
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("TEST_SAMPLE: %v", err)
	}
	const (
		bodies = 100
		bad    = 12
		want   = "6c5b41258ecee60513ed4a49bda2937b898e402bef1c8989fbdeb909d63e4e84"
	)
	var records []string
	for i, line := range bytes.Split(bytes.TrimSpace(text), []byte("\n")) {
		records = append(records, record(i, string(line)))
	}
	if len(records) != bodies {
		t.Fatalf("TEST_SAMPLE has %d lines, want %d", len(records), bodies)
	}
	for _, name := range loginModels {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newFixture(t, name)
			r := s.handler(t, nil)
			for _, delivery := range []string{"first delivery", "second delivery"} {
				answer, err := r.handler.Invoke(t.Context(), event(records...))
				if err != nil {
					t.Fatalf("%s: %v", delivery, err)
				}
				failed, err := readAnswer(answer)
				if err != nil {
					t.Fatalf("%s: %s: %v", delivery, answer, err)
				}
				if diff := cmp.Diff(failed, ids(bad)); diff != "" {
					t.Errorf("%s: failed got(-) want(+):\n%s", delivery, diff)
				}
				lines := sampleRows(t, s)
				if len(lines) != bodies-1 {
					t.Errorf("%s: got %d rows, want %d", delivery, len(lines), bodies-1)
				}
				sum := sha256.Sum256([]byte(strings.Join(lines, "\n")))
				if got := hex.EncodeToString(sum[:]); got != want {
					t.Errorf("%s: the rows have the hash %s, want %s", delivery, got, want)
				}
			}
		})
	}
}

func sampleRows(t *testing.T, s *fixture) []string {
	t.Helper()
	const query = "SELECT concat_ws('|', user_id, device_type, masked_ip, masked_device_id, coalesce(locale, ''), app_version::text) FROM user_logins"
	rows, err := s.conn.Query(t.Context(), query)
	if err != nil {
		t.Fatal(err)
	}
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(lines)
	return lines
}
