package postgres_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/uuid"

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/model"
)

// TestWhatPassesCanBeRead wants Postgres to take every number that the model lets pass, in each
// type that it can go to, and to print it within the bounds of docs/security.md. A json column can
// become a jsonb column.
func TestWhatPassesCanBeRead(t *testing.T) {
	t.Parallel()
	m, err := model.Parse("m.yaml", []byte(`model: printed
table: printed
key: [n]
fields:
  n: {type: integer, required: true}
  plain: {type: json}
  parsed: {type: json}
  number: {type: numeric}
  cents: {type: numeric}
columns:
  n: {type: integer, from: n}
  plain: {type: json, from: plain}
  parsed: {type: jsonb, from: parsed}
  number: {type: numeric, from: number}
  cents: {type: "numeric(12,2)", from: cents}
`))
	if err != nil {
		t.Fatal(err)
	}
	zeros, nines := strings.Repeat("0", 20_000), strings.Repeat("9", 1000)
	numbers := []string{
		"0", "-0", "-0.0", "0e99999", "0e999999999", "0e1000000000", "0e-998", "0e-1000", "0e-1001", "0e-16383", "0e-99999", "0." + zeros, "0." + zeros[:999], "0." + zeros + "e20000",
		nines, nines + "." + nines, "-" + nines + "." + nines, nines + "9", "0." + nines + "9", "1e999", "1e1000", "1e131071", "1e131072", "1e-1000", "1e-1001", "1e-16383", "1e-16384", "9.9e-999",
		"1." + zeros, "1." + zeros[:1000], "1" + zeros + "e-20000", "0." + zeros + "1e20001", "1" + zeros[:500] + "e-500", "1e99999999999999999999", "1e-99999999999999999999", "12.50", "99e-2",
	}
	random := rand.New(rand.NewPCG(1, 2))
	digits := func(n int) string {
		text := make([]byte, random.IntN(n)+1)
		for i := range text {
			text[i] = "0000123456789"[random.IntN(13)]
		}
		return string(text)
	}
	for range 1000 {
		text := strings.TrimLeft(digits(1+random.IntN(1200)), "0")
		if text == "" {
			text = "0"
		}
		if random.IntN(2) == 0 {
			text += "." + digits(1+random.IntN(1200))
		}
		if random.IntN(3) > 0 {
			text += fmt.Sprint("e", random.IntN(3000)-1500)
		}
		numbers = append(numbers, text)
	}
	lists := []string{"[" + strings.TrimSuffix(strings.Repeat("1e999,", 20), ",") + "]", "[" + strings.TrimSuffix(strings.Repeat("1e-300,", 5000), ",") + "]"}

	s := newSite(t, setup{sql: strings.Join(m.DDL(), ";"), table: m.Table})
	b, reader := batch.New(m.Table), m.Reader(maskKeys(t))
	passed := map[string]int{}
	var ids []int64
	for i, number := range append(numbers, lists...) {
		for field := range strings.FieldsSeq("plain parsed number cents") {
			value := number
			if i%2 == 1 && (field == "plain" || field == "parsed") {
				value = `{"a": [` + number + `]}`
			}
			bad := reader.Append(b, len(ids), 0, &message.Message{
				ID: uuid.NewString(), HasBody: true, HasSent: true, Body: fmt.Appendf(nil, `{"n": %d, %q: %s}`, len(ids), field, value),
			})
			if bad.IsZero() {
				ids = append(ids, int64(len(ids)))
				passed[field]++
			}
		}
	}
	if passed["plain"] != passed["parsed"] || passed["plain"] < 400 || passed["number"] < 400 {
		t.Errorf("passed %v of %d", passed, len(numbers))
	}
	s.insertBatch(t.Context(), b, ids).inserts(len(ids))
	for _, query := range []string{
		"SELECT count(*) FROM printed WHERE length(number::text) > 2002 OR length(cents::text) > 14",
		"SELECT count(*) FROM printed WHERE length(plain::jsonb::text) > 5 * length(plain::text) + 16 * 1024",
		"SELECT count(*) FROM printed WHERE length(parsed::text) > 2002 + 10 AND jsonb_typeof(parsed) <> 'array'",
		"SELECT count(*) FROM printed WHERE length(parsed::text) > 5 * 40000 + 16 * 1024",
		"SELECT count(*) FROM printed a, jsonb_array_elements(CASE WHEN jsonb_typeof(parsed) = 'array' THEN parsed ELSE '[]' END) AS e WHERE length(e::text) > 2002",
	} {
		if got := s.db.Rows(t, query)[0][0]; got != "0" {
			t.Errorf("%s: %s", query, got)
		}
	}
}
