package postgres

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5/pgconn"

	"sluice/internal/batch"
)

// flight sends statements without waiting and then reads all the answers. Its
// statements come in groups: when one fails, the server skips the rest of
// its group.
type flight struct {
	in       *insertion
	p        *pgconn.Pipeline
	groups   int
	prepares bool // the insert, which the connection has once that is answered
}

// answer is what the server said of one group.
type answer struct {
	rows    int64           // of the last insert
	values  []int64         // of the rows that statements returned, first column
	refused *pgconn.PgError // the group's error
	tag     string          // of the last statement
}

func (in *insertion) flight(ctx context.Context) *flight {
	return &flight{in: in, p: in.conn.StartPipeline(ctx)}
}

// say adds a statement without parameters.
func (f *flight) say(sql string) { f.p.SendQueryParams(sql, nil, nil, nil, nil) }

// insert adds the insert of the given rows. Where rows have message groups it
// fails if one is swallowed: those that follow it must not be committed then.
func (f *flight) insert(rows []int) {
	f.insertRows(rows)
	if f.in.batch.Ordered() && f.in.store.table.Ledger == "" { // the ledger's statement fails by itself
		f.p.SendQueryParams(f.in.store.kept, f.in.conn.arrays.EncodeKeys(f.in.batch, rows), nil, binary, binary)
	}
}

func (f *flight) insertRows(rows []int) {
	in := f.in
	params := in.conn.arrays.Encode(in.batch, rows)
	if !in.conn.named {
		f.p.SendQueryParams(in.store.insert, params, nil, binary, binary)
		return
	}
	if !in.conn.prepared && !f.prepares {
		f.p.SendPrepare(statementName, in.store.insert, nil)
		f.prepares = true
	}
	f.p.SendQueryPrepared(statementName, params, binary, binary)
}

// present adds the question which of the given rows' keys are there.
func (f *flight) present(rows []int) {
	f.p.SendQueryParams(f.in.store.present, f.in.conn.arrays.EncodeKeys(f.in.batch, rows), nil, binary, binary)
}

// binary is the format of all parameters and results.
var binary = []int16{1}

// end closes a group.
func (f *flight) end() {
	f.p.SendPipelineSync()
	f.groups++
}

// land sends what is left and reads the answers, one for each group.
func (f *flight) land() ([]answer, error) {
	answers := make([]answer, f.groups)
	err := f.read(answers)
	if closeErr := f.p.Close(); err == nil && closeErr != nil && asServer(closeErr) == nil {
		err = closeErr
	}
	return answers, err
}

func (f *flight) read(answers []answer) error {
	if err := f.p.Flush(); err != nil {
		return err
	}
	for at := 0; at < len(answers); {
		a := &answers[at]
		results, err := f.p.GetResults()
		if err == nil {
			switch r := results.(type) {
			case *pgconn.PipelineSync:
				at++
			case *pgconn.StatementDescription:
				f.in.conn.prepared = true
			case *pgconn.ResultReader:
				err = a.take(r)
			case nil:
				return errors.New("the server answered too little")
			}
		}
		if err != nil {
			server := asServer(err)
			if server == nil {
				return err
			}
			if a.refused == nil {
				a.refused = server
			}
		}
	}
	return nil
}

// take reads the rows and the tag of one statement. The tag comes beside an
// error when a deferred constraint fails, so the error decides.
func (a *answer) take(r *pgconn.ResultReader) error {
	values := a.values
	for r.NextRow() {
		if row := r.Values(); len(row) > 0 {
			values = append(values, batch.Int(row[0]))
		}
	}
	tag, err := r.Close()
	if err != nil {
		return err
	}
	a.values, a.tag = values, tag.String()
	if tag.Insert() {
		a.rows = tag.RowsAffected()
	}
	return nil
}

// inserted is how many rows an insert stored: its tag says so, or with a
// ledger the one value that it returns.
func (in *insertion) inserted(a answer) int64 {
	switch {
	case a.refused != nil:
		return 0
	case in.store.table.Ledger == "":
		return a.rows
	case len(a.values) == 1:
		return a.values[0]
	default:
		return 0
	}
}

// landed lands a flight and counts it. An error says what it was doing.
func (in *insertion) landed(ctx context.Context, doing string, f *flight) ([]answer, error) {
	in.result.RoundTrips++
	answers, err := f.land()
	if err != nil {
		return nil, in.store.fault(ctx, doing, err)
	}
	return answers, nil
}
