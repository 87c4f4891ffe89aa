package postgres

import (
	"context"
	"math"

	"github.com/jackc/pgx/v5/pgconn"

	"sluice/internal/message"
)

// maxSingles is the largest batch that is probed row by row at once. More
// savepoints than 64 overflow the server's cache of subtransactions, which
// slows every other session down while it lasts.
const maxSingles = 64

// searching is what an isolation does, for its errors.
const searching = "find the refused rows"

// isolate finds the rows that the server refuses and commits all others, in
// one transaction. Each row, or chunk of rows, is a group of its own:
//
//	INSERT, RELEASE s, SAVEPOINT s, Sync; ROLLBACK TO s, Sync
//
// After a good group the savepoint has moved behind it, and the ROLLBACK TO
// undoes nothing. After a refused one the rest of the group was skipped, and
// the ROLLBACK TO recovers. Up to maxSingles rows cost one flight. Above, one
// flight finds the chunks of about √n rows that fail, and a second one tries
// their rows one by one in the same transaction.
func (in *insertion) isolate(ctx context.Context, refusal *pgconn.PgError) error {
	n := len(in.rows)
	f := in.flight(ctx)
	in.begin(f, refusal)
	if n <= maxSingles {
		return in.singles(ctx, f, sieve{doubtful: in.rows})
	}
	size := int(math.Ceil(math.Sqrt(float64(n))))
	var chunks [][]int
	for rows := in.rows; len(rows) > 0; {
		m := min(size, len(rows))
		chunks = append(chunks, rows[:m:m])
		rows = rows[m:]
	}
	for _, rows := range chunks {
		in.trial(f, rows)
	}
	answers, err := in.landed(ctx, searching, f)
	if err != nil {
		return err
	}
	answers, err = in.begun(answers)
	if err != nil {
		return err
	}
	var found sieve
	for i, rows := range chunks {
		a := answers[2*i]
		switch {
		case a.refused != nil:
			if err := in.fatal(a.refused); err != nil {
				return err
			}
			found.doubtful = append(found.doubtful, rows...)
		case in.inserted(a) < int64(len(rows)):
			found.short = append(found.short, rows...)
		default:
			found.passed = append(found.passed, rows...)
		}
		found.inserted += int(in.inserted(a))
		if err := in.recovered(answers[2*i+1]); err != nil {
			return err
		}
	}
	return in.singles(ctx, in.flight(ctx), found)
}

// sieve is what an isolation has found out. None of it is a verdict before
// the transaction is committed.
type sieve struct {
	passed   []int // rows that are new
	short    []int // rows of chunks that stored fewer, without an error
	doubtful []int // rows of chunks that failed
	inserted int
}

// begin opens the transaction. Constraints are checked at once, so that each
// group meets its own. If we are gone before its end, and the network does not
// say so, the server ends it: the rows would lock out those who deliver them
// again.
func (in *insertion) begin(f *flight, refusal *pgconn.PgError) {
	f.say("BEGIN ISOLATION LEVEL READ COMMITTED")
	f.say("SET LOCAL idle_in_transaction_session_timeout = '10s'")
	f.say("SET CONSTRAINTS ALL IMMEDIATE")
	if refusal.Code == "42501" {
		f.insert(nil) // no rows: fails for want of a grant, and never for a row
	}
	f.say("SAVEPOINT s")
	f.end()
}

// begun takes the answer to begin off the front.
func (in *insertion) begun(answers []answer) ([]answer, error) {
	if err := answers[0].refused; err != nil {
		return nil, in.failed(err)
	}
	return answers[1:], nil
}

// trial adds the two groups of a try.
func (in *insertion) trial(f *flight, rows []int) {
	f.insert(rows)
	f.say("RELEASE SAVEPOINT s")
	f.say("SAVEPOINT s")
	f.end()
	f.say("ROLLBACK TO SAVEPOINT s")
	f.end()
}

// fatal returns an error unless a row may be to blame for the refusal.
func (in *insertion) fatal(err *pgconn.PgError) error {
	if in.mayBeARows(err) {
		return nil
	}
	return in.failed(err)
}

