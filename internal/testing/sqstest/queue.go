package sqstest

import (
	"context"
	"crypto/md5" //nolint:gosec // SQS's checksum
	"encoding/hex"
	"encoding/json"
	"errors"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"example.com/owner/sluice/internal/testing/esmsim"
)

// maxEntries is how many messages one receive can ask for.
const maxEntries = 10

// Queue is one queue.
type Queue struct {
	Name, URL, ARN string

	server     *Server
	core       *esmsim.Queue
	attributes map[string]string
}

// Attribute is a message attribute.
type Attribute = esmsim.Attribute

// Message is a message in a queue.
type Message struct {
	ID, Body, Group, DeduplicationID string
	Attributes                       map[string]Attribute
	Sent                             time.Time
	Receives                         int
	// VisibleAt is when it can be received. One that was never received is
	// delayed until then.
	VisibleAt time.Time
	SourceARN string
}

// Queue makes a queue; a name that ends in .fifo makes a FIFO queue. The
// attributes are SQS's, such as VisibilityTimeout and RedrivePolicy.
func (s *Server) Queue(name string, attributes map[string]string) *Queue {
	s.lock()
	defer s.mu.Unlock()
	q := &Queue{
		Name: name, URL: s.URL + "/" + esmsim.Account + "/" + name, server: s,
		attributes: map[string]string{
			"VisibilityTimeout": "30", "MessageRetentionPeriod": "345600", "MaximumMessageSize": "1048576", "DelaySeconds": "0", "ReceiveMessageWaitTimeSeconds": "0",
		},
	}
	maps.Copy(q.attributes, attributes)
	q.core = s.sim.Queue(q.config())
	q.ARN = q.core.ARN()
	q.attributes["QueueArn"] = q.ARN
	if strings.HasSuffix(name, ".fifo") {
		q.attributes["FifoQueue"] = "true"
	}
	s.queues[name] = q
	return q
}

// config reads the attributes. A redrive policy counts if the simulation takes
// it: a test may have one that only has to be read.
func (q *Queue) config() esmsim.QueueConfig {
	number := func(name string) int {
		n, _ := strconv.Atoi(q.attributes[name])
		return n
	}
	seconds := func(name string) time.Duration { return time.Duration(number(name)) * time.Second }
	c := esmsim.QueueConfig{
		Name: q.Name, Delay: seconds("DelaySeconds"), Retention: seconds("MessageRetentionPeriod"), MaxBytes: number("MaximumMessageSize"),
		Visibility: max(seconds("VisibilityTimeout"), time.Nanosecond), DeduplicateByContent: q.attributes["ContentBasedDeduplication"] == "true",
	}
	var policy struct {
		DeadLetterTargetArn string
		MaxReceiveCount     json.Number
	}
	if json.Unmarshal([]byte(q.attributes["RedrivePolicy"]), &policy) != nil {
		return c
	}
	dead := q.server.queues[policy.DeadLetterTargetArn[strings.LastIndexByte(policy.DeadLetterTargetArn, ':')+1:]]
	limit, err := strconv.Atoi(policy.MaxReceiveCount.String())
	if dead == nil || err != nil {
		return c
	}
	with := c
	if with.DeadLetter, with.MaxReceives = dead.core, limit; with.Check() != nil {
		return c
	}
	return with
}

// Messages are the queue's messages, visible or not, in the order they came.
func (q *Queue) Messages() []Message {
	q.server.lock()
	defer q.server.mu.Unlock()
	var all []Message
	for _, r := range q.core.Messages() {
		all = append(all, Message{
			ID: r.MessageID, Body: r.Body, Group: r.GroupID, DeduplicationID: r.DeduplicationID, Attributes: r.Attributes,
			Sent: r.Sent, Receives: r.Receives, VisibleAt: r.VisibleAt, SourceARN: r.Source,
		})
	}
	return all
}

// Clear takes all messages away.
func (q *Queue) Clear() {
	q.server.lock()
	defer q.server.mu.Unlock()
	q.core.Purge()
}

