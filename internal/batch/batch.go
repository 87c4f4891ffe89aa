// Package batch holds the checked and masked rows of one batch, ready for a store. Package model
// fills a Batch, and a store reads it.
//
// Rows are stored one after another in a single buffer, each value in the binary form of Postgres's
// wire protocol, after its length. So removing an invalid row truncates the buffer, sorting moves
// no value, any subset of rows becomes array parameters by one copy, and no value costs an
// allocation. Stores that are not Postgres read the same values through Row.
//
// It imports no other package of sluice. A Batch is for one goroutine.
package batch

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"
)

// Kind is the type of a column's values in a batch. The column itself may have another type, which
// the store converts to (numeric and jsonb travel as Text).
type Kind uint8

// The kinds, each with the form of its values.
const (
	Text      Kind = iota + 1 // UTF-8, no NUL
	Int4                      // 4 bytes, big-endian
	Int8                      // 8 bytes, big-endian
	Bool                      // 1 byte, 0 or 1
	Timestamp                 // 8 bytes: microseconds since 2000-01-01 UTC
	Date                      // 4 bytes: days since 2000-01-01
	UUID                      // 16 bytes

	// TimestampNoZone is for the type timestamp: the time in UTC, as a Timestamp has it. Were it
	// sent as one, the server would convert it to the time zone of the session.
	TimestampNoZone
	TimeOfDay // 8 bytes: microseconds since midnight
	Float4    // 4 bytes, IEEE 754, big-endian
	Float8    // 8 bytes, IEEE 754, big-endian
	Binary    // any bytes
)

// Batch holds the rows of one batch. Create it with New; Reset empties it and keeps its memory.
type Batch struct {
	tables    []*Table
	versions  [][]int // of each table, the columns of a row's version that stores look at
	data      []byte
	rows      []row   // of each message, the first one
	more      []more  // the other rows of messages
	keys      []int   // per row, the offsets in data of its key's values, and of its version's
	open      []int   // offsets of the values of the row under construction
	last      []int   // and of the row before it, of the same message
	order     []place // of the rows that RepeatedKey compares
	filling   *Table  // the table of the row under construction
	list      list    // the list under construction
	sorted    bool
	hasGroups bool
	rowSize   int // how much data a row of the last batch had

	redelivered bool
}

type row struct {
	start   int // offset of its first value in data
	table   int // index of the table that it is for
	message int // index of the message that it came from
	group   int // its message group, 0 if rows may be stored in any order
	keys    int // index of its first offset in keys
	from    int // index of the first of the message's other rows in more
	to      int // and of what follows them
}

// more is one more row of a message.
type more struct {
	start int
	child int // index of its table in the Children of the message's table, -1 for the message's own
	keys  int
}

// New returns an empty batch for some tables. Every batch for them must have them in the same order:
// it is the order in which they are written.
func New(tables ...*Table) *Batch {
	b := &Batch{tables: tables, versions: make([][]int, len(tables)), sorted: true}
	for i, t := range tables {
		if t.OnConflict == Replace || t.FindsConflicts() {
			b.versions[i] = t.Version()
		}
	}
	return b
}

// maxKept is the largest buffer that is kept for the next batch, in bytes.
const maxKept = 1 << 20

// Reset removes all rows, and gives back the memory of a large batch.
func (b *Batch) Reset() {
	if len(b.rows) > 0 {
		b.rowSize = len(b.data) / len(b.rows)
	}
	if cap(b.data) > maxKept {
		b.data = nil
	}
	b.data, b.rows, b.more, b.keys, b.open, b.sorted = b.data[:0], b.rows[:0], b.more[:0], b.keys[:0], b.open[:0], true
	b.hasGroups, b.redelivered = false, false
}

// Grow makes room for rows as large as those of the last batch, as far as it would be kept.
func (b *Batch) Grow(rows int) { b.data = slices.Grow(b.data, min(rows*b.rowSize, maxKept)) }

// Table returns the index of the table that row i is for.
func (b *Batch) Table(i int) int { return b.rows[i].table }

// Columns returns the columns of row i; do not change them.
func (b *Batch) Columns(i int) []Column { return b.tables[b.rows[i].table].Columns }

