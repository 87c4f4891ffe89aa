// Package sqs makes the calls of SQS: it sends rejected messages to a dead-letter queue, delays
// returned ones, and receives, deletes and sends for the command line.
//
//	client.go      a Client: which endpoint and region a queue's URL means
//	queue.go       a Queue: receive, delete, return, send
//	rejects.go     a DeadLetter: rejected messages, each with a Note of why
//	backoff.go     a Backoff: how long a returned message stays hidden
//	batches.go     what the batch calls share, and what they promise
//	attributes.go  a sender's attributes: Lambda's JSON and the SDK's types
//	fault.go       what an error means, and what to do about it
//
// What always holds: an entry of a batch call is done only if SQS lists it as successful. In any
// other case (a refused entry, an answer without it, an error, a panic, a passed deadline) it is
// not done, and its index is returned. One invalid entry costs only itself. No attempt takes longer
// than the client's timeout, so a network that drops packets cannot use up an invocation. No error
// holds a body, an attribute's value or a receipt handle: of what SQS says, errors show only codes,
// and the text of a refused permission, which names a role, an action and a queue.
//
// It does not decide which messages are rejected or returned, nor what happens to those that could
// not be sent: its callers do. Only the mains, the packages that assemble them, and tests import
// it.
package sqs
