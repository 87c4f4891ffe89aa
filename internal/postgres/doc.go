// Package postgres stores a batch in a Postgres table, exactly once for each
// key, in one transaction (several only in halves.go).
//
//	Insert -> attempt.go  attempts, each on one connection, until it is done or
//	                      the time for them is over
//	       -> halves.go   a batch that is too slow for its deadline
//	       -> insert.go   the whole batch as one statement: one flight
//	       -> isolate.go  a row was refused: which ones, and all others
//	                      committed, in one flight more for up to 64 rows and
//	                      two for larger batches
//	       -> ordered.go  the same where nothing may be stored that follows a
//	                      refused row of its message group
//	       -> fault.go    whose fault an error is, in one table
//	       -> network.go  what an error of the network says, and what to do
//	       -> conn.go     connections, made lazily, dropped after any doubt
//	       -> cancel.go   what is under way when the time is over
//
// A flight is one client round trip: what is written without waiting for an
// answer in between.
//
// What always holds: a row's verdict is Stored only on proof, which is the
// count that the server reports for the statement that committed, or the key
// found in the table afterwards. An error leaves every row Returned, unless
// all but those that wait for the operator (no partition takes them), or that
// are too slow alone, are committed: then those alone. No error or verdict carries text of the server
// but names of its objects, because messages and details quote values.
//
// It imports batch, message and the leaves that say who logs in and which
// certificates are trusted; what assembles a main, and tests, import it.
package postgres
