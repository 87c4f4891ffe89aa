package check

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"example.com/owner/sluice/internal/model"
	"example.com/owner/sluice/internal/sqs"
)

const (
	// minReceives is what AWS recommends for queues that Lambda reads: Lambda throttles, and that
	// costs a message a receive.
	minReceives = 5
	// minReceivesFIFO leaves receives for outages, beside the ten that invalid messages of its
	// group can cost a good one.
	minReceivesFIFO = 20
	// The outages of the database that messages must survive, and should: a failover, and a night.
	mustSurvive, shouldSurvive = time.Hour, 6 * time.Hour
	// visibilityFactor is AWS's rule for a queue that Lambda reads.
	visibilityFactor = 6
	// minVisibility is what a batch may take when the database is slow. `sluice consume` extends
	// the visibility timeout, and needs time for that too.
	minVisibility = 5 * time.Second
)

// Queues are the queue that is read and its dead-letter queues.
type Queues struct {
	Source *sqs.Queue
	// Policy is the dead-letter queue of the source's redrive policy, nil if there is no policy or
	// the queue could not be opened.
	Policy *sqs.Queue
	// Rejects is the queue of DEAD_LETTER_QUEUE_URL, nil likewise.
	Rejects *sqs.Queue
	// RejectsSet: DEAD_LETTER_QUEUE_URL is set.
	RejectsSet bool
	// Backoff is SLUICE_BACKOFF.
	Backoff bool
	// Models are those that read the queue; nil if they are not valid.
	Models *model.Set
}

// Check judges the settings of the queues.
func (q *Queues) Check() Findings {
	var f Findings
	s := &q.Source.Settings
	c := q.Source.Counts
	f.Add(OK, "queue", "queue", "", "%d messages visible, %d in flight, %d delayed; %s, visibility timeout %s, retention %s", c.Visible, c.InFlight, c.Delayed, kind(q.Source), spell(s.Visibility), retention(s))
	f.sequence(q)
	if s.Retention == 0 {
		f.Add(Skipped, "queue", "retention", "", "skipped the retention: unlike SQS, the server does not report it")
	}
	if s.Visibility < minVisibility {
		f.Add(Warning, "queue", "visibility", "raise the queue's visibility timeout, for example to 180 seconds",
			"the queue's visibility timeout is %s: a message is delivered again while it is processed, which costs a receive, and it can be rejected twice", spell(s.Visibility))
	}
	switch {
	case s.DeadLetterARN == "" && !q.RejectsSet:
		f.Add(Error, "queue", "no_dead_letter_queue", "set DEAD_LETTER_QUEUE_URL, and give the queue a redrive policy (template.yaml has both)",
			"there is no dead-letter queue: a rejected message is delivered until the retention ends, and is then lost")
	case s.DeadLetterARN == "":
		f.Add(Warning, "queue", "no_redrive_policy", "give the queue a redrive policy (template.yaml has one)",
			"the queue has no redrive policy: a message that makes the function itself fail is delivered until the retention ends, and is then lost")
	case s.MaxReceives < minReceives:
		f.Add(severityIf(s.MaxReceives < 2), "queue", "max_receive_count", fmt.Sprintf("raise maxReceiveCount to %d or more", minReceives),
			"maxReceiveCount is %d: throttling alone can move good messages to the dead-letter queue", s.MaxReceives)
	case q.Source.FIFO && s.MaxReceives < minReceivesFIFO:
		f.Add(Warning, "queue", "max_receive_count", fmt.Sprintf("raise maxReceiveCount to %d or more", minReceivesFIFO),
			"maxReceiveCount is %d, and on a FIFO queue each delivery settles one invalid message of a group: a good one after nine of them is received ten times", s.MaxReceives)
	default:
		f.Add(OK, "queue", "max_receive_count", "", "maxReceiveCount is %d", s.MaxReceives)
	}
	if waits := q.waits(); s.DeadLetterARN != "" && waits > s.MaxReceives {
		f.Add(Warning, "queue", "foreign_key_receives", fmt.Sprintf("raise maxReceiveCount to %d or more, or lower foreign_key_receives in the model", waits),
			"maxReceiveCount is %d, and the model waits for rows that others refer to until a message was received %d times: SQS moves it away before that, without a reason", s.MaxReceives, waits)
	}
	q.outage(&f)
	if q.Policy != nil {
		q.deadLetters(&f, q.Policy, "the redrive policy's queue")
	}
	if q.Rejects != nil && (q.Policy == nil || q.Policy.Settings.ARN != q.Rejects.Settings.ARN) {
		q.deadLetters(&f, q.Rejects, "the queue of DEAD_LETTER_QUEUE_URL")
	}
	return f
}