func (in *insertion) recovered(a answer) error {
	if a.refused != nil {
		return in.fault(searching, a.refused)
	}
	return nil
}

// singles ends the search: it tries doubtful rows one by one, asks which of
// them and of the short ones are there, and commits. A row that was refused
// and is there all the same was stored by another delivery of its message.
func (in *insertion) singles(ctx context.Context, f *flight, found sieve) error {
	begins := f.groups // 1 when the transaction begins in this flight
	for i := range found.doubtful {
		in.trial(f, found.doubtful[i:i+1])
	}
	asked := append(append([]int{}, found.doubtful...), found.short...)
	f.present(asked)
	f.end()
	f.say("COMMIT")
	f.end()
	answers, err := in.landed(ctx, searching, f)
	if err != nil {
		return err
	}
	if begins == 1 {
		if answers, err = in.begun(answers); err != nil {
			return err
		}
	}
	refusals := make([]*pgconn.PgError, len(found.doubtful))
	for i := range found.doubtful {
		a := answers[2*i]
		if a.refused != nil {
			if err := in.fatal(a.refused); err != nil {
				return err
			}
			refusals[i] = a.refused
		}
		if in.inserted(a) > 0 {
			found.passed = append(found.passed, found.doubtful[i])
			found.inserted++
		}
		if err := in.recovered(answers[2*i+1]); err != nil {
			return err
		}
	}
	present, commit := answers[len(answers)-2], answers[len(answers)-1]
	switch {
	case present.refused != nil:
		return in.fault(in.store.lookingUp, present.refused)
	case commit.refused != nil:
		return in.fault("commit", commit.refused)
	case commit.tag != "COMMIT": // a failed transaction answers COMMIT with ROLLBACK
		return &DatabaseError{Cause: message.CauseMoment, text: "commit: the server rolled the transaction back"}
	}
	in.result.Inserted = found.inserted
	in.settle(asked, present)
	for _, row := range found.passed {
		in.result.Verdicts[row] = message.Verdict{Outcome: message.Stored}
	}
	return in.refuse(found.doubtful, refusals)
}

// refuse gives the verdict on the rows that the server refused.
func (in *insertion) refuse(rows []int, refusals []*pgconn.PgError) error {
	var ours error
	for i, row := range rows {
		v := &in.result.Verdicts[row]
		if err := refusals[i]; err != nil && v.Outcome != message.Stored {
			*v = in.verdict(err, in.result.Inserted > 0)
			if v.Outcome == message.Returned && v.Cause != message.CauseSwallowed {
				ours = in.failed(err)
			}
		}
	}
	return ours
}

// verdict says what a refused row has coming. A suspect error is the row's
// own only if other rows pass: new ones, since one that is there already may
// never come to what fails.
func (in *insertion) verdict(err *pgconn.PgError, othersPass bool) message.Verdict {
	if in.swallowed(err) {
		return message.Verdict{Cause: message.CauseSwallowed}
	}
	b := in.store.blame(err)
	if b == blameSuspect {
		b = blameRow
		if !othersPass {
			b = blameAll(err.Code)
		}
	}
	switch b {
	case blameRow:
		rejection := message.Rejection{Reason: message.ReasonRefused, SQLState: err.Code}
		if !raised(err) {
			rejection.Constraint, rejection.Column = err.ConstraintName, err.ColumnName
		}
		return message.Verdict{Outcome: message.Rejected, Rejection: rejection}
	case blameOperator:
		return message.Verdict{Cause: message.CauseOperator}
	default:
		return message.Verdict{Cause: message.CauseMoment}
	}
}

// swallowed says whether a statement of ours found that a trigger had
// swallowed a row.
func (in *insertion) swallowed(err *pgconn.PgError) bool {
	return err.Code == swallowedState && (in.store.table.Ledger != "" || in.batch.Ordered())
}

// mayBeARows says whether the server may have refused a single row.
func (in *insertion) mayBeARows(err *pgconn.PgError) bool {
	switch in.store.blame(err) {
	case blameRow, blameSuspect:
		return true
	case blameOperator: // no partition, or a NULL that a default or a trigger fills for other rows
		return err.Code == "23514" || err.Code == "23502"
	default:
		return false
	}
}
