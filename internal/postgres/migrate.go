package postgres

import (
	"context"
	"regexp"

	"github.com/jackc/pgx/v5/pgconn"
)

// Migrated says what became of one table.
type Migrated struct {
	Name    string // as in SQL, with its quotes
	Created bool
}

var createdName = regexp.MustCompile(`^CREATE TABLE IF NOT EXISTS (\S+)`)

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
			return nil, s.fault("create the tables", err)
		}
		if name := createdName.FindStringSubmatch(sql); name != nil {
			tables = append(tables, Migrated{name[1], !exists})
		}
	}
	return tables, nil
}