// Len returns the number of messages with rows. Row i, and all that is about it, is the first one of a
// message; the message's other rows go where it goes.
func (b *Batch) Len() int { return len(b.rows) }

// Size returns how many bytes the values of all rows have.
func (b *Batch) Size() int { return len(b.data) }

// Rows returns the number of all rows.
func (b *Batch) Rows() int { return len(b.rows) + len(b.more) }

// Message returns the index of the message that row i came from.
func (b *Batch) Message(i int) int { return b.rows[i].message }

// Group returns the message group of row i, 0 if it has none.
func (b *Batch) Group(i int) int { return b.rows[i].group }

// HasGroups reports whether rows have message groups: then they are in the order of arrival, and no
// row may be stored that follows a refused row of its group.
func (b *Batch) HasGroups() bool { return b.hasGroups }

// SetRedelivered records whether some of the messages were, or may have been, received before.
func (b *Batch) SetRedelivered(redelivered bool) { b.redelivered = redelivered }

// Redelivered reports whether some of the messages were, or may have been, received before: then an
// earlier delivery may have stored their rows, or have had too little time for them.
func (b *Batch) Redelivered() bool { return b.redelivered }

// Begin starts a row of the first table for the message with the given index and message group.
// Exactly one value per column must follow, in order, and then End or Cancel.
func (b *Batch) Begin(message, group int) { b.BeginIn(0, message, group) }

// BeginIn starts a row of the table with the given index.
func (b *Batch) BeginIn(table, message, group int) {
	b.rows = append(b.rows, row{start: len(b.data), table: table, message: message, group: group, keys: len(b.keys), from: len(b.more), to: len(b.more)})
	b.open, b.list, b.filling = b.open[:0], list{}, b.tables[table]
	b.hasGroups = b.hasGroups || group != 0
}

// More starts another row of the message of the last one: in the table with that index of its
// Children, or in the same table for -1.
func (b *Batch) More(child int) {
	last := &b.rows[len(b.rows)-1]
	b.more = append(b.more, more{start: len(b.data), child: child, keys: len(b.keys)})
	last.to = len(b.more)
	b.open, b.last, b.list, b.filling = b.last[:0], b.open, list{}, b.tables[last.table].child(child)
}

// Repeat appends the value that the row before has in a column. Both rows are of one message and of
// one table.
func (b *Batch) Repeat(column int) {
	at := b.last[column]
	b.open = append(b.open, len(b.data))
	b.data = append(b.data, b.data[at:at+4+len(b.value(at))]...)
}

// child returns the table with an index of Children, or the table itself for -1.
func (t *Table) child(i int) *Table {
	if i < 0 {
		return t
	}
	return t.Children[i]
}

// End completes the row. It panics if values are missing, which is a bug of the caller: the server
// would pad an array that is too short with NULLs.
func (b *Batch) End() {
	t := b.filling
	if len(b.open) != len(t.Columns) {
		panic(fmt.Sprintf("batch: a row of %d values, want %d", len(b.open), len(t.Columns)))
	}
	for _, c := range t.Key {
		b.keys = append(b.keys, b.open[c])
	}
	if last := b.rows[len(b.rows)-1].table; t == b.tables[last] {
		for _, c := range b.versions[last] {
			b.keys = append(b.keys, b.open[c])
		}
	}
	if n := len(b.rows); n > 1 && b.sorted && b.rows[n-1].from == len(b.more) {
		b.sorted = b.compare(b.rows[n-2], b.rows[n-1]) <= 0
	}
}

// Cancel removes all rows of the last message, also the unfinished one.
func (b *Batch) Cancel() {
	last := b.rows[len(b.rows)-1]
	b.data, b.keys, b.rows, b.more = b.data[:last.start], b.keys[:last.keys], b.rows[:len(b.rows)-1], b.more[:last.from]
}

