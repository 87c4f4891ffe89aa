package postgres_test

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/mask"
	"example.com/owner/sluice/internal/message"
)

// TestOrdersKeepTheirValues sends bodies through the model orders, which has columns of most types,
// and compares them with the table. (A value of every type: storetest.)
func TestOrdersKeepTheirValues(t *testing.T) {
	t.Parallel()
	m := loadModel(t, "orders")
	cases := []struct {
		name string
		body string // what an order has beside its id and what is required
		want map[string]string
	}{
		{name: "nothing", want: map[string]string{
			"total": "1.0000", "currency": "EUR", "placed_at": "2026-01-31 12:00:00", "mask_key": "k1", "sent_at": "2026-01-01 00:00:00.123",
			"masked_email": "NULL", "item_count": "NULL", "loyalty_points": "NULL", "gift": "NULL", "deliver_on": "NULL", "session_id": "NULL", "lines": "NULL",
		}},
		{name: "null", body: `"customer_email": null, "item_count": null, "loyalty_points": null, "gift": null, "deliver_on": null, "session_id": null, "lines": null`, want: map[string]string{
			"masked_email": "NULL", "item_count": "NULL", "loyalty_points": "NULL", "gift": "NULL", "deliver_on": "NULL", "session_id": "NULL", "lines": "NULL",
		}},

		{name: "the largest total", body: `"total": 99999999999999.9999`, want: map[string]string{"total": "99999999999999.9999"}},
		{name: "the least total", body: `"total": -99999999999999.9999`, want: map[string]string{"total": "-99999999999999.9999"}},
		{name: "a total that no float has", body: `"total": 0.1`, want: map[string]string{"total": "0.1000"}},
		{name: "more digits than a float", body: `"total": 12345678901234.5678`, want: map[string]string{"total": "12345678901234.5678"}},
		{name: "an exponent", body: `"total": 1.5e3`, want: map[string]string{"total": "1500.0000"}},
		{name: "a negative exponent", body: `"total": 25E-4`, want: map[string]string{"total": "0.0025"}},
		{name: "zeros after the digits that count", body: `"total": 1.230000000000000000000`, want: map[string]string{"total": "1.2300"}},
		{name: "zero", body: `"total": -0.0`, want: map[string]string{"total": "0.0000"}},

		{name: "the largest integers", body: fmt.Sprintf(`"item_count": %d, "loyalty_points": %d`, math.MaxInt32, int64(math.MaxInt64)), want: map[string]string{"item_count": "2147483647", "loyalty_points": "9223372036854775807"}},
		{name: "the least integers", body: fmt.Sprintf(`"item_count": %d, "loyalty_points": %d`, math.MinInt32, int64(math.MinInt64)), want: map[string]string{"item_count": "-2147483648", "loyalty_points": "-9223372036854775808"}},
		{name: "zeros", body: `"item_count": 0, "loyalty_points": 0`, want: map[string]string{"item_count": "0", "loyalty_points": "0"}},

		{name: "true", body: `"gift": true`, want: map[string]string{"gift": "t"}},
		{name: "false", body: `"gift": false`, want: map[string]string{"gift": "f"}},

		{name: "a time before 2000", body: `"placed_at": "1969-07-20T20:17:40.123456Z"`, want: map[string]string{"placed_at": "1969-07-20 20:17:40.123456"}},
		{name: "the first time", body: `"placed_at": "0001-01-01T00:00:00Z"`, want: map[string]string{"placed_at": "0001-01-01 00:00:00"}},
		{name: "the last time", body: `"placed_at": "9999-12-31T23:59:59.999999Z"`, want: map[string]string{"placed_at": "9999-12-31 23:59:59.999999"}},
		{name: "a time in a zone", body: `"placed_at": "2026-03-01T00:30:00+05:45"`, want: map[string]string{"placed_at": "2026-02-28 18:45:00"}},
		{name: "the millennium", body: `"placed_at": "2000-01-01T00:00:00Z"`, want: map[string]string{"placed_at": "2000-01-01 00:00:00"}},
		{name: "a microsecond before it", body: `"placed_at": "1999-12-31T23:59:59.999999Z"`, want: map[string]string{"placed_at": "1999-12-31 23:59:59.999999"}},

		{name: "a day before 2000", body: `"deliver_on": "1999-12-31"`, want: map[string]string{"deliver_on": "1999-12-31"}},
		{name: "the first day", body: `"deliver_on": "0001-01-01"`, want: map[string]string{"deliver_on": "0001-01-01"}},
		{name: "the last day", body: `"deliver_on": "9999-12-31"`, want: map[string]string{"deliver_on": "9999-12-31"}},
		{name: "a leap day", body: `"deliver_on": "2024-02-29"`, want: map[string]string{"deliver_on": "2024-02-29"}},

		{name: "a session", body: `"session_id": "ABCDEF01-2345-6789-abcd-ef0123456789"`, want: map[string]string{"session_id": "abcdef01-2345-6789-abcd-ef0123456789"}},

		{name: "an object", body: `"lines": {"b": [1, 2.50, -3e2], "a": {"deep": null}, "yes": true}`, want: map[string]string{"lines": `{"a": {"deep": null}, "b": [1, 2.50, -300], "yes": true}`}},
		{name: "a text in JSON", body: `"lines": "a \"quoted\" \\ 😀 \u00e9 \n, {}"`, want: map[string]string{"lines": `"a \"quoted\" \\ 😀 é \n, {}"`}},
		{name: "an empty array", body: `"lines": []`, want: map[string]string{"lines": "[]"}},
		{name: "false in JSON", body: `"lines": false`, want: map[string]string{"lines": "false"}},
		{name: "a number that no float has", body: `"lines": 12345678901234567890.123456789`, want: map[string]string{"lines": "12345678901234567890.123456789"}},

		{name: "emoji", body: `"currency": "😀€é"`, want: map[string]string{"currency": "😀€é"}},
		{name: "quotes", body: `"currency": "'\"$"`, want: map[string]string{"currency": `'"$`}},
		{name: "backslashes", body: `"currency": "\\\\\\"`, want: map[string]string{"currency": `\\\`}},
		{name: "a surrogate pair", body: `"currency": "\ud83d\ude00"`, want: map[string]string{"currency": "😀"}},
		{name: "an e-mail address", body: `"customer_email": "Someone@Example.org"`, want: map[string]string{
			"masked_email": maskOf(t, "orders.customer_email", "Someone@Example.org"),
		}},
	}
	inModes(t, func(t *testing.T, mode string) {
		s := newSite(t, setup{sql: strings.Join(m.DDL(), ";"), table: m.Table, mode: mode})
		s.db.Exec(t, "ALTER TABLE orders ADD CONSTRAINT money CHECK (currency <> 'bad')")
		reader := m.Reader(maskKeys(t))
		order := func(b *batch.Batch, id int, body string) {
			t.Helper()
			for _, needed := range []string{`"total": 1`, `"currency": "EUR"`, `"placed_at": "2026-01-31T12:00:00Z"`} {
				if name, _, _ := strings.Cut(needed, ":"); !strings.Contains(body, name+":") {
					body = strings.Trim(body+", "+needed, ", ")
				}
			}
			bad := reader.Append(b, id, 0, &message.Message{
				ID: uuid.NewString(), HasBody: true, HasSent: true, SentMillis: 1767225600123,
				Body: fmt.Appendf(nil, `{"order_id": "00000000-0000-0000-0000-%012d", %s}`, id, body),
			})
			if !bad.IsZero() {
				t.Fatal(bad)
			}
		}
		for i, tt := range cases {
			// Alone, and beside a row that is refused: both ways must write the same.
			id := 10 * i
			alone := batch.New(m.Table)
			order(alone, id, tt.body)
			s.insertBatch(t.Context(), alone, []int64{1}).must()
			beside := batch.New(m.Table)
			order(beside, id+1, tt.body)
			order(beside, id+2, `"currency": "bad"`)
			s.insertBatch(t.Context(), beside, []int64{1, 2}).want(verdicts{stored: "1", rejected("23514 constraint money"): "2"})

			names := keysOf(tt.want)
			var columns, want []string
			for _, name := range names {
				want = append(want, tt.want[name])
				if strings.HasSuffix(name, "_at") {
					name += " AT TIME ZONE 'UTC'"
				}
				columns = append(columns, name)
			}
			got := s.db.Rows(t, fmt.Sprintf("SELECT %s FROM orders WHERE right(order_id::text, 12)::bigint BETWEEN %d AND %d", strings.Join(columns, ", "), id, id+9))
			if diff := gocmp.Diff(got, [][]string{want, want}); diff != "" {
				t.Errorf("%s: %v (-got +want):\n%s", tt.name, names, diff)
			}
		}
	})
}

// maskOf returns the mask of an e-mail address.
func maskOf(t testing.TB, domain, address string) string {
	t.Helper()
	text, err := maskKeys(t).Masker(domain).AppendEmail(nil, mask.PersonalText([]byte(address)))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestTextKeepsItsCharacters has texts that another way of passing values would change: SQL, arrays
// and COPY each have their own.
func TestTextKeepsItsCharacters(t *testing.T) {
	t.Parallel()
	texts := []string{
		"", " ", "NULL", "null", `\N`, `\.`, "{}", "{a,b}", `{"a"}`, `"`, `'`, `''; DROP TABLE events; --`, `\`, `\\`, `E'\n'`, "$1", "$$", "%s", "%", ",",
		"line\nfeed", "carriage\rreturn", "tab\t", "\x01\x1f\x7f", "😀👩‍👩‍👧‍👦", "é e\u0301", "\u202e\ufeff\ufffd\uffff", strings.Repeat("long ", 20_000), " around ",
	}
	inModes(t, func(t *testing.T, mode string) {
		for _, spoil := range []bool{false, true} {
			s := newSite(t, setup{sql: createEvents + noBadWord, mode: mode})
			var rows []row
			var want []string
			for i, text := range texts {
				rows = append(rows, row{id: int64(i), word: text})
				want = append(want, fmt.Sprint(i, " ", text))
			}
			if spoil {
				bad := row{id: 1000}
				badWord(&bad)
				rows = append(rows, bad)
			}
			s.insert(rows...).inserts(len(texts))
			if diff := gocmp.Diff(s.words(), want); diff != "" {
				t.Errorf("texts (-got +want):\n%s", diff)
			}
		}
	})
}

// TestNothingIsCutToFit wants a text that is too long to be refused, in both ways of storing it.
// SQL truncates where a type is named.
func TestNothingIsCutToFit(t *testing.T) {
	t.Parallel()
	table := *events
	table.Columns = slices.Clone(events.Columns)
	table.Columns[1].Type = "varchar(10)"
	inModes(t, func(t *testing.T, mode string) {
		s := newSite(t, setup{sql: createEvents + "ALTER TABLE events ALTER word TYPE varchar(10)", table: &table, mode: mode})
		rows := []row{{id: 1, word: "exactly 10"}, {id: 2, word: "more than that"}, {id: 3, word: "äöü😀€äöü😀€"}}
		s.insert(rows...).want(verdicts{stored: "1 3", rejected("22001"): "2"})
		if diff := gocmp.Diff(s.words(), []string{"1 exactly 10", "3 äöü😀€äöü😀€"}); diff != "" {
			t.Errorf("texts (-got +want):\n%s", diff)
		}
	})
}

// TestKeyOfManyColumns has a key of many columns and types, and looks its rows up again. Equal
// numbers are one key, however many zeros they are written with. (A key of every type: storetest.)
func TestKeyOfManyColumns(t *testing.T) {
	t.Parallel()
	columns := []batch.Column{
		{Name: "a text", Kind: batch.Text, Type: "text"},
		{Name: "varchar", Kind: batch.Text, Type: "varchar(20)"},
		{Name: "smallint", Kind: batch.Int4, Type: "smallint"},
		{Name: "integer", Kind: batch.Int4, Type: "integer"},
		{Name: "bigint", Kind: batch.Int8, Type: "bigint"},
		{Name: "numeric", Kind: batch.Text, Type: "numeric(20,5)"},
		{Name: "boolean", Kind: batch.Bool, Type: "boolean"},
		{Name: "timestamptz", Kind: batch.Timestamp, Type: "timestamptz"},
		{Name: "date", Kind: batch.Date, Type: "date"},
		{Name: "uuid", Kind: batch.UUID, Type: "uuid"},
		{Name: `"quoted" and %d`, Kind: batch.Text, Type: "jsonb"}, // jsonb has an order, and so can be in a key
	}
	table := &batch.Table{Name: `keys; of "all" types`, Columns: columns}
	var ddl []string
	for i, c := range columns {
		table.Key = append(table.Key, i)
		ddl = append(ddl, batch.Quote(c.Name)+" "+c.Type)
	}
	name := batch.Quote(table.Name)
	key := func(number, json string, last byte) *batch.Batch {
		b := batch.New(table)
		b.Begin(0, 0)
		b.String("text")
		b.String("varchar")
		b.Int4(-7)
		b.Int4(7)
		b.Int8(math.MinInt64)
		b.String(number)
		b.Bool(true)
		b.Int8(-1)
		b.Int4(-1)
		b.Bytes(append(binary.BigEndian.AppendUint64(nil, 1), 0, 0, 0, 0, 0, 0, 0, last))
		b.String(json)
		b.End()
		return b
	}
	inModes(t, func(t *testing.T, mode string) {
		s := newSite(t, setup{sql: fmt.Sprintf("CREATE TABLE %s (%s)", name, strings.Join(ddl, ", ")), table: table, mode: mode})
		s.db.Exec(t, fmt.Sprintf("ALTER TABLE %s ADD PRIMARY KEY (%s)", name, `"a text", varchar, "smallint", "integer", "bigint", "numeric", "boolean", "timestamptz", date, uuid, """quoted"" and %d"`))
		s.insertBatch(t.Context(), key("1.50", `{"a": 1}`, 1), []int64{1}).must().inserts(1)
		s.insertBatch(t.Context(), key("1.50", `{"a": 1}`, 1), []int64{1}).must().inserts(0)
		s.insertBatch(t.Context(), key("1.5000", `{"a":1}`, 1), []int64{1}).must().inserts(0)
		s.insertBatch(t.Context(), key("1.50", `{"a": 1}`, 2), []int64{1}).must().inserts(1)
		got := s.db.Rows(t, `SELECT "smallint", "bigint", "numeric", "timestamptz" AT TIME ZONE 'UTC', date, uuid FROM `+name+" ORDER BY uuid LIMIT 1")[0]
		want := []string{"-7", "-9223372036854775808", "1.50000", "1999-12-31 23:59:59.999999", "1999-12-31", "00000000-0000-0001-0000-000000000001"}
		if diff := gocmp.Diff(got, want); diff != "" {
			t.Errorf("a key (-got +want):\n%s", diff)
		}
	})
}
