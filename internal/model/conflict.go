package model

import (
	"slices"
	"strings"

	"example.com/owner/sluice/internal/batch"
)

// ordered are the types of columns that can say which row is newer: here and in every database, their
// values have one order.
var ordered = []string{"smallint", "integer", "bigint", "numeric", "timestamptz", "timestamp", "date", "uuid"}

// conflicts are what on_conflict can be, by the index of batch.OnConflict.
var conflicts = []string{"keep", "replace", "reject"}

// onConflict checks what becomes of a row whose key is stored.
func (c *compiler) onConflict(f file) {
	t, line := c.m.Table, f.OnConflict.line
	t.OnConflict = batch.OnConflict(max(0, slices.Index(conflicts, c.choice("on_conflict", f.OnConflict, conflicts...)))) //nolint:gosec // one of three
	if t.OnConflict != batch.Keep && t.Ledger != "" {
		c.problem(line, "on_conflict: a table with a ledger is only inserted into, since no key says which row another one replaces or contradicts; give it a key instead of the ledger, or remove on_conflict")
		return
	}
	if t.OnConflict != batch.Keep && t.KeyOfMessage {
		c.problem(line, "on_conflict: message_id is in the key, so no other message has a row with the same key; use a key of fields, as in key: [order_id], or remove on_conflict")
	}
	switch t.OnConflict {
	case batch.Replace:
		c.newerBy(f)
		if len(c.m.Also) > 0 && !slices.ContainsFunc(c.m.Columns, func(col Column) bool { return col.Meta == MetaMessageID }) {
			c.problem(line, "on_conflict: replace with also needs to know whose the rows of the other tables are; add a column with the message's id, as in message_id: {type: uuid, meta: message_id}")
		}
		return
	case batch.Reject:
		stored := slices.ContainsFunc(c.m.Columns, func(col Column) bool { return col.Meta == MetaMessageID })
		compared := false
		for i := range c.m.Columns {
			compared = compared || c.m.compared(i)
		}
		switch {
		case !stored:
			c.problem(line, "on_conflict: reject is for rows of another message, and the table does not say whose a row is; add a column with the message's id, as in message_id: {type: uuid, meta: message_id}")
		case !compared:
			c.problem(line, "on_conflict: reject compares what two messages say beside the key, and there is no such column: masks, metadata and constants are not compared; add a column, or remove on_conflict")
		}
	case batch.Keep:
	}
	if f.NewerBy.line > 0 {
		c.problem(f.NewerBy.line, "newer_by is for on_conflict: replace; add that, or remove it")
	}
}

// newerBy finds the column that says which of two rows is newer.
func (c *compiler) newerBy(f file) {
	m, line := c.m, max(f.NewerBy.line, f.OnConflict.line)
	i := slices.IndexFunc(m.Columns, func(col Column) bool { return col.Name == f.NewerBy.text })
	if f.NewerBy.line == 0 {
		i = slices.IndexFunc(m.Columns, func(col Column) bool { return col.Meta == MetaSequenceNumber })
	}
	if i < 0 && f.NewerBy.line == 0 {
		c.problem(line, "on_conflict: replace needs the column that says which of two rows is newer; add newer_by, as in newer_by: updated_at, or for a FIFO queue a column, as in sequence_number: {type: numeric, meta: sequence_number}")
		return
	}
	if i < 0 {
		c.problem(line, "newer_by: the column %s is not defined; add it to columns, or correct the name", f.NewerBy.text)
		return
	}
	col := &m.Columns[i]
	col.NewerBy = true
	switch why := col.Meta.find().noNewer; {
	case slices.Contains(m.Table.Key, i):
		c.problem(line, "newer_by: the column %s is in the key, so two rows with one key have the same value; use another column", col.Name)
	case why != "":
		c.problem(line, "newer_by: the column %s %s; use a column of a field, or of sent_at", col.Name, why)
	case col.Field >= 0 && m.Fields[col.Field].Constant:
		c.problem(line, "newer_by: the column %s has the same value in all rows; use another column", col.Name)
	case !slices.Contains(ordered, col.Type.Base) || col.Type.List || col.AsText:
		c.problem(line, "newer_by: the column %s of type %s has no order that is the same everywhere; use a column of type %s", col.Name, col.Type, strings.Join(ordered, ", "))
	case !m.notNull(i):
		c.problem(line, "newer_by: the column %s can be NULL, so its row could not be compared; add required: true to field %s", col.Name, m.Fields[col.Field].Name)
	}
}

// notNull reports whether a row always has a value in column i.
func (m *Model) notNull(i int) bool {
	col := m.Columns[i]
	if col.Field >= 0 {
		return m.Fields[col.Field].NotNull()
	}
	return col.NewerBy || !col.Meta.find().nullable // of a message without it, there is no row
}

// compared reports whether two messages with one key say the same only if column i is the same. Children
// are not compared: they are as their parent is.
func (m *Model) compared(i int) bool {
	col := m.Columns[i]
	return m.Table.Parent == nil && m.Table.OnConflict != batch.Replace && m.Table.Ledger == "" && !slices.Contains(m.Table.Key, i) && col.Field >= 0 && !col.Masked && !m.Fields[col.Field].Constant
}
