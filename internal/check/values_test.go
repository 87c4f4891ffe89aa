package check_test

import (
	"testing"

	"example.com/owner/sluice/internal/testing/pgtest"
)

// TestTheModelsOwnValues has constants, defaults, listed values and masks in columns that take them
// or not. The types are the database's, so the loader cannot know.
func TestTheModelsOwnValues(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t, "", "CREATE TYPE mood AS ENUM ('sad', 'happy')", "CREATE DOMAIN code AS varchar(3) CHECK (value <> 'bad')",
		"CREATE DOMAIN short AS varchar(10); CREATE DOMAIN shorter AS short; CREATE DOMAIN wide AS varchar(64); CREATE DOMAIN words AS text; CREATE DOMAIN few AS text CHECK (length(value) <= 10)",
		"CREATE DOMAIN hex AS varchar(64) CHECK (value ~ '^[0-9a-f]{64}$')")
	const refused, narrower = "error column_value", "error column_narrower"
	fits(t, db, []fit{
		{"", "type: mood, as: text, value: happy", "mood", "", "", ""},
		{"", "type: mood, as: text, value: glad", "mood", "", refused, `does not take its value, "glad": SQLSTATE 22P02 (invalid_text_representation); every message is rejected`},
		{"type: text, default: glad", "type: mood, as: text", "mood", "", refused, `the field's default, "glad": SQLSTATE 22P02 (invalid_text_representation); every message without the field is rejected`},
		{"type: text, default: sad", "type: mood, as: text", "mood", "", "", ""},
		{"type: text, one_of: [sad, glad]", "type: mood, as: text", "mood", "", refused, `does not take what one_of lists, "glad"`},
		{"type: text, one_of: [sad, glad]", "type: mood, as: text", "mood", "", refused, `it has "sad", "happy"`},
		{"type: text, one_of: [sad]", "type: mood, as: text", "mood", "", "", ""},
		{"", "type: code, as: text, value: abcd", "code", "", refused, "SQLSTATE 22001"},
		{"", "type: code, as: text, value: bad", "code", "", refused, "SQLSTATE 23514 (check_violation), constraint code_check"},
		{"", "type: varchar(3), value: bad", "code", "", refused, "SQLSTATE 23514 (check_violation), constraint code_check"},
		{"type: text, one_of: [abc, bad]", "type: varchar(3)", "code", "", refused, `what one_of lists, "bad"`},
		{"", `type: bit, as: text, value: "1011"`, "bit(3)", "", refused, "it is too long"},
		{"", `type: bit, as: text, value: "101"`, "bit(3)", "", "", ""},
		{"", "type: varchar(9), value: web", "varchar(9)", "ALTER TABLE t ADD CHECK (:v IN ('app', 'shop'))", refused, "_check of public.t refuses the model's own values of :v: every message"},
		{"", "type: varchar(9), value: app", "varchar(9)", "ALTER TABLE t ADD CHECK (:v IN ('app', 'shop'))", "", ""},
		{"", "type: varchar(9), value: web", "varchar(9)", "ALTER TABLE t ADD CHECK (:v = 'app' OR mask_key = '')", "", ""},
		{"type: text, default: web", "type: text", "text", "ALTER TABLE t ADD CHECK (:v IN ('app', 'shop'))", refused, "_check of public.t refuses the model's own values of :v: every message"},

		{"type: text, personal: true", "type: short, as: text, masked: true", "short", "", narrower, "narrower than a mask, which has 64 characters"},
		{"type: text, personal: true", "type: shorter, as: text, masked: true", "shorter", "", narrower, "narrower than a mask"},
		{"type: text, personal: true", "type: varchar(64), masked: true", "short", "", narrower, "narrower than a mask"},
		{"type: text, personal: true", "type: varchar(64), masked: true", "varchar(32)", "", narrower, "narrower than a mask"},
		{"type: text, personal: true", "type: few, as: text, masked: true", "few", "", refused, "does not take a mask: SQLSTATE 23514 (check_violation), constraint few_check; every message with the field is rejected"},
		{"type: text, personal: true", "type: text, masked: true", "few", "", refused, "does not take a mask"},
		{"type: text, personal: true", "type: macaddr, as: text, masked: true", "macaddr", "", refused, "does not take a mask: SQLSTATE 22P02"},
		{"type: text, personal: true", "type: wide, as: text, masked: true", "wide", "", "", ""},
		{"type: text, personal: true", "type: words, as: text, masked: true", "words", "", "", ""},
		{"type: text, personal: true", "type: hex, as: text, masked: true", "hex", "", "", ""},
	})
}

// TestTrialRowsHaveTheModelsOwnValues: a trigger sees what each row will have.
func TestTrialRowsHaveTheModelsOwnValues(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t, "", "CREATE TYPE mood AS ENUM ('sad', 'happy')")
	m := parse(t, `
model: t
table: t
key: [message_id]
fields:
  mood: {type: text, default: happy}
  count: {type: integer, default: 7}
columns:
  mood: {type: mood, as: text, from: mood}
  count: {type: integer, from: count}
  source: {type: text, value: web}
  message_id: {type: uuid, meta: message_id}
`)
	for _, sql := range m.DDL() {
		db.Exec(t, sql)
	}
	db.Exec(t, norm("t", "IF (NEW.mood, NEW.count, NEW.source) <> ('happy', 7, 'web') THEN RAISE 'made up'; END IF"))
	f := look(t, m, db.URL)
	want(t, f)
	says(t, f, "got the key")
	says(t, f, "take the constants, defaults, listed values and masks")
	db.Exec(t, "ALTER TABLE t ADD CONSTRAINT small CHECK (count < 7 AND message_id IS NOT NULL)")
	f = look(t, m, db.URL)
	want(t, f, untried)
	says(t, f, "SQLSTATE 23514 (check_violation), constraint small")
}
