package postgres

import (
	"context"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"sluice/internal/message"
)

// Migrated says what became of one table.
type Migrated struct {
	Name    string // as in SQL, with its quotes
	Created bool
}

// Migrate executes statements of the form CREATE TABLE IF NOT EXISTS, in one
// transaction, and says which of the tables were missing.
func (s *Store) Migrate(ctx context.Context, statements []string) ([]Migrated, error) {
	exists := false
	c, err := s.connect(ctx, func(_ *pgconn.PgConn, n *pgconn.Notice) { exists = exists || n.Code == "42P07" })
	if err != nil {
		return nil, err
	}
	defer closeConn(c)
	var tables []Migrated
	for _, sql := range append(append([]string{"BEGIN"}, statements...), "COMMIT") {
		exists = false
		if _, err := c.Exec(ctx, sql).ReadAll(); err != nil {
			if server := asServer(err); server != nil && server.Code == "42501" {
				return nil, &DatabaseError{
					Cause: message.CauseOperator, SQLState: server.Code, err: err,
					text: "create the tables: " + describe(server) + "; grant the role CREATE and USAGE on the schema, or let the owner of the tables migrate",
				}
			}
			return nil, s.fault("create the tables", err)
		}
		if rest, ok := strings.CutPrefix(sql, "CREATE TABLE IF NOT EXISTS "); ok {
			name, _, _ := strings.Cut(rest, " ")
			tables = append(tables, Migrated{name, !exists})
		}
	}
	return tables, nil
}