// Put sends messages past the API.
func (q *Queue) Put(messages ...Message) {
	q.server.lock()
	defer q.server.mu.Unlock()
	for _, m := range messages {
		q.core.Put(esmsim.Record{
			Message:   esmsim.Message{Body: m.Body, GroupID: m.Group, DeduplicationID: m.DeduplicationID, Attributes: m.Attributes},
			MessageID: m.ID, Source: m.SourceARN, Sent: m.Sent, VisibleAt: m.VisibleAt, Receives: m.Receives,
		})
	}
}

type input struct {
	QueueUrl, QueueName   string //nolint:revive // SQS's names
	AttributeNames        []string
	MaxNumberOfMessages   int
	WaitTimeSeconds       int
	VisibilityTimeout     *int
	MessageAttributeNames []string

	MessageSystemAttributeNames []string

	Entries []entry
}

type entry struct {
	Id                     string //nolint:revive // SQS's name
	MessageBody            string
	MessageAttributes      map[string]Attribute
	MessageGroupId         string //nolint:revive // SQS's name
	MessageDeduplicationId string //nolint:revive // SQS's name
	ReceiptHandle          string
	VisibilityTimeout      int
}

func (s *Server) perform(ctx context.Context, operation string, in *input, faults map[int]EntryFault) (any, error) {
	if operation == "ReceiveMessage" {
		return s.poll(ctx, in)
	}
	s.lock()
	defer s.mu.Unlock()
	name := path.Base(in.QueueUrl)
	if operation == "GetQueueUrl" {
		name = in.QueueName
	}
	q, err := s.find(name)
	if err != nil {
		return nil, err
	}
	switch operation {
	case "GetQueueUrl":
		return map[string]string{"QueueUrl": q.URL}, nil
	case "GetQueueAttributes":
		return map[string]any{"Attributes": q.describe(in.AttributeNames)}, nil
	case "SendMessageBatch":
		return q.send(in.Entries, faults)
	case "DeleteMessageBatch":
		return batch(in.Entries, faults, func(_ int, e entry) (map[string]string, error) {
			return map[string]string{}, q.core.Delete(e.ReceiptHandle)
		})
	case "ChangeMessageVisibilityBatch":
		return batch(in.Entries, faults, func(_ int, e entry) (map[string]string, error) {
			return map[string]string{}, q.core.ChangeVisibility(e.ReceiptHandle, time.Duration(e.VisibilityTimeout)*time.Second)
		})
	default:
		return nil, &esmsim.Error{Code: "UnknownOperationException", Message: "sqstest does not have " + operation}
	}
}

func (s *Server) find(name string) (*Queue, error) {
	if q := s.queues[name]; q != nil {
		return q, nil
	}
	return nil, &esmsim.Error{Code: "QueueDoesNotExist", Message: "The specified queue does not exist."}
}

// batch does what the batch calls have in common.
func batch(entries []entry, faults map[int]EntryFault, do func(k int, e entry) (map[string]string, error)) (any, error) {
	ids := make([]string, len(entries))
	for k, e := range entries {
		ids[k] = e.Id
	}
	if err := esmsim.CheckIDs(ids); err != nil {
		return nil, err
	}
	successful, refused := []map[string]string{}, []map[string]any{}
	for k, e := range entries {
		var done map[string]string
		fault, faulty := faults[k]
		if !faulty {
			var err error
			done, err = do(k, e)
			if refusal, ok := errors.AsType[*esmsim.Error](err); ok {
				fault, faulty = EntryFault{refusal.Code, refusal.Message, true}, true
			}
		}
		if faulty {
			refused = append(refused, map[string]any{"Id": e.Id, "Code": fault.Code, "Message": fault.Message, "SenderFault": fault.SenderFault})
			continue
		}
		done["Id"] = e.Id
		successful = append(successful, done)
	}
	return map[string]any{"Successful": successful, "Failed": refused}, nil
}

