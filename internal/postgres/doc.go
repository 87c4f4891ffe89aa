// Package postgres stores a batch in a Postgres table, exactly once for each
// key, in one transaction (several only in halves.go).
//
//	Insert -> attempt.go  attempts, each on one connection, until it is done or
//	                      the time for them is over
//	       -> halves.go   a batch that is too slow for its deadline
//	       -> insert.go   the whole batch as one statement: one round trip
//	       -> isolate.go  a row was refused: which ones, and all others
//	                      committed, in one round trip more for up to 64 rows
//	                      and two for larger batches
//	       -> ordered.go  the same where nothing may be stored that follows a
//	                      refused row of its message group
//	       -> verdict.go  what becomes of refused and of discarded rows
//	       -> judge.go    whose fault an error is, by its code and
//	       -> catalog.go  what the server's catalog says of the table
//	       -> keys.go     how keys compare, and rows that refer to each other
//	       -> sql.go      the statements
//	       -> fault.go    errors: what happened, and what to do
//	       -> names.go    which names in an error may be shown
//	       -> conn.go     connections, made lazily, dropped after any doubt
//	       -> url.go      what DATABASE_URL says, and target.go which TLS that is
//	       -> network.go  why there is no connection, and
//	       -> session.go  why the server gives no session
//	       -> cancel.go   what is under way when the time is over
//
// A flight is one round trip: what is written without waiting for an answer in
// between.
//
// What always holds: a row's verdict is Stored only on proof, which is the
// count that the server reports for the statement that committed, or the key
// found in the table afterwards; and no commit counts that the server's
// synchronous standby did not confirm. A row is Rejected only if the evidence
// blames its message. An error leaves every row Returned, or it is about some
// rows and the others are committed. No error or verdict carries text of the
// server but names of its objects, because messages and details quote values.
//
// It imports batch, message and the leaves that say who logs in and which
// certificates are trusted; what assembles a main, and tests, import it.
package postgres
