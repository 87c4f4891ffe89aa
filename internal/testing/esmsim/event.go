package esmsim

import (
	"bytes"
	"crypto/md5" //nolint:gosec // md5OfBody is what SQS sends
	"encoding/hex"
	"encoding/json"
	"strconv"
	"strings"
)

// appendRecord renders m as the next receive of it shows it.
//
// Lambda Developer Guide, Using Lambda with Amazon SQS: example standard queue message event,
// example FIFO queue message event.
func (q *Queue) appendRecord(b []byte, m *message) []byte {
	first := m.firstReceived
	if m.receives == 0 {
		first = q.sim.Elapsed()
	}
	if m.rendered == nil {
		m.rendered = renderFixed(m)
	}
	b = append(b, `{"messageId":"`...)
	b = append(b, m.id...)
	b = append(b, `","receiptHandle":"`...)
	b = appendHandle(b, m, m.handle+1)
	b = append(b, `","attributes":{"ApproximateReceiveCount":"`...)
	b = strconv.AppendInt(b, int64(m.receives+1), 10)
	b = append(b, `","SentTimestamp":"`...)
	b = strconv.AppendInt(b, q.sim.at(m.sent).UnixMilli(), 10)
	b = append(b, `","SenderId":"AIDAIENQZJOLO23YVJ4VO","ApproximateFirstReceiveTimestamp":"`...)
	b = strconv.AppendInt(b, q.sim.at(first).UnixMilli(), 10)
	b = append(b, '"')
	b = append(b, m.rendered...)
	b = append(b, `,"eventSource":"aws:sqs","eventSourceARN":"`...)
	b = append(b, q.ARN()...)
	return append(b, `","awsRegion":"`+Region+`"}`...)
}

// renderFixed is the rest of the attributes, and what follows them.
func renderFixed(m *message) []byte {
	var b bytes.Buffer
	system := func(name, value string) {
		if value != "" {
			b.WriteString(`,"` + name + `":` + quote(value))
		}
	}
	system("MessageGroupId", m.GroupID)
	system("MessageDeduplicationId", m.DeduplicationID)
	system("SequenceNumber", m.sequence)
	system("DeadLetterQueueSourceArn", m.sourceARN)
	type attribute struct {
		StringValue      *string  `json:"stringValue,omitempty"`
		BinaryValue      []byte   `json:"binaryValue,omitempty"` // base64
		StringListValues []string `json:"stringListValues"`
		BinaryListValues []string `json:"binaryListValues"`
		DataType         string   `json:"dataType"`
	}
	attributes := make(map[string]attribute, len(m.Attributes))
	for name, a := range m.Attributes {
		shown := attribute{StringListValues: []string{}, BinaryListValues: []string{}, DataType: a.DataType}
		if strings.HasPrefix(a.DataType, "Binary") {
			shown.BinaryValue = a.BinaryValue
		} else {
			shown.StringValue = &a.StringValue
		}
		attributes[name] = shown
	}
	sum := md5.Sum([]byte(m.Body)) //nolint:gosec // see above
	b.WriteString(`},"body":` + quote(m.Body) + `,"md5OfBody":"` + hex.EncodeToString(sum[:]) + `","messageAttributes":` + quote(attributes))
	return b.Bytes()
}

// quote is JSON without the escapes for HTML, which Lambda does not make.
func quote(v any) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(err) // no value here can fail
	}
	return string(bytes.TrimSuffix(b.Bytes(), []byte("\n")))
}
