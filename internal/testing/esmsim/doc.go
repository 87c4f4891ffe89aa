// Package esmsim simulates Amazon SQS and the Lambda event source mapping for tests: days of
// traffic, outages and redeliveries on a virtual clock, in seconds, with the real handler and a
// real database.
//
// It has the one simulated queue, with two fronts: the mapping in this package, and
// internal/testing/sqstest, which speaks HTTP and has the simulation follow the wall clock (Since).
//
// A drill reads as a story:
//
//	sim := esmsim.New(1)
//	dlq := sim.Queue(esmsim.QueueConfig{Name: "logins-dlq"})
//	queue := sim.Queue(esmsim.QueueConfig{Name: "logins", DeadLetter: dlq, MaxReceives: 100})
//	mapping := sim.Map(queue, handler, esmsim.MappingConfig{ReportBatchItemFailures: true})
//	stop := sim.Every(100*time.Millisecond, func() { queue.Send(esmsim.Message{Body: body()}) })
//	sim.At(1*time.Hour, database.Break)
//	sim.At(7*time.Hour, database.Fix)
//	sim.At(8*time.Hour, stop)
//	sim.Run(12 * time.Hour)
//	fmt.Println(mapping.Report())
//
// # The way of a message
//
//	Send ─> Delayed ─> Visible ──receive──> InFlight ──deleted by the mapping──> Deleted
//	                      ^  └─received MaxReceives times─> DeadLettered
//	                      └───visibility timeout──────┘     and from any state, by age: Expired
//
// # Invariants
//
//   - One goroutine, the one that calls Run, runs every callback and every handler, one after
//     another; the calls that a handler makes on a queue may come from goroutines of its own. No
//     callback or handler may call Run.
//   - Everything that a handler does happens at the virtual instant at which its invocation starts;
//     its answer takes effect when the invocation ends (MappingConfig.Duration plus Spend).
//     Invocations overlap in virtual time only.
//   - The same seed and the same calls give the same run: message ids, duplicates, lost answers.
//   - Every message is at all times in exactly one State, and its history stays readable after it
//     is gone.
//   - Where AWS documents a rule, the rule is held and its page named beside the code. Where AWS is
//     silent, the choice that is worse for the code under test is taken, and the comment says so.
//
// # What it refuses to simulate
//
// Scaling and back-off of the pollers: MappingConfig.Concurrency pollers are there from the start
// and never slow down, as Lambda promises for ReportBatchItemFailures; for a mapping without it
// this is harsher than AWS. One batch gathers at a time, so a batching window packs as well as it
// can. Nor are there filters, provisioned pollers, encryption, permissions, request quotas, fair
// queues (a group on a standard queue is passed on, nothing more), the limit of 120,000 messages
// that a FIFO queue searches for groups, deduplication by group, md5OfMessageAttributes, or time
// that passes within SQS. Handlers that race each other for a row are a test of the database, not
// of this package.
//
// Tests only may import it; it imports the standard library only.
package esmsim
