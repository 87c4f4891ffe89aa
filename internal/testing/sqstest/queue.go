package sqstest

import (
	"context"
	"crypto/md5" //nolint:gosec // SQS's checksum
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The limits of SQS.
const (
	maxEntries    = 10
	maxBytes      = 1 << 20
	maxAttributes = 10
	deduplication = 5 * time.Minute
	maxVisibility = 12 * 60 * 60
)

// Queue is one queue.
type Queue struct {
	Name, URL, ARN string

	server     *Server
	attributes map[string]string
	messages   []*Message
	seen       map[string]time.Time // deduplication ids
}

// Attribute is a message attribute.
type Attribute struct {
	DataType    string
	StringValue *string `json:",omitempty"`
	BinaryValue []byte  `json:",omitempty"`
}

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

	firstReceived time.Time
	handle        string
	sequence      int
}

// Queue makes a queue; a name that ends in .fifo makes a FIFO queue. The
// attributes are SQS's, such as VisibilityTimeout and RedrivePolicy.
func (s *Server) Queue(name string, attributes map[string]string) *Queue {
	s.mu.Lock()
	defer s.mu.Unlock()
	q := &Queue{
		Name: name, URL: s.URL + "/" + Account + "/" + name, ARN: "arn:aws:sqs:" + Region + ":" + Account + ":" + name,
		server: s, seen: map[string]time.Time{},
		attributes: map[string]string{
			"VisibilityTimeout": "30", "MessageRetentionPeriod": "345600", "MaximumMessageSize": strconv.Itoa(maxBytes), "DelaySeconds": "0", "ReceiveMessageWaitTimeSeconds": "0",
		},
	}
	maps.Copy(q.attributes, attributes)
	q.attributes["QueueArn"] = q.ARN
	if q.fifo() {
		q.attributes["FifoQueue"] = "true"
	}
	s.queues[name] = q
	return q
}

// Messages are the queue's messages, visible or not, in the order they came.
func (q *Queue) Messages() []Message {
	q.server.mu.Lock()
	defer q.server.mu.Unlock()
	var all []Message
	for _, m := range q.messages {
		all = append(all, *m)
	}
	return all
}

// Clear takes all messages away.
func (q *Queue) Clear() {
	q.server.mu.Lock()
	defer q.server.mu.Unlock()
	q.messages = nil
}

// Put sends messages past the API.
func (q *Queue) Put(messages ...Message) {
	q.server.mu.Lock()
	defer q.server.mu.Unlock()
	for _, m := range messages {
		q.put(&m)
	}
}

func (q *Queue) fifo() bool { return strings.HasSuffix(q.Name, ".fifo") }

func (q *Queue) put(m *Message) {
	q.server.next++
	m.sequence = q.server.next
	if m.ID == "" {
		m.ID = fmt.Sprintf("%08x-0000-4000-8000-%012x", m.sequence, m.sequence)
	}
	if m.Sent.IsZero() {
		m.Sent = time.Now()
	}
	q.messages = append(q.messages, m)
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
	MessageGroupId         *string //nolint:revive // SQS's name
	MessageDeduplicationId *string //nolint:revive // SQS's name
	ReceiptHandle          string
	VisibilityTimeout      int
}

