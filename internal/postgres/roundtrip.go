package postgres

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/fault"
	"example.com/owner/sluice/internal/message"
)

// roundTrip sends statements without waiting, and then reads all the answers. Its statements come
// in segments: when one fails, the server skips the rest of its segment.
type roundTrip struct {
	in       *insertion
	p        *pgconn.Pipeline
	cancel   context.CancelFunc
	segments int
	sized    int    // bytes of parameters since the last flush
	prepares insert // that this round trip prepares
	deadline time.Time
	asks     map[int]func(*answer)
	required map[int]bool // segments that must not fail
	// stopOn returns an error if the rest of the round trip is pointless after an answer.
	stopOn func(*answer) error
}

// answer is what the server answered to one segment.
type answer struct {
	rows     int64           // of its inserts
	values   []int64         // that statements returned, in rows and columns of 8 bytes
	text     []byte          // that a statement returned
	refused  *pgconn.PgError // the segment's error, without what quotes values
	tag      string          // of the last statement that succeeded
	inserted bool            // an insert succeeded; a ledger's is a SELECT
}

func (in *insertion) roundTrip(ctx context.Context) *roundTrip {
	deadline, _ := ctx.Deadline()
	ctx, cancel := context.WithCancel(ctx)
	return &roundTrip{deadline: deadline, in: in, p: in.conn.StartPipeline(ctx), cancel: cancel, asks: map[int]func(*answer){}, required: map[int]bool{}}
}

// add adds a statement without parameters.
func (rt *roundTrip) add(sql string) { rt.p.SendQueryParams(sql, nil, nil, nil, nil) }

// inserts returns the forms of the insert of the batch.
func (in *insertion) inserts() inserts {
	if in.batch.HasGroups() {
		return in.sql.unsorted
	}
	return in.sql.insert
}

// insert adds the insert of the given rows that skips those that are stored, as one statement.
func (rt *roundTrip) insert(rows []int) { rt.insertBy(rt.in.inserts().skipping, rows, len(rows)) }

// StatementRows is how many rows one statement inserts at most. The server is slower for each row of
// longer arrays, and it works on one statement while the next one is encoded.
const StatementRows = 1000

// insertBy adds an insert of the given rows, in statements of up to size rows. Where rows have message
// groups it fails if one is discarded: then those that follow it must not be committed.
func (rt *roundTrip) insertBy(insert insert, rows []int, size int) {
	if size < len(rows) {
		rt.add(limits(rt.deadline)) // the server has locks now while it waits for the next part
		for part := range slices.Chunk(rows, size) {
			rt.insertRows(insert, part)
			rt.flush()
		}
	} else {
		rt.insertRows(insert, rows)
	}
	if rt.in.batch.HasGroups() && rt.in.store.table.Ledger == "" { // the ledger's statement fails by itself
		rt.keys(rt.in.sql.allPresent, rows)
	}
}

func (rt *roundTrip) insertRows(insert insert, rows []int) {
	in := rt.in
	if !in.conn.named {
		rt.query(insert.sql, rows)
		return
	}
	if before := in.conn.prepared[insert.name]; before != insert.sql && rt.prepares != insert {
		if before != "" || rt.prepares.name == insert.name {
			rt.add("DEALLOCATE " + insert.name)
		}
		rt.p.SendPrepare(insert.name, insert.sql, nil)
		rt.prepares = insert
	}
	rt.p.SendQueryPrepared(insert.name, rt.size(in.conn.arrays.Encode(in.batch, in.store.table, rows)), in.store.formats, binary)
}

// query adds a statement about all columns of rows.
func (rt *roundTrip) query(sql string, rows []int) {
	rt.p.SendQueryParams(sql, rt.size(rt.in.conn.arrays.Encode(rt.in.batch, rt.in.store.table, rows)), nil, rt.in.store.formats, binary)
}