// RepeatedKey looks for two rows of the last message with one key, in its own table for -1, or in a
// child. It returns their numbers among the message's rows there, counted from 1, and 0 for none.
func (b *Batch) RepeatedKey(child int) (row, earlier int) {
	last := &b.rows[len(b.rows)-1]
	t := b.tables[last.table].child(child)
	b.order = b.order[:0]
	if child < 0 {
		b.order = append(b.order, place{keys: last.keys, row: 1})
	}
	for _, m := range b.more[last.from:] {
		if m.child == child {
			b.order = append(b.order, place{keys: m.keys, row: len(b.order) + 1})
		}
	}
	slices.SortStableFunc(b.order, func(x, y place) int { return b.compareKeys(t, x.keys, y.keys) })
	for i := 1; i < len(b.order); i++ {
		if x, y := b.order[i-1], b.order[i]; (row == 0 || y.row < row) && b.compareKeys(t, x.keys, y.keys) == 0 {
			row, earlier = y.row, x.row
		}
	}
	return row, earlier
}

// null is the length of a NULL.
const null = 0xffff_ffff

// Null appends a NULL.
func (b *Batch) Null() {
	if b.list.open {
		b.separate()
		b.data = append(b.data, "NULL"...)
		return
	}
	b.open = append(b.open, len(b.data))
	b.data = binary.BigEndian.AppendUint32(b.data, null)
}

// size begins a value of n bytes, which must follow.
func (b *Batch) size(n int) {
	b.open = append(b.open, len(b.data))
	b.data = binary.BigEndian.AppendUint32(b.data, uint32(n))
}

// Bytes appends a value that is already in its column's form.
func (b *Batch) Bytes(v []byte) {
	if b.list.open {
		b.element(v)
		return
	}
	b.size(len(v))
	b.data = append(b.data, v...)
}

// String appends a Text value.
func (b *Batch) String(v string) {
	if b.list.open {
		b.separate()
		b.data = appendQuoted(b.data, v)
		return
	}
	b.size(len(v))
	b.data = append(b.data, v...)
}

// AppendTo appends a value that f appends to the buffer it gets, or nothing if f returns an error. It
// is not for lists.
func (b *Batch) AppendTo(f func(dst []byte) ([]byte, error)) (err error) {
	b.size(0)
	at := len(b.data)
	if b.data, err = f(b.data); err != nil {
		b.data, b.open = b.data[:at-4], b.open[:len(b.open)-1]
		return err
	}
	binary.BigEndian.PutUint32(b.data[at-4:], uint32(len(b.data)-at))
	return nil
}

// Int4 appends an Int4 or a Date value.
func (b *Batch) Int4(v int32) {
	if b.list.open {
		b.number(int64(v))
		return
	}
	b.size(4)
	b.data = binary.BigEndian.AppendUint32(b.data, uint32(v))
}

// Int8 appends an Int8, a Timestamp, a TimestampNoZone or a TimeOfDay value.
func (b *Batch) Int8(v int64) {
	if b.list.open {
		b.number(v)
		return
	}
	b.size(8)
	b.data = binary.BigEndian.AppendUint64(b.data, uint64(v))
}

// Float4 appends a Float4 value.
func (b *Batch) Float4(v float32) {
	if b.list.open {
		b.separate()
		b.data = strconv.AppendFloat(b.data, float64(v), 'g', -1, 32)
		return
	}
	b.size(4)
	b.data = binary.BigEndian.AppendUint32(b.data, math.Float32bits(v))
}

// Float8 appends a Float8 value.
func (b *Batch) Float8(v float64) {
	if b.list.open {
		b.separate()
		b.data = strconv.AppendFloat(b.data, v, 'g', -1, 64)
		return
	}
	b.size(8)
	b.data = binary.BigEndian.AppendUint64(b.data, math.Float64bits(v))
}

// Bool appends a Bool value.
func (b *Batch) Bool(v bool) {
	if b.list.open {
		b.separate()
		b.data = strconv.AppendBool(b.data, v)
		return
	}
	b.size(1)
	if v {
		b.data = append(b.data, 1)
	} else {
		b.data = append(b.data, 0)
	}
}

// Int returns a value of the kinds Int4, Int8, Timestamp, TimestampNoZone, TimeOfDay and Date.
func Int(v []byte) int64 {
	if len(v) == 4 {
		return int64(int32(binary.BigEndian.Uint32(v)))
	}
	return int64(binary.BigEndian.Uint64(v))
}

// Float returns a value of the kinds Float4 and Float8, and how many bits it has.
func Float(v []byte) (f float64, bits int) {
	if len(v) == 4 {
		return float64(math.Float32frombits(binary.BigEndian.Uint32(v))), 32
	}
	return math.Float64frombits(binary.BigEndian.Uint64(v)), 64
}

