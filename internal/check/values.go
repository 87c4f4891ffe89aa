package check

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/mask"
	"example.com/owner/sluice/internal/message"
)

const ruleValue = "column_value"

// own is a value that the model itself has for a column. It is the model's text, and may be shown.
type own struct {
	text string
	// is says what it is, and what Postgres does if it refuses it.
	is, costs string
}

// owns lists the values that the model itself has for a column.
func (d *database) owns(c wanted) (all []own) {
	if c.Masked {
		return []own{{sampleMask, "a mask", "every message with the field is rejected"}}
	}
	if c.Field < 0 {
		return nil
	}
	f := &d.model.Fields[c.Field]
	if c.value != nil {
		v := own{string(c.value), "its value, ", "every message is rejected"}
		if !f.Constant {
			v.is, v.costs = "the field's default, ", "every message without the field is rejected"
		}
		all = append(all, v)
	}
	for _, text := range f.OneOf() {
		all = append(all, own{text, "what one_of lists, ", "messages with it are rejected"})
	}
	return all
}

// sampleMask has the form of every mask.
var sampleMask = strings.Repeat("0123456789abcdef", mask.Size/16)

// values looks whether the types of columns take the values that the model has itself. It needs no
// row: a parameter of the column's type is read by the type's input function, which for a domain
// checks its constraints too. Where a length cuts a value, an INSERT would refuse it.
func (d *database) values(ctx context.Context, r *relation) error {
	before := len(d.Findings)
	tried := 0
	for _, c := range r.want {
		l, ok := r.have[c.Name]
		rule, why := misfit(c, l)
		if !ok || l.generated || l.list || rule != "" && why != pads || !c.Type.AsText && !l.isDomain() {
			continue // another finding says so, or sluice knows the type
		}
		for _, v := range d.owns(c) {
			refused, err := d.refuses(ctx, l, v.text)
			if err != nil {
				return err
			}
			if tried++; refused == "" {
				continue
			}
			if !c.Masked {
				v.is += fmt.Sprintf("%q", v.text)
			}
			d.Add(Error, "table", ruleValue, valueRemedy(c, l), "%s.%s is %s, which does not take %s: %s; %s", r.name, c.Name, l.shown, v.is, refused, v.costs)
		}
	}
	if err := d.constraints(ctx, r); err != nil {
		return err
	}
	if tried > 0 && len(d.Findings) == before {
		d.Add(OK, "table", ruleValue, "", "the types of %s take the constants, defaults, listed values and masks of the model", r.name)
	}
	return nil
}

// valueRemedy says what to do about a value that a column refuses.
func valueRemedy(c wanted, l live) string {
	switch {
	case c.Masked:
		return fmt.Sprintf("let the column be varchar(%d) or text, which a mask of %[1]d characters fits into", mask.Size)
	case l.labels != nil:
		const shown = 20
		var labels []string
		for _, label := range l.labels[:min(len(l.labels), shown)] {
			labels = append(labels, strconv.Quote(label))
		}
		if len(l.labels) > shown {
			labels = append(labels, "…")
		}
		return fmt.Sprintf("correct it in the model, or ALTER TYPE %s ADD VALUE; it has %s", l.own, strings.Join(labels, ", "))
	}
	return fmt.Sprintf("correct it in the model, or change %s", l.own)
}

// refuses returns why a column's type refuses a text, "" if it takes it.
func (d *database) refuses(ctx context.Context, l live, text string) (why string, err error) {
	var oid uint32
	if _, err := fmt.Sscan(l.oid, &oid); err != nil {
		return "", err
	}
	var result *pgconn.Result
	err = d.bounded(ctx, func() error {
		sql := fmt.Sprintf("SELECT ($1::%s)::text IS NOT DISTINCT FROM $1::text", l.shown)
		result = d.conn.ExecParams(ctx, sql, [][]byte{[]byte(text)}, []uint32{oid}, nil, nil).Read()
		return result.Err
	})
	refused, ok := errors.AsType[*pgconn.PgError](err)
	switch {
	case ok && blames(refused.Code):
		return message.SQLState(refused.Code) + where(refused), nil
	case ok: // a right is missing, or there was no time: other findings say so
		return "", nil
	case err != nil:
		return "", err
	case string(result.Rows[0][0]) != "t":
		return "it is too long", nil
	}
	return "", nil
}

// blames reports whether an error is about the value: of data, a constraint, or a function's own.
func blames(code string) bool {
	return slices.Contains([]string{"22", "23", "P0"}, code[:2]) || code == "42601"
}

// constraintsSQL lists the CHECK constraints on columns of $2 alone.
const constraintsSQL = `SELECT format('%I', conname), pg_get_expr(conbin, conrelid),
	(SELECT json_agg(a.attname) FROM pg_attribute a WHERE a.attrelid = c.conrelid AND a.attnum = ANY (c.conkey))
	FROM pg_constraint c WHERE conrelid = $1::oid AND contype = 'c' AND cardinality(conkey) > 0 AND coalesce(to_jsonb(c) ->> 'conenforced', 'true') = 'true'
	AND NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.conrelid AND a.attnum = ANY (c.conkey) AND a.attname NOT IN (SELECT json_array_elements_text($2::json))) ORDER BY 1`

// constraints evaluates the CHECK constraints of which the model has all values itself.
func (d *database) constraints(ctx context.Context, r *relation) error {
	var names []string
	known := map[string]wanted{}
	for _, c := range r.want {
		if l, ok := r.have[c.Name]; ok && c.value != nil && !l.generated {
			names = append(names, c.Name)
			known[c.Name] = c
		}
	}
	if names == nil {
		return nil
	}
	list, err := json.Marshal(names)
	if err != nil {
		return err
	}
	rows, err := d.query(ctx, constraintsSQL, r.oid, string(list))
	if err != nil {
		return err
	}
	for _, row := range rows {
		var of, columns []string
		var params [][]byte
		if err := json.Unmarshal([]byte(row[2]), &of); err != nil {
			return err
		}
		for _, name := range of {
			params = append(params, known[name].value)
			columns = append(columns, fmt.Sprintf("$%d::%s::%s AS %s", len(params), withoutLength(known[name].Type), r.have[name].shown, batch.Quote(name)))
		}
		var result *pgconn.Result
		err := d.bounded(ctx, func() error {
			// Its name is one that no constraint uses.
			sql := fmt.Sprintf(`SELECT %s FROM (SELECT %s) AS "a row of sluice"`, row[1], strings.Join(columns, ", "))
			result = d.conn.ExecParams(ctx, sql, params, nil, nil, nil).Read()
			return result.Err
		})
		if _, refused := errors.AsType[*pgconn.PgError](err); refused {
			continue // it reads more than the row, or the type refuses the value
		}
		if err != nil {
			return err
		}
		if string(result.Rows[0][0]) == "f" {
			d.Add(Error, "table", ruleValue, "correct them in the model, or change the constraint",
				"the constraint %s of %s refuses the model's own values of %s: every message that gets them is rejected", row[0], r.name, strings.Join(of, ", "))
		}
	}
	return nil
}