// present adds the question which of the given rows' keys are in the table.
func (rt *roundTrip) present(rows []int) { rt.keys(rt.in.sql.present, rows) }

// keys adds a statement about the keys of rows.
func (rt *roundTrip) keys(sql string, rows []int) {
	rt.p.SendQueryParams(sql, rt.size(rt.in.conn.arrays.EncodeKeys(rt.in.batch, rt.in.store.table, rows)), nil, rt.in.store.keyFormats, binary)
}

// uncompiled keeps the server from compiling the queries of the catalog, up to the end of the
// segment: they are long, and in a database of thousands of tables their estimated cost is high.
// That took 10 seconds (tried: 10,000 tables), and the queries themselves half a second.
const uncompiled = "SELECT set_config('jit', 'off', true)"

// askKeys adds the question how keys compare, as a segment of its own.
func (rt *roundTrip) askKeys() {
	t := rt.in.store.table
	rt.add(uncompiled)
	rt.p.SendQueryParams(keysSQL, [][]byte{[]byte(keyTable(t)), keyColumns(t), []byte(table(t))}, nil, nil, binary)
	rt.ask(func(a *answer) {
		rt.in.store.learnKeys(a)
		rt.in.learn()
	})
}

// askOnce adds the question how keys compare to the first round trip of a connection.
func (rt *roundTrip) askOnce() {
	if !rt.in.conn.keysAsked {
		rt.in.conn.keysAsked = true
		rt.askKeys()
	}
}

// askCatalog adds the query of the catalog, as a segment of its own.
func (rt *roundTrip) askCatalog() {
	t := rt.in.store.table
	ledgers := ""
	if t.Ledger != "" {
		ledgers = ledger(t)
	}
	rt.add(uncompiled)
	rt.p.SendQueryParams(catalogSQL, [][]byte{[]byte(table(t)), []byte(ledgers)}, nil, nil, binary)
	rt.ask(func(a *answer) {
		rt.in.store.learn(a)
		rt.in.catalog, rt.in.catalogIsOurs = rt.in.store.freshCatalog(), true
	})
}

// ask ends a segment whose answer only learn gets. If it fails, that does no harm.
func (rt *roundTrip) ask(learn func(*answer)) {
	rt.asks[rt.segments] = learn
	rt.endSegment()
}

// endRequired ends a segment that looks keys up. If it fails, so does the round trip.
func (rt *roundTrip) endRequired() {
	rt.required[rt.segments] = true
	rt.endSegment()
}

// binary is the format of all results, and of all parameters but those that a type reads as text.
var binary = []int16{1}

// formats returns the formats of columns' parameters.
func formats(columns []batch.Column) []int16 {
	if !slices.ContainsFunc(columns, func(c batch.Column) bool { return c.AsText }) {
		return binary
	}
	all := make([]int16, len(columns))
	for i := range columns {
		all[i] = columns[i].Format()
	}
	return all
}

// flushSize bounds what is kept in memory before it is sent.
const flushSize = 64 << 10

// size counts the bytes of parameters, and makes room for them.
func (rt *roundTrip) size(params [][]byte) [][]byte {
	n := 0
	for _, p := range params {
		n += 4 + len(p) // with its length
	}
	rt.sized += n
	rt.in.conn.Frontend().Send(&room{rt.in.conn, n + maxBind})
	return params
}

// maxBind is more than what a Bind has besides its parameters, and the messages after it.
const maxBind = 8 << 10

// room is a message of no bytes that makes room for others. The driver begins each flush with a
// buffer of 1 KB: it grew a dozen times for a statement, which took longer than to encode it.
type room struct {
	conn *conn
	size int
}

// Encode implements pgproto3.FrontendMessage.
func (r *room) Encode(dst []byte) ([]byte, error) {
	c, need := r.conn, len(dst)+r.size
	switch {
	case cap(dst) >= need:
		return dst, nil
	case need > maxSendBuffer:
		return slices.Grow(dst, r.size), nil
	case cap(c.sendBuffer) < need:
		c.sendBuffer = make([]byte, 0, need)
	}
	return append(c.sendBuffer[:0], dst...), nil
}

