package main_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"example.com/owner/sluice/internal/testing/pgtest"
)

// liveTable has the types that tables have and that sluice does not create.
const liveTable = `CREATE EXTENSION IF NOT EXISTS citext; CREATE TYPE mood AS ENUM ('happy', 'sad'); CREATE DOMAIN code AS varchar(4) CHECK (VALUE <> 'x'); CREATE DOMAIN positive AS integer CHECK (VALUE > 0);
CREATE TABLE payments (
	id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	payment_id uuid NOT NULL UNIQUE,
	feeling mood NOT NULL,
	client_ip inet,
	happened timestamp NOT NULL,
	currency char(3) NOT NULL,
	score double precision,
	tags text[],
	label citext,
	shop_code code,
	parts positive,
	amount numeric(12,2) NOT NULL,
	cents bigint GENERATED ALWAYS AS ((amount * 100)::bigint) STORED,
	booked_at timestamptz NOT NULL DEFAULT now(),
	email varchar(20),
	masked_phone text,
	note text
)`

// payment returns a body for it.
func payment(i int) string {
	return fmt.Sprintf(`{"paymentId":"6f1c0000-0000-4000-8000-%012d","feeling":"happy","clientIp":"203.0.113.7","happened":"2026-01-31T12:00:00Z","currency":"EUR","score":0.5,"tags":["a","b, c"],"label":"Canary","shop":{"code":"B%03d"},"parts":2,"amount":12.50,"email":"canary@example.com","phone":"+49 30 1234567","unknown":1}`, i, i%1000)
}