func (q *Queue) send(entries []entry, faults map[int]EntryFault) (any, error) {
	messages := make([]esmsim.Message, len(entries))
	for k, e := range entries {
		messages[k] = esmsim.Message{Body: e.MessageBody, Attributes: e.MessageAttributes, GroupID: e.MessageGroupId, DeduplicationID: e.MessageDeduplicationId}
	}
	if err := q.core.CheckBatch(messages); err != nil {
		return nil, err
	}
	return batch(entries, faults, func(k int, e entry) (map[string]string, error) {
		id, err := q.core.SendMessage(messages[k])
		return map[string]string{"MessageId": id, "MD5OfMessageBody": md5sum(e.MessageBody)}, err
	})
}

// poll receives, and waits for a message if the call says so.
func (s *Server) poll(ctx context.Context, in *input) (any, error) {
	if in.MaxNumberOfMessages < 0 || in.MaxNumberOfMessages > maxEntries {
		return nil, invalid("Value %d for parameter MaxNumberOfMessages is invalid. Reason: Must be between 1 and 10, if provided.", in.MaxNumberOfMessages)
	}
	if in.WaitTimeSeconds < 0 || in.WaitTimeSeconds > 20 {
		return nil, invalid("Value %d for parameter WaitTimeSeconds is invalid. Reason: Must be >= 0 and <= 20, if provided.", in.WaitTimeSeconds)
	}
	end := time.Now().Add(time.Duration(in.WaitTimeSeconds) * time.Second)
	for {
		messages, err := s.receive(in)
		if err != nil {
			return nil, err
		}
		if len(messages) > 0 || !time.Now().Before(end) {
			return map[string]any{"Messages": messages}, nil
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			return map[string]any{}, nil
		case <-s.closed:
			return map[string]any{}, nil
		}
	}
}

func (s *Server) receive(in *input) (messages []map[string]any, err error) {
	s.lock()
	defer s.mu.Unlock()
	q, err := s.find(path.Base(in.QueueUrl))
	if err != nil {
		return nil, err
	}
	n := max(1, in.MaxNumberOfMessages)
	var records []esmsim.Record
	if in.VisibilityTimeout != nil {
		records = q.core.ReceiveFor(n, max(time.Duration(*in.VisibilityTimeout)*time.Second, time.Nanosecond))
	} else {
		records = q.core.Receive(n)
	}
	for i := range records {
		r := &records[i]
		out := map[string]any{"MessageId": r.MessageID, "ReceiptHandle": r.ReceiptHandle, "Body": r.Body, "MD5OfBody": md5sum(r.Body)}
		if len(r.Attributes) > 0 && slices.Contains(in.MessageAttributeNames, "All") {
			out["MessageAttributes"] = r.Attributes
		}
		if slices.Contains(in.MessageSystemAttributeNames, "All") || slices.Contains(in.AttributeNames, "All") {
			out["Attributes"] = system(r)
		}
		messages = append(messages, out)
	}
	return messages, nil
}

func system(r *esmsim.Record) map[string]string {
	out := map[string]string{
		"SenderId": "AIDATEST", "SentTimestamp": strconv.FormatInt(r.Sent.UnixMilli(), 10),
		"ApproximateReceiveCount": strconv.Itoa(r.Receives), "ApproximateFirstReceiveTimestamp": strconv.FormatInt(r.FirstReceived.UnixMilli(), 10),
		"MessageGroupId": r.GroupID, "MessageDeduplicationId": r.DeduplicationID, "SequenceNumber": r.Sequence, "DeadLetterQueueSourceArn": r.Source,
	}
	maps.DeleteFunc(out, func(_, value string) bool { return value == "" })
	return out
}

// describe gives the attributes of these names.
func (q *Queue) describe(names []string) map[string]string {
	all := maps.Clone(q.attributes)
	visible, inFlight, delayed := q.core.Counts()
	all["ApproximateNumberOfMessages"], all["ApproximateNumberOfMessagesNotVisible"] = strconv.Itoa(visible), strconv.Itoa(inFlight)
	all["ApproximateNumberOfMessagesDelayed"] = strconv.Itoa(delayed)
	if !slices.Contains(names, "All") {
		maps.DeleteFunc(all, func(name, _ string) bool { return !slices.Contains(names, name) })
	}
	return all
}

func md5sum(text string) string {
	sum := md5.Sum([]byte(text)) //nolint:gosec // SQS's checksum
	return hex.EncodeToString(sum[:])
}