// Decode implements pgproto3.FrontendMessage.
func (*room) Decode([]byte) error { return nil }

// Frontend implements pgproto3.FrontendMessage.
func (*room) Frontend() {}

// maxSendBuffer bounds what a connection keeps.
const maxSendBuffer = 1 << 20

// endSegment closes a segment, and sends what has been added if it is much.
func (rt *roundTrip) endSegment() {
	rt.p.SendPipelineSync()
	rt.segments++
	rt.flush()
}

// flush sends what has been added, if it is much.
func (rt *roundTrip) flush() {
	if rt.sized >= flushSize {
		rt.sized = 0
		_ = rt.p.Flush() // an error stays, and finish finds it
	}
}

// finish sends what is left and reads the answers, one for each segment that was not a question.
func (rt *roundTrip) finish() ([]answer, error) {
	defer rt.cancel()
	answers, err := rt.read()
	if closeErr := rt.p.Close(); err == nil && closeErr != nil && asServer(closeErr) == nil {
		err = closeErr
	}
	return answers, err
}

func (rt *roundTrip) read() ([]answer, error) {
	if err := rt.p.Flush(); err != nil {
		return nil, err
	}
	answers := make([]answer, 0, rt.segments)
	var a answer
	var failed *pgconn.PgError
	for segment := 0; segment < rt.segments; {
		results, err := rt.p.GetResults()
		if err == nil {
			switch r := results.(type) {
			case *pgconn.PipelineSync:
				if learn := rt.asks[segment]; learn != nil {
					learn(&a)
				} else {
					if a.refused != nil && rt.required[segment] { // what follows fails because of it
						failed, rt.stopOn = a.refused, nil
					}
					if rt.stopOn != nil && a.refused != nil {
						if err := rt.stopOn(&a); err != nil {
							rt.cancel() // tells the server to stop: what is left would take locks for nothing
							return nil, err
						}
					}
					answers = append(answers, a)
				}
				a = answer{}
				segment++
			case *pgconn.StatementDescription:
				rt.in.conn.prepared[rt.prepares.name] = rt.prepares.sql
			case *pgconn.ResultReader:
				err = a.take(r)
			case nil:
				return nil, errors.New("the server answered too little")
			}
		}
		if err != nil {
			server := asServer(err)
			if server == nil || endsSession(server) { // nothing follows it
				return nil, err
			}
			if a.refused == nil {
				a.refused = bare(server)
			}
		}
	}
	if failed != nil {
		return nil, rt.in.errorOf(rt.in.store.lookingUp, failed)
	}
	return answers, nil
}

// bare returns an error of the server without the texts that quote values, of which there can be
// thousands: they are no evidence, and nothing keeps them.
func bare(err *pgconn.PgError) *pgconn.PgError {
	text := ""
	if ofPooler(err) {
		text = err.Message
	}
	return &pgconn.PgError{
		Message: text, Code: err.Code, SchemaName: err.SchemaName, TableName: err.TableName, ColumnName: err.ColumnName,
		ConstraintName: err.ConstraintName, DataTypeName: err.DataTypeName, Where: withoutParameters(withoutValue(err.Where)), Routine: err.Routine, Position: err.Position,
	}
}

// bound begins the outermost entry of a context if the server could not read a parameter: its
// number, and then its value. The parameters of a statement follow a colon.
var bound = regexp.MustCompile(`(?m)^[^\n=:"'«»„“(]*[0-9][^\n=:"'«»„“(]* = '`)

