// Package deadletters looks into a dead-letter queue and takes messages back to
// the queue that they came from.
//
//	Peek     read all, return everything
//	Redrive  read, choose; by ten: send, confirm, then delete; return the rest
//
// SQS has no way to look without receiving: a received message is invisible to
// others for a while, and its receive count grows. So a reader (reader.go)
// receives each message once, keeps it invisible while it works, and returns it
// with a visibility timeout of 0 at its end, also after an error or when its
// context is cancelled. Only if the process is killed do messages wait for the
// queue's own visibility timeout.
//
// A message is deleted only after SQS has confirmed that it is in the other
// queue. So none is ever lost. One can be in both queues: when the process is
// killed between the two steps (at most a batch of ten); when the answer to its
// sending is lost, which is not repeated then; or when it was sent and could not
// be deleted. The summary names those of the latter two kinds. To a FIFO queue a
// message is sent with the dead-letter queue's message id as deduplication id, so
// that SQS drops such a repetition for 5 minutes.
//
// No error and no summary holds a body, an attribute or a message group. The
// commands import the package.
package deadletters
