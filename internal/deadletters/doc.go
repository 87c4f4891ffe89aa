// Package deadletters looks into a dead-letter queue and takes messages back
// to the queue that they came from.
//
//	Peek     walk, give everything back
//	Redrive  walk, choose; by ten: send, confirm, then delete; give the rest back
//
// SQS has no way to look without receiving: a message that is received is
// invisible to others for a while and its receive count grows. So a walk
// (walk.go) receives each message once, keeps it invisible while it goes on,
// and gives it back with visibility 0 at its end, also after an error or when
// its context is cancelled. Only a process that is killed leaves that to the
// queue's own visibility time-out.
//
// A message is deleted only after SQS has confirmed that it is in the other
// queue. So none is ever lost. One can be there twice: when the process is
// killed between the two, which are a batch of ten apart at most; when the
// answer to its sending is lost, which is not repeated then; or when it was
// sent and could not be deleted (the summary names those of the latter two
// kinds). To a FIFO queue a message goes with the dead-letter queue's message
// id as deduplication id, which swallows such a repetition for 5 minutes.
//
// No error and no summary holds a body, an attribute or a message group. The
// commands import the package.
package deadletters