// withoutValue returns a context without the value of a parameter that the server could not read:
// all values of a column (log_parameter_max_length_on_error). Its quotes stay.
func withoutValue(context string) string {
	if !strings.Contains(context, " = '") {
		return context
	}
	for _, m := range bound.FindAllStringIndex(context, -1) {
		if rest, ok := afterQuoted(context[m[1]-1:]); ok && !strings.ContainsAny(rest, "\n\"'") {
			return context[:m[1]] + "'" + rest
		}
	}
	return context
}

// withoutParameters returns a context without the entry that quotes the statement's parameters
// (log_parameter_max_length_on_error). It is the outermost entry, so the last. Its words follow
// lc_messages, and values can have newlines.
func withoutParameters(context string) string {
	const first = "$1 = "
	for i := 0; ; i += len(first) {
		found := strings.Index(context[i:], first)
		if found < 0 {
			return context
		}
		i += found
		if areParameters(context[i:]) {
			return strings.Clone(context[:max(strings.LastIndexByte(context[:i], '\n'), 0)])
		}
	}
}

// areParameters reports whether a text is $1 = '…', $2 = NULL, … to its end, where French has a
// bracket. A statement within a context is followed by a quote or by the next entry.
func areParameters(text string) bool {
	for n := 1; ; n++ {
		rest, ok := strings.CutPrefix(text, fmt.Sprintf("$%d = ", n))
		if !ok {
			return false
		}
		if rest, ok = strings.CutPrefix(rest, "NULL"); !ok {
			if rest, ok = afterQuoted(rest); !ok {
				return false
			}
		}
		if text, ok = strings.CutPrefix(rest, ", "); !ok {
			return !strings.ContainsAny(rest, "\n\"'")
		}
	}
}

// afterQuoted returns what follows a text in single quotes, in which quotes are doubled.
func afterQuoted(text string) (rest string, ok bool) {
	rest, ok = strings.CutPrefix(text, "'")
	for ok {
		if _, rest, ok = strings.Cut(rest, "'"); ok && !strings.HasPrefix(rest, "'") {
			return rest, true
		}
		rest = strings.TrimPrefix(rest, "'")
	}
	return "", false
}

// take reads the rows and the tag of one statement. A deferred constraint that fails gives a tag
// and an error, so the error decides.
func (a *answer) take(r *pgconn.ResultReader) error {
	for r.NextRow() {
		for _, v := range r.Values() {
			if len(v) == 8 {
				a.values = append(a.values, batch.Int(v))
			} else {
				a.text = append(a.text[:0], v...)
			}
		}
	}
	tag, err := r.Close()
	a.inserted = a.inserted || tag.Insert() || tag.Select()
	if err != nil {
		a.values = nil
		return err
	}
	a.tag = tag.String()
	if tag.Insert() {
		a.rows += tag.RowsAffected()
	}
	return nil
}

// inserted returns how many rows the inserts of a segment stored: their tags say so, or, with a
// ledger, the one value that each returns.
func (in *insertion) inserted(a answer) int {
	switch {
	case a.refused != nil:
		return 0
	case in.store.table.Ledger == "":
		return int(a.rows)
	}
	n := int64(0)
	for _, v := range a.values {
		n += v
	}
	return int(n)
}

// finish ends a round trip and counts it. Its error names what it was doing.
func (in *insertion) finish(ctx context.Context, doing string, rt *roundTrip) ([]answer, error) {
	in.result.RoundTrips++
	answers, err := rt.finish()
	if err != nil {
		if fault.Of(err) != nil {
			return nil, err
		}
		return nil, in.store.whyEnded(ctx, doing, err)
	}
	if err := contextErr(ctx); err != nil {
		// The wait for a standby may have been cut short by our own request to cancel.
		return nil, in.store.whyEnded(ctx, doing, err)
	}
	if in.conn.unconfirmed.Swap(false) {
		return nil, databaseError(fault.Error{
			Cause:  message.CauseTransient,
			What:   doing + ": committed here, and not confirmed by the synchronous standby",
			Remedy: "check pg_stat_replication, and what cancelled the wait",
		})
	}
	return answers, nil
}