// waits returns how often a message is received before a row that refers to a missing one rejects it, 0
// if no model waits.
func (q *Queues) waits() (most int) {
	if q.Models != nil {
		for _, m := range q.Models.Models {
			most = max(most, m.ForeignKeyReceives)
		}
	}
	return most
}

// sequence looks for models that reject every message of a standard queue.
func (f *Findings) sequence(q *Queues) {
	if q.Source.FIFO || q.Models == nil {
		return
	}
	for _, m := range q.Models.Models {
		if column := m.NeedsSequence(); column != "" {
			f.Add(Error, "queue", "sequence_number", "read a FIFO queue, or name another column in newer_by of the model: one of a field, or of sent_at",
				"the queue is standard, so its messages have no sequence number, and the model %s needs one in its column %s to know which row is newer: it rejects each message that it takes", m.Name, column)
		}
	}
}

func severityIf(grave bool) Severity {
	if grave {
		return Error
	}
	return Warning
}

// longestRetention is SQS's maximum.
const longestRetention = 14 * 24 * time.Hour

// retention spells how long a queue keeps messages, if that is known.
func retention(s *sqs.Settings) string {
	if s.Retention == 0 {
		return "unknown"
	}
	return spell(s.Retention)
}

// Outage returns how long the database may be down before the queue gives up a message that was
// received as the outage began: until its expected last receive, or until its retention ends.
// limited is false if receives are not limited.
func (q *Queues) Outage(backoff bool) (survives time.Duration, limited bool) {
	s := &q.Source.Settings
	longest := cmp.Or(s.Retention, longestRetention)
	if s.DeadLetterARN == "" || s.MaxReceives <= 0 {
		return longest, false
	}
	mean := func() float64 { return 0.5 } // Delay is linear in it
	for n := 1; n < s.MaxReceives && survives < longest; n++ {
		if backoff {
			survives += sqs.Delay(n, mean)
		} else {
			survives += s.Visibility
		}
	}
	return min(survives, longest), true
}

func (q *Queues) outage(f *Findings) {
	survives, limited := q.Outage(q.Backoff)
	with, _ := q.Outage(true)
	remedy, how := "", fmt.Sprintf("with %d receives", q.Source.Settings.MaxReceives)
	if q.Backoff {
		how += " and back-off"
	}
	if !limited {
		how = "its retention, because receives are not limited"
	}
	severity := OK
	if survives < shouldSurvive {
		severity = severityIf(survives < mustSurvive)
		switch {
		case !q.Backoff && with >= shouldSurvive:
			remedy = "set SLUICE_BACKOFF=true for the function, with which it is " + spell(with)
		case !limited:
			remedy = "raise the queue's retention"
		default:
			remedy = "raise maxReceiveCount to 200"
			if !q.Backoff {
				remedy += " and set SLUICE_BACKOFF=true for the function"
			}
			if !q.RejectsSet {
				remedy += "; set DEAD_LETTER_QUEUE_URL too, so that rejected messages do not wait for it"
			}
		}
	}
	f.Add(severity, "queue", "outage", remedy, "messages survive a database outage of %s (%s)", spell(survives), how)
}

func (q *Queues) deadLetters(f *Findings, d *sqs.Queue, what string) {
	const about = "dead-letter queue"
	s, dead := &q.Source.Settings, &d.Settings
	before := len(*f)
	if dead.ARN == s.ARN {
		f.Add(Error, about, "same_queue", "name another queue", "%s is the queue itself: messages go round in circles", what)
		return
	}
	switch fresh := d.FIFO || q.Source.FIFO; { // the age counts from when it was moved
	case dead.Retention == 0 || s.Retention == 0 || dead.Retention > s.Retention || fresh && dead.Retention == s.Retention:
	case fresh:
		f.Add(Warning, about, "retention", "raise it to 14 days, SQS's maximum",
			"%s keeps messages for %s, and the queue for %s: there is less time to look at a rejected message than others have to be stored", what, spell(dead.Retention), spell(s.Retention))
	default:
		f.Add(severityIf(dead.Retention < s.Retention), about, "retention", "raise it to 14 days, SQS's maximum",
			"%s keeps messages for %s, and the queue for %s: on a standard queue the age counts from the first sending, so a message can expire before anyone sees it", what, spell(dead.Retention), spell(s.Retention))
	}
	if d.FIFO != q.Source.FIFO {
		f.Add(Warning, about, "kind", "make both standard or both FIFO", "%s is %s, and the queue is %s: the order of groups is lost, or invented", what, kind(d), kind(q.Source))
	}
	if dead.MaxBytes > 0 && dead.MaxBytes < s.MaxBytes {
		f.Add(Error, about, "size", "raise its MaximumMessageSize", "%s accepts messages of %d bytes, and the queue %d: larger ones cannot be moved", what, dead.MaxBytes, s.MaxBytes)
	}
	if dead.DeadLetterARN != "" {
		f.Add(Warning, about, "redrive_policy", "remove its redrive policy", "%s has a redrive policy itself: peeking into it moves messages on", what)
	}
	if n := d.Counts.All(); n > 0 {
		messages := "messages"
		if n == 1 {
			messages = "message"
		}
		f.Add(Warning, about, "messages", "`sluice peek` shows why, `sluice redrive` takes them back", "%s holds %d %s", what, n, messages)
	}
	if len(*f) == before {
		f.Add(OK, about, "settings", "", "%s is %s and empty, retention %s", what, kind(d), retention(dead))
	}
}

