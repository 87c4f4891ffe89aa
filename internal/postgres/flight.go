package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"sluice/internal/batch"
	"sluice/internal/fault"
	"sluice/internal/message"
)

// flight sends statements without waiting and then reads all the answers. Its
// statements come in groups: when one fails, the server skips the rest of
// its group.
type flight struct {
	in       *insertion
	p        *pgconn.Pipeline
	cancel   context.CancelFunc
	groups   int
	sized    int    // bytes of parameters since the last flush
	prepares string // the insert that this flight prepares
	asks     map[int]func(*answer)
	required map[int]bool // groups whose failure is the failure of the flight
	// fatal says why the rest of the flight is pointless after an answer.
	fatal func(*answer) error
}

// answer is what the server said of one group.
type answer struct {
	rows     int64           // of its inserts
	values   []int64         // that statements returned, in rows and columns of 8 bytes
	text     []byte          // that a statement returned
	refused  *pgconn.PgError // the group's error, without what quotes values
	tag      string          // of the last statement that came to its end
	inserted bool            // a statement that inserts came to its end
}

func (in *insertion) flight(ctx context.Context) *flight {
	ctx, cancel := context.WithCancel(ctx)
	return &flight{in: in, p: in.conn.StartPipeline(ctx), cancel: cancel}
}

// say adds a statement without parameters.
func (f *flight) say(sql string) { f.p.SendQueryParams(sql, nil, nil, nil, nil) }

// statement is the insert of the batch.
func (in *insertion) statement() string {
	if in.batch.Ordered() {
		return in.sql.ordered
	}
	return in.sql.insert
}

// insert adds the insert of the given rows. Where rows have message groups it
// fails if one is discarded: those that follow it must not be committed then.
func (f *flight) insert(rows []int) {
	f.insertRows(rows)
	if f.in.batch.Ordered() && f.in.store.table.Ledger == "" { // the ledger's statement fails by itself
		f.p.SendQueryParams(f.in.sql.kept, f.size(f.in.conn.arrays.EncodeKeys(f.in.batch, rows)), nil, binary, binary)
	}
}

func (f *flight) insertRows(rows []int) {
	in := f.in
	sql := in.statement()
	params := f.size(in.conn.arrays.Encode(in.batch, rows))
	if !in.conn.named {
		f.p.SendQueryParams(sql, params, nil, binary, binary)
		return
	}
	if in.conn.prepared != sql && f.prepares != sql {
		if in.conn.prepared != "" || f.prepares != "" {
			f.say("DEALLOCATE " + statementName)
		}
		f.p.SendPrepare(statementName, sql, nil)
		f.prepares = sql
	}
	f.p.SendQueryPrepared(statementName, params, binary, binary)
}

// plain adds an insert without ON CONFLICT and RETURNING.
func (f *flight) plain(rows []int) {
	f.p.SendQueryParams(f.in.sql.plain, f.size(f.in.conn.arrays.Encode(f.in.batch, rows)), nil, binary, binary)
}

// present adds the question which of the given rows' keys are there.
func (f *flight) present(rows []int) { f.keys(f.in.sql.present, rows) }

// keys adds a statement about the keys of rows.
func (f *flight) keys(sql string, rows []int) {
	f.p.SendQueryParams(sql, f.size(f.in.conn.arrays.EncodeKeys(f.in.batch, rows)), nil, binary, binary)
}

// uncompiled keeps the server from compiling the queries of the catalog, up to the end of the
// group: they are long, and in a database of thousands of tables their estimated cost is high.
// That took 10 seconds (tried: 10,000 tables), and the queries themselves half a second.
const uncompiled = "SELECT set_config('jit', 'off', true)"

// askKeys adds the question how keys compare, as a group of its own.
func (f *flight) askKeys() {
	t := f.in.store.table
	f.say(uncompiled)
	f.p.SendQueryParams(keysSQL, [][]byte{[]byte(keyTable(t)), keyColumns(t), []byte(table(t))}, nil, nil, binary)
	f.ask(func(a *answer) {
		f.in.store.learnKeys(a)
		f.in.learn()
	})
}

// askOnce adds the question how keys compare to the first flight of a connection.
func (f *flight) askOnce() {
	if !f.in.conn.asked {
		f.in.conn.asked = true
		f.askKeys()
	}
}

// askCatalog adds the question what the catalog says, as a group of its own.
func (f *flight) askCatalog() {
	t := f.in.store.table
	ledgers := ""
	if t.Ledger != "" {
		ledgers = ledger(t)
	}
	f.say(uncompiled)
	f.p.SendQueryParams(catalogSQL, [][]byte{[]byte(table(t)), []byte(ledgers)}, nil, nil, binary)
	f.ask(func(a *answer) {
		f.in.store.learn(a)
		f.in.catalog, f.in.current = f.in.store.fresh().catalog, true
	})
}

