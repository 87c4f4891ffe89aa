// Package sqs is what sluice does with SQS: it sends rejected messages to
// a dead-letter queue, keeps returned ones back for a while, and has the
// calls that the command line consumes, peeks, sends and redrives with.
//
//	client.go      a Client: which endpoint and region a queue's URL means
//	queue.go       a Queue: receive, delete, give back, send
//	rejects.go     a DeadLetter: rejected messages, each with a Note of why
//	backoff.go     a Backoff: how long a returned message stays away
//	batches.go     what the batch calls share, and what they promise
//	attributes.go  a sender's attributes: Lambda's JSON and the SDK's types
//	fault.go       whose fault an error is, and what to do about it
//
// What always holds: an entry of a batch call counts as done only when SQS
// lists it as successful. Whatever else happens (a refused entry, an answer
// without it, an error, a panic, a passed deadline) leaves it undone, and its
// index is returned. One bad entry costs only itself. No attempt takes longer
// than the client's time-out, so a network that swallows packets cannot eat an
// invocation. No error holds a body, an attribute's value or a receipt handle:
// of what SQS says, only codes are shown, and the text of a refused permission,
// which names a role, an action and a queue.
//
// It does not decide: which messages are rejected or returned, and what then
// becomes of those that could not be sent, is its callers' business.
//
// It imports message and region; only the mains, what they wire, and tests import it.
package sqs
