// Package sqlite stores a batch in tables of an SQLite database, exactly once for each key, in one
// transaction. It does what package postgres does for Postgres, for a laptop or a demo.
//
//	Insert -> insert.go   one transaction, with a savepoint for each message, so that a refused row
//	                      undoes only its message
//	       -> messages.go the rows of a message
//	       -> replace.go  rows that replace older ones
//	       -> blame.go    what a refused row proves, from the schema
//	       -> sql.go      what a CHECK or an index reads, from its SQL
//	       -> fault.go    the errors, and what to do
//	DDL    -> schema.go   the model's tables in SQLite's types
//	       -> values.go   the form of a value
//
// SQLite runs inside the process, so a message's verdict costs no round trip, and messages are tried
// one by one in the order of the batch. The promises are those of postgres: a verdict is Stored only on
// proof, an error leaves every row Returned, and no error or verdict holds a value of a row.
// SQLite's messages about rows are never shown, because triggers write them.
//
// The command line and tests import it. The function must not link SQLite.
package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"modernc.org/sqlite"

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/fault"
	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/wait"
)

// Store writes the batches of some tables. It is safe for concurrent use: the batches take turns,
// because SQLite has one writer at a time.
type Store struct {
	tables []*batch.Table
	names  fault.Names
	file   string
	db     *sql.DB
}

// settings are those of each connection. A transaction takes the write lock when it begins, because
// waiting is harmless then. FULL: what is reported as stored is on disk. _dqs=0: a missing column
// is an error, not a string.
const settings = "?_txlock=immediate&_busy_timeout=5000&_journal_mode=WAL&_synchronous=FULL&_foreign_keys=1&_dqs=0&_error_rc=1"

// Open checks the URL and makes the store of some tables, at least one: those of a batch, in the same
// order. It does not open the file, which only Migrate creates. A schema in a table's name is
// left out: SQLite has none. Each store of sqlite::memory: has its own database.
// The names are what errors call the setting of the URL and the commands.
func Open(databaseURL string, tables []*batch.Table, names fault.Names) (*Store, error) {
	errForm := errors.New(names.URL + " is not a valid SQLite URL; expected sqlite:file.db, sqlite:///folder/file.db or sqlite::memory: (characters such as % ? # in the name are written as %25 %3F %23)")
	path, ok := strings.CutPrefix(databaseURL, "sqlite:")
	if rest, authority := strings.CutPrefix(path, "//"); authority {
		path, ok = rest, ok && strings.HasPrefix(rest, "/")
	}
	file, err := url.PathUnescape(path)
	if !ok || err != nil || file == "" || strings.ContainsAny(path, "?#") {
		return nil, errForm // not err itself: it quotes the URL, which may be another database's
	}
	connector, err := sqlite.NewConnector("file:" + (&url.URL{Path: file}).EscapedPath() + settings)
	if err != nil {
		return nil, errForm
	}
	db := sql.OpenDB(connector)
	db.SetMaxOpenConns(1) // for a database in memory, the connection is the database
	return &Store{tables: tables, names: names, file: file, db: db}, nil
}

// Close closes the database. One in memory is lost then.
func (s *Store) Close() { _ = s.db.Close() } // everything is committed

// Ping inserts no rows, by the same statements as Insert.
func (s *Store) Ping(ctx context.Context) error {
	_, err := s.attempt(ctx, batch.New(s.tables...))
	return err
}

// exists returns an error if the database's file is missing. SQLite would create it, and a slip in
// the URL would leave an empty file.
func (s *Store) exists() error {
	missing := func(path string) bool {
		_, err := os.Stat(path)
		return errors.Is(err, fs.ErrNotExist)
	}
	if s.file == ":memory:" || !missing(s.file) || missing(filepath.Dir(s.file)) { // of a folder SQLite says what is wrong
		return nil
	}
	return &fault.Error{
		Source: fault.Database, Cause: message.CauseConfiguration,
		What: "there is no file " + s.file, Remedy: fmt.Sprintf("check %s, or create the file and its table: %#q", s.names.URL, s.names.Migrate),
	}
}

// A batch is tried maxAttempts times, and no try begins later than retryBudget
// after the first.
const (
	maxAttempts = 4
	retryBudget = 5 * time.Second
	firstPause  = 75 * time.Millisecond
)

// Insert stores the rows of a batch in one transaction, and returns what became
// of each. Beside an error, only the rows that the result calls Stored or
// Rejected are.
//
// A duplicate counts as stored. Transient errors are tried again for a few
// seconds, as far as the context's deadline allows.
func (s *Store) Insert(ctx context.Context, b *batch.Batch) (message.Result, error) {
	if b.Len() == 0 {
		return message.Result{}, nil
	}
	start, pause := time.Now(), firstPause
	for attempt := 1; ; attempt++ {
		result, err := s.attempt(ctx, b)
		if e := fault.Of(err); e == nil || e.Cause != message.CauseTransient || attempt == maxAttempts {
			return result, err
		}
		d := wait.Jitter(pause)
		pause *= 3
		if time.Since(start)+d > retryBudget || wait.For(ctx, d) != nil {
			return result, err
		}
	}
}

// Rows returns the rows of a query, each value as text and NULL as "NULL". Only
// its own store can see a database in memory.
func (s *Store) Rows(ctx context.Context, query string) (all [][]string, err error) {
	rows, err := s.db.QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	for rows.Next() {
		values, row := make([]any, len(columns)), make([]string, len(columns))
		texts := make([]sql.NullString, len(columns))
		for i := range texts {
			values[i] = &texts[i]
		}
		if err := rows.Scan(values...); err != nil {
			return nil, err
		}
		for i, t := range texts {
			if row[i] = t.String; !t.Valid {
				row[i] = "NULL"
			}
		}
		all = append(all, row)
	}
	return all, rows.Err()
}