// Function is a Lambda function that reads the queue.
type Function struct {
	Name string
	// State is the event source mapping's, as in "Enabled".
	State string
	// ReportsFailures: the mapping has ReportBatchItemFailures.
	ReportsFailures bool
	// Filter: whether the mapping has filter criteria.
	Filter Filter
	// Window is MaximumBatchingWindowInSeconds.
	Window time.Duration
	// Timeout is the function's, 0 if it could not be read.
	Timeout time.Duration
}

// Filter is what is known of an event source mapping's filter criteria.
type Filter int

// The values of Filter.
const (
	NoFilter Filter = iota
	Filtered
	// FilterUnread: the criteria are encrypted, and were not shown.
	FilterUnread
)

// filter judges filter criteria: "If an Amazon SQS message doesn't satisfy your filter criteria,
// Lambda automatically removes the message from the queue" (Lambda Developer Guide), without any
// trace.
func (f *Findings) filter(fn *Function) {
	const rule = "filter_criteria"
	switch fn.Filter {
	case Filtered:
		f.Add(Error, "function", rule, "remove them: aws lambda update-event-source-mapping --uuid ID --filter-criteria '{}'; the model rejects what is not meant for the table",
			"%s: the event source mapping has filter criteria, and Lambda deletes messages that do not match them: they are neither stored nor rejected, and no log has them", fn.Name)
	case FilterUnread:
		f.Add(Skipped, "function", rule, "allow lambda:GetEventSourceMapping, and kms:Decrypt with the mapping's key",
			"%s: skipped the filter criteria, which would delete messages: the event source mapping has a KMS key, and they could not be read", fn.Name)
	case NoFilter:
	}
}

// Functions judges the functions that read a queue with that visibility timeout.
func Functions(all []Function, visibility time.Duration) Findings {
	var f Findings
	const about = "function"
	for _, fn := range all {
		before := len(f)
		if !fn.ReportsFailures {
			f.Add(Error, about, "report_batch_item_failures", "add FunctionResponseTypes: [ReportBatchItemFailures] to its event source mapping",
				"%s: the event source mapping ignores the function's answer, and deletes messages that were not stored", fn.Name)
		}
		f.filter(&fn)
		if !slices.Contains([]string{"Enabled", "Enabling", "Creating", "Updating"}, fn.State) {
			f.Add(Error, about, "disabled", "enable the event source mapping, or read the queue with `sluice consume`", "%s: the event source mapping is %q, so messages wait", fn.Name, fn.State)
		}
		least := visibilityFactor*fn.Timeout + fn.Window
		switch {
		case fn.Timeout == 0:
			f.Add(Skipped, about, "visibility", "allow lambda:GetFunctionConfiguration", "%s: skipped the visibility timeout: the function's timeout could not be read", fn.Name)
		case visibility < least:
			f.Add(severityIf(visibility < fn.Timeout+fn.Window), about, "visibility", "raise the queue's visibility timeout to "+spell(least),
				"%s: the queue's visibility timeout is %s, less than six times the function's timeout of %s plus its window of %s: messages are delivered again while they are processed, which costs receives", fn.Name, spell(visibility), spell(fn.Timeout), spell(fn.Window))
		}
		if len(f) == before {
			f.Add(OK, about, "mapping", "", "%s reads the queue without a filter, reports failures one by one, and has a timeout of %s", fn.Name, spell(fn.Timeout))
		}
	}
	if len(all) == 0 {
		f.Add(Skipped, about, "mapping", "", "no Lambda function of this account reads the queue")
	}
	return f
}

func kind(q *sqs.Queue) string {
	if q.FIFO {
		return "FIFO"
	}
	return "standard"
}

// spell returns a duration as people say it.
func spell(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%.4g days", d.Hours()/24)
	case d >= 2*time.Hour:
		return fmt.Sprintf("%.3g hours", d.Hours())
	case d >= 2*time.Minute:
		return fmt.Sprintf("%.3g minutes", d.Minutes())
	case d == time.Second:
		return "1 second"
	default:
		return fmt.Sprintf("%g seconds", d.Seconds())
	}
}
