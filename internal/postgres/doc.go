// Package postgres stores a batch in Postgres tables, exactly once for each key, in one transaction
// (several only in halves.go). A row of a batch is one message: what it says of rows holds for all
// rows of a message, if it has several.
//
//	Insert -> store.go      the store, its options, and Insert
//	       -> attempt.go    attempts, each on one connection, until it is done or the time is up
//	       -> halves.go     a batch that is too slow for its deadline
//	       -> insert.go     one attempt: insertion.run sends the whole batch in one round trip,
//	                        and decides which of the next two files goes on
//	       -> search.go     a row was refused: finds which ones, and commits all others, in one more
//	                        round trip for up to 64 rows and two for larger batches
//	       -> groups.go     the same for message groups: nothing is stored that follows a refused
//	                        row of its group
//	       -> roundtrip.go  statements and their answers, without waiting in between
//	       -> verdict.go    what becomes of refused and of discarded rows
//	       -> judge.go      whose fault an error is, by
//	       -> fault.go      its SQLSTATE, and
//	       -> catalog.go    what the server's catalog holds about the table
//	       -> keys.go       how keys compare
//	       -> destination.go  one of the tables, and what is done in it
//	       -> messages.go   messages of several rows, in one table and in its children
//	       -> replace.go    rows that replace older ones
//	       -> conflict.go   rows of two messages with one key
//	       -> links.go      rows that refer to each other
//	       -> sql.go        the statements
//	       -> failure.go    errors: what happened
//	       -> remedy.go     and what to do about it
//	       -> names.go      which names in an error may be shown
//	       -> conn.go       connections, made lazily, dropped after any doubt
//	       -> password.go   the forms of a password
//	       -> url.go        the connection URL, and target.go: which TLS it means
//	       -> roots.go      the certificates that TLS trusts
//	       -> network.go    why there is no connection or no session
//	       -> cancel.go     stops what is under way when the time is up
//	Ping   -> connect.go    looks at the database without storing anything
//	Migrate -> migrate.go   creates the tables
//
// These rules always hold. A row's verdict is Stored only if that is confirmed: by the count that
// the server reports for the statement that committed, or by the key found in the table afterwards;
// and no commit counts that the server's synchronous standby did not confirm. A row is Rejected
// only if the evidence blames its message. With an error, every row is Returned, or the error is
// about some rows and the others are committed. No error or verdict has text of the server except
// names of its objects, because messages and details quote values.
package postgres
