package check

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"example.com/owner/sluice/internal/postgres"
)

const statementTimeSQL = `SELECT setting FROM pg_settings WHERE name = 'statement_timeout'`

const (
	// leastStatement is a time that a statement should have: it may wait for a lock.
	leastStatement = time.Second
	// largestBatch is the largest BatchSize of Lambda.
	largestBatch = 10_000
)

// statementTime looks whether the server ends the role's statements, and says what that means for a
// large batch: it is several statements, and each has its own time.
func (d *database) statementTime(ctx context.Context) error {
	rows, err := d.query(ctx, statementTimeSQL)
	if err != nil || len(rows) == 0 {
		return err
	}
	millis, err := strconv.ParseInt(rows[0][0], 10, 64)
	if err != nil {
		return err
	}
	const rule = "statement_timeout"
	switch each := time.Duration(millis) * time.Millisecond; {
	case each == 0:
	case each < leastStatement:
		d.Add(Warning, "database", rule, fmt.Sprintf("ALTER ROLE %s SET statement_timeout = '30s', or remove it from %s", d.role, d.names.URL),
			"statement_timeout is %s: a batch that takes longer, as when it waits for a lock, is ended, and its messages come again", spell(each))
	default:
		const statements = largestBatch / postgres.StatementRows
		d.Add(OK, "database", rule, "", "the server ends a statement of sluice after %s; a batch of %d messages is %d statements, and has %s", spell(each), largestBatch, statements, spell(statements*each))
	}
	return nil
}