// EpochMillis is 2000-01-01 UTC, from which timestamps and dates count.
const EpochMillis = 946684800000

// Time returns a value of the kinds Timestamp, TimestampNoZone and Date.
func Time(k Kind, v []byte) time.Time {
	if k == Date {
		return time.UnixMilli(EpochMillis).UTC().AddDate(0, 0, int(Int(v)))
	}
	return time.UnixMicro(EpochMillis*1000 + Int(v)).UTC()
}

// Sort orders the rows by their table and the key's bytes, and rows with equal keys in the order of
// arrival, or the newest last if it replaces the others. Two batches with the same rows then lock
// them in the same order, so they wait for each other instead of deadlocking. It leaves rows with
// message groups as they are.
func (b *Batch) Sort() {
	if !b.sorted && !b.hasGroups {
		slices.SortStableFunc(b.rows, b.compare)
		b.sorted = true
	}
}

func (b *Batch) compare(x, y row) int {
	if c := b.compareByKey(x, y); c != 0 {
		return c
	}
	return b.compareVersions(x, y)
}

func (b *Batch) compareByKey(x, y row) int {
	if x.table != y.table {
		return cmp.Compare(x.table, y.table)
	}
	return b.compareKeys(b.tables[x.table], x.keys, y.keys)
}

// compareKeys compares two keys of a table by their bytes.
func (b *Batch) compareKeys(t *Table, x, y int) int {
	for k := range t.Key {
		if c := bytes.Compare(b.value(b.keys[x+k]), b.value(b.keys[y+k])); c != 0 {
			return c
		}
	}
	return 0
}

// value returns the value at an offset, nil for a NULL.
func (b *Batch) value(at int) []byte {
	n := int32(binary.BigEndian.Uint32(b.data[at:]))
	if n < 0 {
		return nil
	}
	return b.data[at+4 : at+4+int(n) : at+4+int(n)]
}

// Row calls f for each column of row i, in order; v is nil for a NULL. The slices are valid until
// Reset.
func (b *Batch) Row(i int, f func(column int, v []byte)) { b.read(b.rows[i].start, b.Columns(i), f) }

func (b *Batch) read(at int, columns []Column, f func(column int, v []byte)) {
	for c := range columns {
		v := b.value(at)
		f(c, v)
		at += 4 + len(v)
	}
}

// MoreRows returns how many rows the message of row i has beside it.
func (b *Batch) MoreRows(i int) int { return b.rows[i].to - b.rows[i].from }

// MoreRow calls f for each column of one of these rows, as Row does.
func (b *Batch) MoreRow(i, k int, f func(column int, v []byte)) {
	b.read(b.more[b.rows[i].from+k].start, b.tables[b.rows[i].table].child(b.MoreTable(i, k)).Columns, f)
}

// MoreTable returns the table of one of these rows: its index in Children, or -1 for the table of row i.
func (b *Batch) MoreTable(i, k int) int { return b.more[b.rows[i].from+k].child }

// Key calls f for each column of row i's key, in the key's order.
func (b *Batch) Key(i int, f func(column int, v []byte)) {
	for k, c := range b.tables[b.rows[i].table].Key {
		f(c, b.value(b.keys[b.rows[i].keys+k]))
	}
}

// RowsOf returns how many rows the messages of some rows have in all.
func (b *Batch) RowsOf(rows []int) int {
	n := len(rows)
	for _, i := range rows {
		n += b.MoreRows(i)
	}
	return n
}

// Divide divides rows into parts whose messages have up to size rows; a message with more is a part.
func (b *Batch) Divide(rows []int, size int) (parts [][]int) {
	from, n := 0, 0
	for i, row := range rows {
		if more := 1 + b.MoreRows(row); n > 0 && n+more > size {
			parts, from, n = append(parts, rows[from:i:i]), i, more
		} else {
			n += more
		}
	}
	return append(parts, rows[from:])
}

// SameKey reports whether two rows are for one table, and their keys have the same bytes.
func (b *Batch) SameKey(i, j int) bool { return b.compareByKey(b.rows[i], b.rows[j]) == 0 }