// ask ends a group whose answer goes to learn, and to nobody else. That it
// fails is harmless.
func (f *flight) ask(learn func(*answer)) {
	if f.asks == nil {
		f.asks = map[int]func(*answer){}
	}
	f.asks[f.groups] = learn
	f.end()
}

// endRequired ends a group that looks keys up. If it fails, so does the flight.
func (f *flight) endRequired() {
	if f.required == nil {
		f.required = map[int]bool{}
	}
	f.required[f.groups] = true
	f.end()
}

// binary is the format of all parameters and results.
var binary = []int16{1}

// flushSize bounds what is kept in memory of a flight before it is sent.
const flushSize = 64 << 10

// size counts the bytes of parameters.
func (f *flight) size(params [][]byte) [][]byte {
	for _, p := range params {
		f.sized += len(p)
	}
	return params
}

// end closes a group. What has come together by now is sent.
func (f *flight) end() {
	f.p.SendPipelineSync()
	f.groups++
	if f.sized >= flushSize {
		f.sized = 0
		_ = f.p.Flush() // an error stays, and land finds it
	}
}

// land sends what is left and reads the answers, one for each group that was
// not a question of its own.
func (f *flight) land() ([]answer, error) {
	defer f.cancel()
	answers, err := f.read()
	if closeErr := f.p.Close(); err == nil && closeErr != nil && asServer(closeErr) == nil {
		err = closeErr
	}
	return answers, err
}

func (f *flight) read() ([]answer, error) {
	if err := f.p.Flush(); err != nil {
		return nil, err
	}
	answers := make([]answer, 0, f.groups)
	var a answer
	var failed *pgconn.PgError
	for group := 0; group < f.groups; {
		results, err := f.p.GetResults()
		if err == nil {
			switch r := results.(type) {
			case *pgconn.PipelineSync:
				if learn := f.asks[group]; learn != nil {
					learn(&a)
				} else {
					if a.refused != nil && f.required[group] { // what follows fails for it
						failed, f.fatal = a.refused, nil
					}
					if f.fatal != nil && a.refused != nil {
						if err := f.fatal(&a); err != nil {
							f.cancel() // the server is told to stop: what is left would take locks for nothing
							return nil, err
						}
					}
					answers = append(answers, a)
				}
				a = answer{}
				group++
			case *pgconn.StatementDescription:
				f.in.conn.prepared = f.prepares
			case *pgconn.ResultReader:
				err = a.take(r)
			case nil:
				return nil, errors.New("the server answered too little")
			}
		}
		if err != nil {
			server := asServer(err)
			if server == nil || fatal(server) { // nothing follows it
				return nil, err
			}
			if a.refused == nil {
				a.refused = bare(server)
			}
		}
	}
	if failed != nil {
		return nil, f.in.fault(f.in.store.lookingUp, failed)
	}
	return answers, nil
}

// bare is an error of the server without the texts that quote values, of which
// there can be thousands: they are no evidence, and stay nowhere.
func bare(err *pgconn.PgError) *pgconn.PgError {
	text := ""
	if ofPooler(err) {
		text = err.Message
	}
	return &pgconn.PgError{
		Message: text, Code: err.Code, SchemaName: err.SchemaName, TableName: err.TableName, ColumnName: err.ColumnName,
		ConstraintName: err.ConstraintName, DataTypeName: err.DataTypeName, Where: withoutParameters(err.Where), Routine: err.Routine, Position: err.Position,
	}
}

// withoutParameters is a context without the entry that quotes the statement's
// parameters (log_parameter_max_length_on_error). It is the outermost, hence
// the last. Its words follow lc_messages, and values can have newlines.
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

// areParameters reports whether a text is $1 = '…', $2 = NULL, … and so on to
// its end, where French has a bracket. A statement within a context is
// followed by a quote or by the next entry.
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

// afterQuoted is what follows a text in single quotes, in which quotes are
// doubled.
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

// take reads the rows and the tag of one statement. The tag comes beside an
// error when a deferred constraint fails, so the error decides.
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

// inserted is how many rows the inserts of a group stored: their tags say so,
// or with a ledger the one value that each returns.
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

// landed lands a flight and counts it. An error says what it was doing.
func (in *insertion) landed(ctx context.Context, doing string, f *flight) ([]answer, error) {
	in.result.RoundTrips++
	answers, err := f.land()
	if err != nil {
		if fault.Of(err) != nil {
			return nil, err
		}
		return nil, in.store.fault(ctx, doing, err)
	}
	if err := contextErr(ctx); err != nil {
		// The wait for a standby may have been cut short by our own request to cancel.
		return nil, in.store.fault(ctx, doing, err)
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
