// Package consume takes messages from a queue and runs them through the
// pipeline, as an event source mapping does for the Lambda function.
//
//	receive.go  up to N receives at once, as many as the queue has work for
//	gather.go   what many receives brought becomes one batch
//	work.go     a batch: one transaction, then each message is settled
//	hand.go     what is in hand stays invisible to others until it is settled
//	ending.go   when a run is over, and that an end leaves nothing in flight
//	trouble.go  what is out of reach is tried again, later and later
//	summary.go  what a run did
//
// One goroutine (loop.go) owns what a run knows and decides; receives, batches
// and the calls that give messages back run beside it and report to it.
//
//	           ┌──────────────────── loop ─────────────────────┐
//	receives ──┴─► gathered ──► batch ──► pipeline ──► settle ─┴─► deleted
//	                  │                                  │ │
//	                  └── given back ◄── outage, end ────┘ └─► dead-letter queue
//
// What always holds:
//
//   - A message is deleted only when its row is committed, or when the
//     dead-letter queue has confirmed that it has it.
//   - On a FIFO queue a group is in one batch at a time, and nothing of it is
//     stored while an earlier message of it is neither stored nor dead-lettered.
//   - An outage of the database costs a receive of some messages at growing
//     intervals, and not of the whole queue: what SQS gave out too often it
//     moves to the dead-letter queue.
//   - When the context ends, nothing that was received and not settled stays
//     in flight for longer than the grace period, but for messages that are
//     rejected and have nowhere to go: those wait as long as the queue says.
//
// It refuses to know SQL and AWS; what assembles the command, and tests,
// import it. Its metrics are in a package of their own, so that nothing but
// the command links Prometheus.
package consume