func (s *Server) perform(ctx context.Context, operation string, in *input, faults map[int]EntryFault) (any, *apiError) {
	if operation == "ReceiveMessage" {
		return s.poll(ctx, in)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	name := path.Base(in.QueueUrl)
	if operation == "GetQueueUrl" {
		name = in.QueueName
	}
	q, failure := s.find(name)
	if failure != nil {
		return nil, failure
	}
	switch operation {
	case "GetQueueUrl":
		return map[string]string{"QueueUrl": q.URL}, nil
	case "GetQueueAttributes":
		return map[string]any{"Attributes": q.describe(in.AttributeNames)}, nil
	case "SendMessageBatch":
		if failure := q.refuse(in.Entries); failure != nil {
			return nil, failure
		}
		return batch(in.Entries, faults, q.send)
	case "DeleteMessageBatch":
		return batch(in.Entries, faults, q.remove)
	case "ChangeMessageVisibilityBatch":
		return batch(in.Entries, faults, q.changeVisibility)
	default:
		return nil, &apiError{code: "UnknownOperationException", message: "sqstest does not have " + operation}
	}
}

func (s *Server) find(name string) (*Queue, *apiError) {
	if q := s.queues[name]; q != nil {
		return q, nil
	}
	return nil, &apiError{code: "QueueDoesNotExist", message: "The specified queue does not exist.", query: "AWS.SimpleQueueService.NonExistentQueue"}
}

// batch does what the batch calls have in common.
func batch(entries []entry, faults map[int]EntryFault, do func(entry) (map[string]string, *EntryFault)) (any, *apiError) {
	switch {
	case len(entries) == 0:
		return nil, &apiError{code: "EmptyBatchRequest", message: "no entries", query: "AWS.SimpleQueueService.EmptyBatchRequest"}
	case len(entries) > maxEntries:
		return nil, &apiError{code: "TooManyEntriesInBatchRequest", message: "more than 10 entries", query: "AWS.SimpleQueueService.TooManyEntriesInBatchRequest"}
	}
	names := map[string]bool{}
	for _, e := range entries {
		if names[e.Id] {
			return nil, &apiError{code: "BatchEntryIdsNotDistinct", message: "Id " + e.Id + " repeated.", query: "AWS.SimpleQueueService.BatchEntryIdsNotDistinct"}
		}
		names[e.Id] = true
	}
	successful, failed := []map[string]string{}, []map[string]any{}
	for k, e := range entries {
		var done map[string]string
		fault, refused := faults[k]
		if !refused {
			var failure *EntryFault
			if done, failure = do(e); failure != nil {
				fault, refused = *failure, true
			}
		}
		if refused {
			failed = append(failed, map[string]any{"Id": e.Id, "Code": fault.Code, "Message": fault.Message, "SenderFault": fault.SenderFault})
			continue
		}
		done["Id"] = e.Id
		successful = append(successful, done)
	}
	return map[string]any{"Successful": successful, "Failed": failed}, nil
}

func (e *entry) size() int {
	n := len(e.MessageBody)
	for name, a := range e.MessageAttributes {
		n += len(name) + len(a.DataType) + len(a.BinaryValue)
		if a.StringValue != nil {
			n += len(*a.StringValue)
		}
	}
	return n
}

// refuse finds what fails a SendMessageBatch as a whole.
func (q *Queue) refuse(entries []entry) *apiError {
	size := 0
	for _, e := range entries {
		size += e.size()
		switch {
		case e.MessageBody == "":
			return &apiError{code: "MissingParameter", message: "The request must contain the parameter MessageBody."}
		case q.fifo() && e.MessageGroupId == nil:
			return invalid("The request must contain the parameter MessageGroupId.")
		case q.fifo() && e.MessageDeduplicationId == nil && q.attributes["ContentBasedDeduplication"] != "true":
			return invalid("The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly")
		case !q.fifo() && e.MessageDeduplicationId != nil:
			return invalid("Value %s for parameter MessageDeduplicationId is invalid. Reason: The request include parameter that is not valid for this queue type.", *e.MessageDeduplicationId)
		}
	}
	if size > maxBytes {
		return &apiError{code: "BatchRequestTooLong", message: fmt.Sprintf("Batch requests cannot be longer than %d bytes. You have sent %d bytes.", maxBytes, size), query: "AWS.SimpleQueueService.BatchRequestTooLong"}
	}
	return nil
}

func (q *Queue) send(e entry) (map[string]string, *EntryFault) {
	own, _ := strconv.Atoi(q.attributes["MaximumMessageSize"])
	switch {
	case strings.ContainsFunc(e.MessageBody, forbidden):
		return nil, &EntryFault{"InvalidMessageContents", "Invalid characters found in: " + e.MessageBody, true} // quotes, as a server may
	case e.size() > own:
		return nil, &EntryFault{"InvalidParameterValue", fmt.Sprintf("Message must be shorter than %d bytes.", own), true}
	case len(e.MessageAttributes) > maxAttributes:
		return nil, &EntryFault{"InvalidParameterValue", "Number of message attributes exceeds the allowed maximum.", true}
	}
	for name, a := range e.MessageAttributes {
		kind, _, _ := strings.Cut(a.DataType, ".")
		ok := a.StringValue != nil && *a.StringValue != "" && len(a.BinaryValue) == 0 && (kind == "String" || kind == "Number")
		if !ok && (kind != "Binary" || len(a.BinaryValue) == 0 || a.StringValue != nil) {
			return nil, &EntryFault{"InvalidParameterValue", "The message attribute '" + name + "' is invalid.", true}
		}
	}
	m := &Message{Body: e.MessageBody, Attributes: e.MessageAttributes}
	if e.MessageGroupId != nil {
		m.Group = *e.MessageGroupId
	}
	if q.fifo() {
		m.DeduplicationID = md5sum(e.MessageBody) // SQS takes SHA-256
		if e.MessageDeduplicationId != nil {
			m.DeduplicationID = *e.MessageDeduplicationId
		}
		if at, ok := q.seen[m.DeduplicationID]; ok && time.Since(at) < deduplication {
			return map[string]string{"MessageId": "seen", "MD5OfMessageBody": md5sum(e.MessageBody)}, nil
		}
		q.seen[m.DeduplicationID] = time.Now()
	}
	q.put(m)
	return map[string]string{"MessageId": m.ID, "MD5OfMessageBody": md5sum(m.Body)}, nil
}

// forbidden characters: "A message can include only XML, JSON, and unformatted
// text. The following Unicode characters are allowed: …" (SQS API Reference).
func forbidden(r rune) bool {
	return r != '\t' && r != '\n' && r != '\r' && (r < 0x20 || r > 0xd7ff && r < 0xe000 || r == 0xfffe || r == 0xffff)
}

// poll receives, and waits for a message if the call says so.
func (s *Server) poll(ctx context.Context, in *input) (any, *apiError) {
	if in.MaxNumberOfMessages < 0 || in.MaxNumberOfMessages > maxEntries {
		return nil, invalid("Value %d for parameter MaxNumberOfMessages is invalid. Reason: Must be between 1 and 10, if provided.", in.MaxNumberOfMessages)
	}
	if in.WaitTimeSeconds < 0 || in.WaitTimeSeconds > 20 {
		return nil, invalid("Value %d for parameter WaitTimeSeconds is invalid. Reason: Must be >= 0 and <= 20, if provided.", in.WaitTimeSeconds)
	}
	end := time.Now().Add(time.Duration(in.WaitTimeSeconds) * time.Second)
	for {
		s.mu.Lock()
		q, failure := s.find(path.Base(in.QueueUrl))
		if failure != nil {
			s.mu.Unlock()
			return nil, failure
		}
		messages := q.receive(in)
		s.mu.Unlock()
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

func (q *Queue) receive(in *input) (messages []map[string]any) {
	now := time.Now()
	visibility, _ := strconv.Atoi(q.attributes["VisibilityTimeout"])
	if in.VisibilityTimeout != nil {
		visibility = *in.VisibilityTimeout
	}
	q.redrive(now)
	locked := map[string]bool{}
	for _, m := range q.messages {
		if q.fifo() && m.VisibleAt.After(now) {
			locked[m.Group] = true
		}
	}
	for _, m := range q.messages {
		if len(messages) == max(1, in.MaxNumberOfMessages) {
			break
		}
		if m.VisibleAt.After(now) || q.fifo() && locked[m.Group] {
			continue
		}
		m.Receives++
		if m.firstReceived.IsZero() {
			m.firstReceived = now
		}
		m.VisibleAt = now.Add(time.Duration(visibility) * time.Second)
		m.handle = fmt.Sprintf("handle-%d-%d", m.sequence, m.Receives)
		out := map[string]any{"MessageId": m.ID, "ReceiptHandle": m.handle, "Body": m.Body, "MD5OfBody": md5sum(m.Body)}
		if len(m.Attributes) > 0 && slices.Contains(in.MessageAttributeNames, "All") {
			out["MessageAttributes"] = m.Attributes
		}
		if slices.Contains(in.MessageSystemAttributeNames, "All") || slices.Contains(in.AttributeNames, "All") {
			out["Attributes"] = m.system(q)
		}
		messages = append(messages, out)
	}
	return messages
}

// redrive moves what was received too often.
func (q *Queue) redrive(now time.Time) {
	var policy struct {
		DeadLetterTargetArn string
		MaxReceiveCount     json.Number
	}
	if json.Unmarshal([]byte(q.attributes["RedrivePolicy"]), &policy) != nil {
		return
	}
	limit, err := strconv.Atoi(policy.MaxReceiveCount.String())
	target := q.server.queues[policy.DeadLetterTargetArn[strings.LastIndexByte(policy.DeadLetterTargetArn, ':')+1:]]
	if err != nil || target == nil {
		return
	}
	var kept []*Message
	for _, m := range q.messages {
		if m.Receives < limit || m.VisibleAt.After(now) {
			kept = append(kept, m)
			continue
		}
		m.SourceARN, m.VisibleAt = q.ARN, time.Time{}
		target.messages = append(target.messages, m)
	}
	q.messages = kept
}

func (m *Message) system(q *Queue) map[string]string {
	out := map[string]string{
		"SenderId": "AIDATEST", "SentTimestamp": strconv.FormatInt(m.Sent.UnixMilli(), 10),
		"ApproximateReceiveCount": strconv.Itoa(m.Receives), "ApproximateFirstReceiveTimestamp": strconv.FormatInt(m.firstReceived.UnixMilli(), 10),
	}
	if m.Group != "" {
		out["MessageGroupId"] = m.Group
	}
	if q.fifo() {
		out["MessageDeduplicationId"], out["SequenceNumber"] = m.DeduplicationID, fmt.Sprintf("%020d", m.sequence)
	}
	if m.SourceARN != "" {
		out["DeadLetterQueueSourceArn"] = m.SourceARN
	}
	return out
}

// find looks for the message that a handle was given for; current says that
// it was not received again since.
func (q *Queue) find(handle string) (index int, current bool, failure *EntryFault) {
	var sequence, receive int
	if n, _ := fmt.Sscanf(handle, "handle-%d-%d", &sequence, &receive); n != 2 {
		return -1, false, &EntryFault{"ReceiptHandleIsInvalid", "The input receipt handle \"" + handle + "\" is not a valid receipt handle.", true}
	}
	for i, m := range q.messages {
		if m.sequence == sequence {
			return i, m.handle == handle, nil
		}
	}
	return -1, false, nil
}

func (q *Queue) remove(e entry) (map[string]string, *EntryFault) {
	i, current, failure := q.find(e.ReceiptHandle)
	if failure != nil {
		return nil, failure
	}
	if i < 0 || !current && !q.fifo() {
		return map[string]string{}, nil // SQS confirms the deletion of what is gone
	}
	if q.fifo() && (!current || !q.messages[i].VisibleAt.After(time.Now())) {
		return nil, &EntryFault{"InvalidParameterValue", "Value " + e.ReceiptHandle + " for parameter ReceiptHandle is invalid. Reason: The receipt handle has expired.", true}
	}
	q.messages = slices.Delete(q.messages, i, i+1)
	return map[string]string{}, nil
}

func (q *Queue) changeVisibility(e entry) (map[string]string, *EntryFault) {
	i, current, failure := q.find(e.ReceiptHandle)
	switch {
	case failure != nil:
		return nil, failure
	case i < 0 || !current || !q.messages[i].VisibleAt.After(time.Now()):
		return nil, &EntryFault{"InvalidParameterValue", "Value " + e.ReceiptHandle + " for parameter ReceiptHandle is invalid. Reason: Message does not exist or is not available for visibility timeout change.", true}
	case e.VisibilityTimeout < 0 || e.VisibilityTimeout > maxVisibility:
		return nil, &EntryFault{"InvalidParameterValue", "VisibilityTimeout is out of range", true}
	}
	q.messages[i].VisibleAt = time.Now().Add(time.Duration(e.VisibilityTimeout) * time.Second)
	return map[string]string{}, nil
}

// describe gives the attributes of these names.
func (q *Queue) describe(names []string) map[string]string {
	all := maps.Clone(q.attributes)
	visible, inFlight, delayed := 0, 0, 0
	for _, m := range q.messages {
		switch {
		case !m.VisibleAt.After(time.Now()):
			visible++
		case m.Receives == 0:
			delayed++
		default:
			inFlight++
		}
	}
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
