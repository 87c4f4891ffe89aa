// Package consume receives messages from a queue and runs them through the pipeline, as an event
// source mapping does for the Lambda function.
//
//	loop.go       the one goroutine that owns what a run knows, and decides
//	receive.go    up to N receives at once, as many as the queue has work for
//	gather.go     messages of many receives become one batch
//	work.go       a batch: one transaction
//	settle.go     each message of it is deleted, dead-lettered, returned or left to the queue
//	heartbeat.go  messages in hand stay invisible to others until they are settled
//	return.go     messages go back to the queue, at once or with a back-off
//	memory.go     what a run remembers of messages that come again
//	outage.go     what is out of reach is tried again, after pauses that grow
//	database.go   how far the database can be trusted
//	ending.go     when a run is over, and what still happens then
//	summary.go    what a run did
//
// Receives, batches and the calls that return messages run beside the loop and report to it.
//
//	           ┌──────────────────── loop ─────────────────────┐
//	receives ──┴─► gathered ──► batch ──► pipeline ──► settle ─┴─► deleted
//	                  │                                  │ │
//	                  └──── returned ◄── outage, end ────┘ └─► dead-letter queue
//
// Invariants:
//
//   - A message is deleted only when its row is confirmed, or when the dead-letter queue has
//     confirmed that it has the message.
//   - On a FIFO queue a group is in one batch at a time, and nothing of it is stored while an
//     earlier message of it is neither stored nor dead-lettered.
//   - An outage of the database costs a few messages one receive each, at growing intervals, and
//     not the whole queue: SQS moves messages that it delivered too often to the dead-letter queue.
//   - When the context ends, nothing that was received and not settled stays in flight for longer
//     than the grace period. Also what the run had returned with a back-off, or left to the queue,
//     is visible then, as it is after an error: except of a run forever, which a supervisor starts
//     again and again.
//
// It knows no SQL, and SQS by internal/sqs only; the command line assembles it. Its metrics are a
// package of their own, so that only the command line links Prometheus.
package consume
