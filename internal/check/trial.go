package check

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgconn"

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/model"
	"example.com/owner/sluice/internal/postgres"
)

// trial is the outcome of trial rows.
type trial struct {
	kept      bool     // a row got the key that was sent
	changed   []string // columns of the key that another row got with another value
	discarded bool
	refused   string // why the last row that showed nothing was refused
	end       time.Time
	over      bool // another row would take too long
}

// trialTime is how long trial rows may begin.
const trialTime = 5 * time.Second

// A trial row is not stored: the statement that inserts it reports by an error. The error comes
// after the BEFORE triggers have run and the row is in the table and its indexes, but before
// foreign keys are checked and AFTER triggers run, which may act outside the database. A text that
// is not a number is quoted in the error, in every language.
//
// UNION compares the keys, by the equality of the column's type: = would be that of text for a
// citext whose schema is not in the search_path.
const (
	verdict  = "the trial row of sluice check ends here:"
	trialSQL = `WITH stored AS (INSERT INTO %s (%s) VALUES (%s) RETURNING %s)
		SELECT concat_ws(' ', '` + verdict + `', (SELECT count(*) FROM stored), %s)::integer`
	equalSQL = `(SELECT count(*) FROM (SELECT k%[1]d FROM stored UNION SELECT %[2]s) AS k)`
)

var verdicts = regexp.MustCompile(verdict + ` ([01])((?: [12])*)`)

// try inserts trial rows through the triggers of a table, and rolls them back. Sequences that
// defaults and triggers use advance, and each row leaves an error in the server's log.
func (d *database) try(ctx context.Context, r *relation) (t trial, err error) {
	for _, c := range r.want {
		if l, ok := r.have[c.Name]; !ok || l.generated {
			return t, nil // every row is refused; another finding says so
		}
	}
	// The remote end of a foreign table may not roll a row back. It is never a partition of a table
	// with a key, which would have to be its own too.
	foreign, err := d.query(ctx, "SELECT FROM pg_partition_tree($1::oid) JOIN pg_class c ON c.oid = relid WHERE c.relkind = 'f'", r.oid)
	if err != nil || len(foreign) > 0 {
		return t, err
	}
	t.end = time.Now().Add(trialTime)
	for _, full := range []bool{true, false} {
		if err := d.tryRows(ctx, r, full, &t); err != nil || t.over || t.kept || t.discarded || t.changed != nil {
			return t, err
		}
	}
	return t, nil
}

// tryRows tries rows with all required values, or with as little as the table accepts: a constraint
// that refuses a made-up value can allow NULL.
func (d *database) tryRows(ctx context.Context, r *relation, full bool, t *trial) error {
	now := time.Now()
	rows := 1
	values := make([][]string, len(r.want))
	for i, c := range r.want {
		key := slices.Contains(r.key, c.Name)
		if key || r.have[c.Name].notNull || full && c.notNull {
			values[i] = d.samples(c, r.have[c.Name], now)
		}
		if key {
			rows = max(rows, len(values[i]))
		}
	}
	for n := range rows {
		params := make([][]byte, len(r.want))
		for i := range r.want {
			if v := values[i]; v != nil {
				params[i] = []byte(v[n%len(v)])
			}
		}
		if err := d.tryRow(ctx, r, params, t); err != nil || t.over {
			return err
		}
	}
	return nil
}

// tryRow tries one row, with values as text.
func (d *database) tryRow(ctx context.Context, r *relation, params [][]byte, t *trial) error {
	var names, values, key, returned, equal []string
	for i, c := range r.want {
		value := fmt.Sprintf("$%d::%s", i+1, withoutLength(c.Type)) // as an INSERT assigns it
		names = append(names, batch.Quote(c.Name))
		values = append(values, value)
		if slices.Contains(r.key, c.Name) {
			key = append(key, c.Name)
			returned = append(returned, fmt.Sprintf("%s AS k%d", batch.Quote(c.Name), len(key)))
			equal = append(equal, fmt.Sprintf(equalSQL, len(key), value+"::"+r.have[c.Name].shown))
		}
	}
	if r.key == nil {
		returned, equal = []string{"1"}, []string{"NULL"}
	}
	sql := fmt.Sprintf(trialSQL, r.name, strings.Join(names, ", "), strings.Join(values, ", "), strings.Join(returned, ", "), strings.Join(equal, ", "))
	err := d.bounded(ctx, func() error { return d.conn.ExecParams(ctx, sql, params, nil, nil, nil).Read().Err })
	refused, ok := errors.AsType[*pgconn.PgError](err)
	if !ok {
		return err
	}
	t.over = !time.Now().Before(t.end)
	said := verdicts.FindStringSubmatch(refused.Message)
	switch {
	case said == nil:
		t.refused = "the database refuses a trial row with " + message.SQLState(refused.Code) + where(refused)
		t.over = t.over || refused.Code == "57014" || refused.Code == "55P03"
		return nil
	case said[1] == "0":
		t.discarded = true
		return nil
	}
	kept := true
	for i, n := range strings.Fields(said[2]) {
		if n == "1" {
			continue
		}
		kept = false
		if !slices.Contains(t.changed, key[i]) {
			t.changed = append(t.changed, key[i])
		}
	}
	t.kept = t.kept || kept
	return nil
}

// where names what refused a row, as far as the server says: names of the table, no values.
func where(refused *pgconn.PgError) string {
	switch {
	case refused.ConstraintName != "":
		return ", constraint " + refused.ConstraintName
	case refused.ColumnName != "":
		return ", column " + refused.ColumnName
	default:
		return ""
	}
}