// event returns an event with bodies.
func event(t *testing.T, bodies ...string) string {
	t.Helper()
	type record struct {
		MessageID      string            `json:"messageId"`
		ReceiptHandle  string            `json:"receiptHandle"`
		Body           string            `json:"body"`
		Attributes     map[string]string `json:"attributes"`
		EventSource    string            `json:"eventSource"`
		EventSourceARN string            `json:"eventSourceARN"`
	}
	var records []record
	for i, body := range bodies {
		records = append(records, record{fmt.Sprintf("00000000-0000-4000-8000-%012d", i), "r", body, map[string]string{"SentTimestamp": "1767225601000", "ApproximateReceiveCount": "1"}, "aws:sqs", "arn:aws:sqs:eu-central-1:123456789012:payments"})
	}
	text, err := json.Marshal(map[string]any{"Records": records})
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestInferTable: the draft for a table that exists has the table's types, passes check, stores rows,
// and a value that the table does not take costs its message only.
func TestInferTable(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t, "", liveTable)
	environ := map[string]string{"DATABASE_URL": db.URL, "SLUICE_MASK_KEYS": "k1:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"}
	var bodies []string
	for i := range 20 {
		bodies = append(bodies, payment(i))
	}
	sample := strings.Join(bodies, "\n") + "\n"
	code, text, stderr := run(t, environ, sample, "infer", "-", "--table", "payments")
	if code != 0 || stderr != "" {
		t.Fatalf("got %d, %s", code, stderr)
	}
	for _, want := range []string{
		"model: payments\ntable: payments\nkey: [payment_id] # a unique key of the table\n",
		"  payment_id: {type: uuid, required: true, path: $.paymentId} # 20 of 20 are UUIDs\n",
		"  # id is left out: the table makes its values\n",
		"  feeling: {type: mood, from: feeling, as: text}\n",
		"  happened: {type: timestamp, from: happened}\n",
		"  currency: {type: char(3), from: currency}\n",
		"  score: {type: double precision, from: score}\n",
		"  tags: {type: \"text[]\", from: tags}\n",
		"  label: {type: citext, from: label}\n",
		"  shop_code: {type: code, from: shop_code, as: text}\n",
		"  parts: {type: integer, from: parts}\n",
		"  amount: {type: \"numeric(12,2)\", from: amount}\n",
		"  # cents is left out: the table makes its values\n",
		"  # booked_at (timestamp with time zone): nothing in the sample fills it\n",
		"  # $.clientIp: it looks personal: named like an IP address, it holds IP addresses. Column client_ip of type inet does not hold a mask, which has 64 characters: change its type to varchar(64), or if it may be stored in clear, add the field client_ip: {type: ip, personal: false, path: $.clientIp} and the column client_ip: {type: inet, from: client_ip}\n",
		"  # client_ip (inet): what would fill it is left out, see above\n",
		", or if it may be stored in clear, add the field email: {type: email, personal: false} and the column email: {type: varchar(20), from: email}\n",
		"  # email (character varying(20)): what would fill it is left out, see above\n",
		"  # $.email: it looks personal: named like an e-mail address, it holds e-mail addresses. Column email of type character varying(20) does not hold a mask, which has 64 characters: change its type to varchar(64), ",
		"  masked_phone: {type: text, from: masked_phone, masked: true}\n",
		"  # $.unknown: no column has its name\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("it lacks %q:\n%s", want, text)
		}
	}
	noCanary(t, strings.ToLower(text))
	environ["SLUICE_MODEL"] = filepath.Join(t.TempDir(), "payments.yaml")
	save := func(text string) {
		t.Helper()
		if err := os.WriteFile(environ["SLUICE_MODEL"], []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	save(text)
	if code, stdout, stderr := run(t, environ, sample, "explain", "--summary"); code != 0 || !strings.HasPrefix(stdout, "20 of 20 bodies accepted, 0 rejected; rows with the key of an earlier one: 0\n") {
		t.Errorf("explain --summary: got %d, %s%s", code, stdout, stderr)
	}
	if code, stdout, stderr := run(t, environ, "", "check"); code != 0 {
		t.Errorf("check: got %d, %s%s", code, stdout, stderr)
	}
	long := strings.ReplaceAll(payment(21), `"EUR"`, `"EURO"`)
	domain := strings.ReplaceAll(payment(22), `"B022"`, `"B0220"`)
	enum := strings.ReplaceAll(payment(23), `"happy"`, `"canary"`)
	code, misfits, stderr := run(t, environ, sample+long+"\n"+domain+"\n"+enum+"\n", "infer", "-", "--table", "payments")
	for _, want := range []string{
		"; 1 of 23 are not labels of the enum mood (distinct values: 1): ALTER TYPE mood ADD VALUE takes them up, else they are rejected\n",
		"; 1 of 23 are longer than 4 characters, which code holds (the longest has 5)\n",
		": the others will be rejected. 1 of 23 do not fit: expected at most 3 characters, which char(3) holds (the longest has 4): ALTER COLUMN currency TYPE text would hold them\n",
	} {
		if code != 0 || !strings.Contains(misfits, want) {
			t.Errorf("got %d, it lacks %q: %s\n%s", code, want, stderr, misfits)
		}
	}
	noCanary(t, strings.ToLower(misfits))
	batch := event(t, append(bodies, long, domain, enum)...)
	failures := `{"batchItemFailures":[{"itemIdentifier":"00000000-0000-4000-8000-000000000020"},{"itemIdentifier":"00000000-0000-4000-8000-000000000021"},{"itemIdentifier":"00000000-0000-4000-8000-000000000022"}]}`
	for delivery := range 2 { // the second one is a redelivery
		code, stdout, stderr := run(t, environ, batch, "invoke", "-e", "-")
		if code != 0 || strings.TrimSpace(stdout) != failures {
			t.Errorf("invoke %d: got %d, %s%s", delivery, code, stdout, stderr)
		}
		noCanary(t, stderr)
		if n := db.Count(t, "SELECT count(*) FROM payments"); n != 20 {
			t.Errorf("got %d rows, want 20", n)
		}
	}
	got := db.Rows(t, `SELECT feeling::text, client_ip IS NULL, happened::text, currency::text, score::text, tags::text, label::text, shop_code::text, parts::text, amount::text, cents::text, email IS NULL, length(masked_phone)::text FROM payments WHERE id = 1`)
	if fmt.Sprint(got) != `[[happy t 2026-01-31 12:00:00 EUR 0.5 {a,"b, c"} Canary B000 2 12.50 1250 t 64]]` {
		t.Errorf("got %v", got)
	}

	// What was reviewed and may be stored in clear.
	save(strings.Replace(strings.Replace(text, "\ncolumns:\n", "\n  client_ip: {type: ip, personal: false, required: true, path: $.clientIp}\ncolumns:\n", 1), "\n  feeling: {type: mood", "\n  client_ip: {type: inet, from: client_ip}\n  feeling: {type: mood", 1))
	db.Exec(t, "TRUNCATE payments")
	if code, stdout, stderr := run(t, environ, event(t, bodies...), "invoke", "-e", "-"); code != 0 || strings.TrimSpace(stdout) != `{"batchItemFailures":[]}` {
		t.Errorf("reviewed: got %d, %s%s", code, stdout, stderr)
	}
	if n := db.Count(t, "SELECT count(*) FROM payments WHERE client_ip = '203.0.113.7'"); n != 20 {
		t.Errorf("%d rows have the address, want 20", n)
	}
}

// TestInferTableTypes: each type of a live column has a field that fills it, as the model spells the
// type; a type without one is left out.
func TestInferTableTypes(t *testing.T) {
	t.Parallel()
	for column, tt := range map[string]struct{ value, field, want string }{
		"timestamptz(3)":    {`"2026-01-31T12:00:00Z"`, "type: timestamp", "type: timestamptz"},
		"timestamp(0)":      {`"2026-01-31T12:00:00Z"`, "type: timestamp", "type: timestamp"},
		"time":              {`"12:00:00"`, "type: time", "type: time"},
		"interval":          {`"P1D"`, "type: interval", "type: interval"},
		"date":              {`"2026-01-31"`, "type: date", "type: date"},
		"uuid":              {`"6f1c000000004000800000000000000f"`, "type: uuid, format: simple", "type: uuid"},
		"bigint":            {`"12"`, "type: integer, accept: [string]", "type: bigint"},
		"smallint":          {`12`, "type: integer", "type: smallint"},
		"real":              {`1.5`, "type: numeric", "type: real"},
		"numeric":           {`"1.5"`, "type: numeric, accept: [string]", "type: numeric"},
		"numeric(4,2)":      {`1.5`, "type: numeric", `type: "numeric(4,2)"`},
		"varchar":           {`"x"`, "type: text", "type: text"},
		"varchar(9)":        {`12`, "type: text, accept: [number]", "type: varchar(9)"},
		"char":              {`"x"`, "type: text", "type: char(1)"},
		"text":              {`"2026-01-31"`, "type: text", "type: text"},
		"boolean":           {`true`, "type: boolean", "type: boolean"},
		"jsonb":             {`[{"x":1}]`, "type: json", "type: jsonb"},
		"json":              {`{"x":1}`, "type: json", "type: json"},
		"bytea":             {`"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISI="`, "type: base64", "type: bytea"},
		"integer[]":         {`[1,2]`, "type: integer, list: true", `type: "integer[]"`},
		"varchar(3)[]":      {`["a"]`, "type: text, list: true", `type: "varchar(3)[]"`},
		"timestamptz[]":     {`["2026-01-31T12:00:00Z"]`, "type: timestamp, list: true", `type: "timestamptz[]"`},
		"bit varying(5)":    {`"101"`, "type: text", "type: varbit, as: text"},
		"bit(3)":            {`"101"`, "type: text", `type: "\"bit\"", as: text`},
		"macaddr":           {`"x"`, "type: text", "type: macaddr, as: text"},
		"point":             {`"(1,2)"`, "type: text", "type: point, as: text"},
		"int4range":         {`"[1,2)"`, "type: text", "type: int4range, as: text"},
		`"Odd Type"`:        {`"x"`, "type: text", `type: "\"Odd Type\"", as: text`},
		"other.kind":        {`"x"`, "type: text", "type: other.kind, as: text"},
		"positive":          {`7`, "type: integer", "type: integer"},
		"short":             {`"x"`, "type: text", "type: short, as: text"},
		"short_short":       {`"x"`, "type: text", "type: short_short, as: text"},
		"mood[]":            {`["happy"]`, "", ""},
		"timetz":            {`"12:00:00+01"`, "", ""},
		"varchar(3)":        {`"four"`, "", ""},
		"double precision":  {`1.5`, "type: numeric", "type: double precision"},
		"character varying": {`"x"`, "type: text", "type: text"},
	} {
		t.Run(column, func(t *testing.T) {
			t.Parallel()
			db := pgtest.New(t, `CREATE TYPE "Odd Type" AS ENUM ('x'); CREATE TYPE mood AS ENUM ('happy'); CREATE DOMAIN positive AS integer CHECK (VALUE > 0); CREATE DOMAIN short AS varchar(3); CREATE DOMAIN short_short AS short`)
			kind := strings.Replace(column, "other.", db.Schema+"_other.", 1)
			if kind != column {
				db.Exec(t, "CREATE SCHEMA "+db.Schema+"_other; CREATE TYPE "+kind+" AS ENUM ('x')")
				t.Cleanup(func() { db.Exec(t, "DROP SCHEMA "+db.Schema+"_other CASCADE") })
			}
			db.Exec(t, "CREATE TABLE t (a integer, v "+kind+", sent_at timestamptz, message_id uuid, PRIMARY KEY (sent_at, message_id))")
			environ := map[string]string{"DATABASE_URL": db.URL, "SLUICE_MASK": "sha256", "SLUICE_MODEL": filepath.Join(t.TempDir(), "t.yaml")}
			body := `{"a":1,"v":` + tt.value + `}`
			code, text, stderr := run(t, environ, body+"\n", "infer", "-", "--table", "t")
			if code != 0 {
				t.Fatalf("got %d, %s", code, stderr)
			}
			if tt.field == "" {
				if !strings.Contains(text, "  # $.v: ") {
					t.Errorf("it is not left out:\n%s", text)
				}
				return
			}
			kind, as, _ := strings.Cut(tt.want, ", as")
			if as != "" {
				as = ", as" + as
			}
			kind = strings.Replace(kind, "other.", db.Schema+"_other.", 1)
			for _, want := range []string{"  v: {" + tt.field + ", required: true} # ", "  v: {" + kind + ", from: v" + as + "}\n"} {
				if !strings.Contains(text, want) {
					t.Errorf("it lacks %q:\n%s", want, text)
				}
			}
			if err := os.WriteFile(environ["SLUICE_MODEL"], []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			if column == "macaddr" { // the value is none
				return
			}
			if code, stdout, stderr := run(t, environ, event(t, body), "invoke", "-e", "-"); code != 0 || strings.TrimSpace(stdout) != `{"batchItemFailures":[]}` {
				t.Errorf("invoke: got %d, %s%s", code, stdout, stderr)
			}
			if n := db.Count(t, "SELECT count(*) FROM t WHERE v IS NOT NULL"); n != 1 {
				t.Errorf("got %d rows, want 1", n)
			}
		})
	}
}

// TestInferTableKeys: the key is one that the sample fills, else a ledger; what nothing fills and the
// table wants is listed.
func TestInferTableKeys(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t, `CREATE TABLE a (id serial PRIMARY KEY, shop text NOT NULL, order_id text, n integer, UNIQUE (n), "Odd Column" text, made bigint GENERATED ALWAYS AS (1) STORED, UNIQUE (order_id));
		CREATE TABLE b (shop text NOT NULL, order_id text NOT NULL, sent_at timestamptz NOT NULL, message_id uuid, UNIQUE (sent_at, message_id), UNIQUE (shop, order_id));
		CREATE UNIQUE INDEX ON b (order_id) WHERE shop = 'x';
		CREATE TABLE c (n bigint, "order" jsonb, sent_at timestamptz, message_id uuid, mask_key varchar(32), PRIMARY KEY (sent_at, message_id)); CREATE VIEW v AS SELECT FROM c`)
	environ := map[string]string{"DATABASE_URL": db.URL}
	sample := `{"orderId":"o-1","shop":"s","order":{"x":1},"oddColumn":"x","made":1}` + "\n" + `{"orderId":"o-2","shop":"s","n":null,"order":{"x":1}}` + "\n"
	withoutShop := `{"order":{"x":1}}` + "\n"
	for _, tt := range []struct {
		table string
		want  []string
	}{
		{"a", []string{
			"\nledger: sluice_ledger # ", "\n  # n (integer): what would fill it is left out, see above\n", "\n  # id (integer): nothing in the sample fills it\n", "\n  # Odd Column (text): what would fill it is left out, see above\n", "\n  # made is left out: the table makes its values\n",
			"\n  # $.oddColumn: a model cannot name its column, since names have letters, digits and _ only\n", "\n  # $.made: column made makes its own values\n", "  order_id: {type: text, path: $.orderId} # 2 of 2 are text; filled in 2 of 3 bodies\n", "  shop: {type: text} # 2 of 2 are text; filled in 2 of 3 bodies, and the column is NOT NULL: the others will be rejected\n",
		}},
		{db.Schema + ".b", []string{"\ntable: " + db.Schema + ".b\n", "\nkey: [shop, order_id] # a unique key of the table\n", "\n  message_id: {type: uuid, meta: message_id}\n"}},
		{"c", []string{"\nkey: [sent_at, message_id] # a unique key", "\n  order: {type: json, required: true} # stored as it was sent\n", "\n  mask_key: {type: varchar(32), meta: mask_key}\n", "\n  # n (bigint): what would fill it is left out, see above\n"}},
	} {
		bodies := sample
		if tt.table == "a" {
			bodies += withoutShop
		}
		code, text, stderr := run(t, environ, bodies, "infer", "-", "--table", tt.table)
		for _, want := range tt.want {
			if code != 0 || !strings.Contains(text, want) {
				t.Errorf("%s: got %d without %q: %s\n%s", tt.table, code, want, stderr, text)
			}
		}
	}
	for args, want := range map[string]string{
		"v": "--table: v is not a table, but a view or something else", "none": "--table: there is no table none, or the role cannot see its schema",
		"odd table": `--table: "odd table" cannot be named in a model: a table, and a schema before it, have letters, digits and _ only`,
	} {
		if code, _, stderr := run(t, environ, sample, "infer", "-", "--table", args); code != 1 || stderr != "sluice: "+want+"\n" {
			t.Errorf("%s: got %d, %s", args, code, stderr)
		}
	}
	environ["DATABASE_URL"] = "sqlite:x.db"
	if code, _, stderr := run(t, environ, sample, "infer", "-", "--table", "c"); code != 1 || !strings.Contains(stderr, "it needs a Postgres in DATABASE_URL") {
		t.Errorf("got %d, %s", code, stderr)
	}
}