// withoutLength returns a type in SQL. char without a length would be that of one character.
func withoutLength(t model.SQLType) string {
	t.Length, t.Scale = 0, 0
	if t.Base == "char" && !t.AsText {
		t.Base = "bpchar"
	}
	return t.String()
}

// samples returns possible values of a column, as text: those that a trigger might write in another
// form. There are none for types that only the database knows.
func (d *database) samples(c wanted, l live, now time.Time) []string {
	switch {
	case c.Meta == model.MetaSentAt: // in milliseconds
		return []string{sampleTime(now, time.Millisecond)}
	case c.Meta == model.MetaMaskKey:
		return []string{"k1"}
	case c.Meta == model.MetaSequenceNumber:
		return []string{"18849496460467696128"}
	case c.Masked:
		return []string{sampleMask}
	case c.value != nil:
		return []string{string(c.value)}
	case c.Type.AsText && l.labels != nil:
		return l.labels[:1]
	}
	id := uuid.New()
	values := d.samplesOf(c, l, id, now)
	if c.Type.List {
		for i, v := range values { // in quotes, which every type takes
			values[i] = `{"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(v) + `"}`
		}
	}
	return values
}

// samplesOf returns samples of a type, of a list's elements.
func (d *database) samplesOf(c wanted, l live, id uuid.UUID, now time.Time) []string {
	number := int(binary.BigEndian.Uint16(id[:]))>>2 + 1 // fits into each type
	base := c.Type.Base
	if c.Type.AsText {
		base = postgres.TypeNames[l.base]
	}
	switch base {
	case "": // of a type that only the database knows
		return nil
	case "varchar", "text", "char", "citext":
		texts := sampleTexts(id, longest(c.Type, l))
		if c.Field < 0 {
			return texts
		}
		return normal(&d.model.Fields[c.Field], texts)
	case "smallint", "integer", "bigint":
		return []string{strconv.Itoa(number), strconv.Itoa(-number)}
	case "numeric":
		return sampleNumbers(number, c.Type)
	case "real", "double precision":
		return []string{strconv.Itoa(number) + ".25", "-" + strconv.Itoa(number) + ".25"}
	case "boolean":
		return []string{"true", "false"}
	case "timestamptz", "timestamp": // the latter takes no notice of the zone
		return []string{sampleTime(now, time.Microsecond)}
	case "time":
		_, clock, _ := strings.Cut(strings.TrimSuffix(sampleTime(now, time.Microsecond), "Z"), "T")
		return []string{clock}
	case "interval":
		return []string{"P1DT2H3.000001S"}
	case "inet", "cidr":
		return []string{fmt.Sprintf("203.0.113.%d", number%250+1), "2001:db8::" + strconv.FormatInt(int64(number), 16)}
	case "bytea":
		return []string{`\x` + hex.EncodeToString(id[:])}
	case "date":
		return []string{now.UTC().Format(time.DateOnly)}
	case "uuid":
		return []string{id.String()}
	case "json", "jsonb":
		return []string{`{"b": 1, "a": [2]}`}
	default:
		panic("check: no sample of " + base)
	}
}

// normal returns samples of a field of text, as a row has them: a trigger that writes a form which
// the field's options have made already changes nothing.
func normal(f *model.Field, texts []string) (all []string) {
	switch some := f.OneOf(); {
	case some != nil:
		texts = some[:min(len(some), len(texts))]
	case f.Type == model.TypeVersion:
		texts = []string{"2.3.0-Beta", "2"}
	case f.Type == model.TypeIP:
		texts = []string{"203.0.113.7", "2001:db8::7"}
	case f.Type == model.TypeEmail:
		texts = []string{"Ann.Lee@example.com"}
	}
	for _, s := range texts {
		if s = string(f.Normal([]byte(s))); strings.TrimSpace(s) != "" {
			all = append(all, s)
		}
	}
	return all
}

// sampleTime returns a time whose last digit is not rounded.
func sampleTime(now time.Time, unit time.Duration) string {
	t := now.UTC().Truncate(unit)
	if t.UnixNano()/int64(unit)%2 == 0 {
		t = t.Add(unit)
	}
	return t.Format(time.RFC3339Nano)
}

// sampleTexts returns texts in mixed case, with blanks around, of the form of a UUID, with leading
// zeros, and with a letter of two code points. A limit of 0 is none.
func sampleTexts(id uuid.UUID, limit int) (texts []string) {
	u := id.String()
	blank := " " + u[:8] + " "
	if limit > 2 && limit < len(blank) {
		blank = " " + u[:limit-2] + " "
	}
	for _, s := range []string{"aB-c_D" + u[:8], blank, strings.ToUpper(u), "00" + strconv.Itoa(int(id.ID())), "e\u0301" + u[:8]} {
		if r := []rune(s); limit > 0 && len(r) > limit {
			s = string(r[:limit])
		}
		if strings.TrimSpace(s) != "" {
			texts = append(texts, s)
		}
	}
	return texts
}

// sampleNumbers returns a number with all the digits after the point that its type has, and its
// negative.
func sampleNumbers(number int, t model.SQLType) []string {
	whole, fraction := strconv.Itoa(number), ".1234567"
	if t.Length > 0 {
		whole = whole[:min(len(whole), t.Length-t.Scale)]
		fraction = "." + strings.Repeat("7", t.Scale)
	}
	n := "0" + whole + strings.TrimSuffix(fraction, ".")
	return []string{n, "-" + n}
}

// longest returns how long a text can be, in the model and in the live column; 0 is without limit.
func longest(t model.SQLType, l live) int {
	limit := t.Length
	if (l.base == "varchar" || l.base == "bpchar") && l.typmod >= 4 && (limit == 0 || l.typmod-4 < limit) {
		limit = l.typmod - 4
	}
	return limit
}
