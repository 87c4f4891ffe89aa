package model

import (
	"slices"
	"strings"
	"unicode/utf8"

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/message"
)

// Meta is what a column holds that does not come from the body.
type Meta string

// The metadata of a message.
const (
	MetaSentAt         Meta = "sent_at"         // SentTimestamp
	MetaSentDate       Meta = "sent_date"       // its day in UTC
	MetaMessageID      Meta = "message_id"      // messageId as a UUID
	MetaMaskKey        Meta = "mask_key"        // id of the key that masked the row
	MetaReceivedAt     Meta = "received_at"     // when the message's batch was received
	MetaQueue          Meta = "queue"           // name of the queue
	MetaMessageGroup   Meta = "message_group"   // MessageGroupId
	MetaSequenceNumber Meta = "sequence_number" // SequenceNumber
	MetaReceiveCount   Meta = "receive_count"   // ApproximateReceiveCount
	MetaRowNumber      Meta = "row_number"      // of an element among the rows of its message, from 1
)

// metadata lists the metadata in the order of the documentation: everything that differs from one to
// the other, but how it is read.
var metadata = []metaRule{
	{name: MetaSentAt, columns: timestamps, source: "SentTimestamp"},
	{
		name: MetaSentDate, columns: []string{"date"}, source: "UTC day of SentTimestamp",
		noNewer: "holds the day of a message, which is the same for all messages of the day",
	},
	{
		name: MetaMessageID, columns: []string{"uuid"}, source: "messageId as a UUID",
		noNewer: "holds the id of the message, which is random",
	},
	{
		name: MetaMaskKey, columns: texts, length: 32, limit: "ids of keys have up to 32 characters", source: "id of the key that masks",
		noKey: "changes with the mask key, so a message would be stored again after a rotation",
	},
	{
		name: MetaReceivedAt, columns: timestamps, source: "time of the delivery that was stored",
		noKey:   "changes with each delivery, so a message would be stored again",
		noNewer: "changes with each delivery, so an old message that is delivered again would replace a newer row",
	},
	{
		name: MetaQueue, columns: texts, length: 80, limit: "names of queues have up to 80 characters", source: "name of the queue", nullable: true,
		noKey: "holds the name of the queue, which does not tell messages apart, and another name once a message comes from another queue",
	},
	{
		name: MetaMessageGroup, columns: texts, length: 128, limit: "groups have up to 128 characters", source: "MessageGroupId", nullable: true,
		noKey: "holds the message group, which several messages share, and NULL without one",
	},
	{
		name: MetaSequenceNumber, columns: []string{"numeric", "varchar", "text"}, length: 20, limit: "sequence numbers have 20 digits", source: "SequenceNumber of a FIFO queue", nullable: true,
		noKey: "holds the sequence number, which changes when a message is sent again, as from a dead-letter queue, and is NULL on a standard queue",
	},
	{
		name: MetaReceiveCount, columns: []string{"integer", "bigint"}, source: "ApproximateReceiveCount", nullable: true,
		noKey:   "changes with each delivery, so a message would be stored again",
		noNewer: "changes with each delivery, so an old message that is delivered again would replace a newer row",
	},
	{
		name: MetaRowNumber, columns: integers, source: "number of the element in its array, from 1",
		noNewer: "holds the number of a row within its message, which does not tell which message is newer",
	},
}

// timestamps are the types of a time; without a zone it is in UTC.
var timestamps = []string{"timestamptz", "timestamp"}

// metaRule is what a model may do with one of the metadata.
type metaRule struct {
	name    Meta
	columns []string // the types of columns that can hold it
	length  int      // how many characters or digits such a column must hold
	limit   string   // why
	source  string   // where it comes from, for people
	// nullable: not every message has it.
	nullable bool
	// noKey is why a key cannot have it, and noNewer why it does not say which row is newer; "" if it
	// can, or does.
	noKey, noNewer string
}

// find returns the row of metadata, one without columns if there is none.
func (m Meta) find() (found metaRule) {
	for _, known := range metadata {
		if known.name == m {
			found = known
		}
	}
	return found
}

// metas lists what meta can be.
func metas() (names []Meta) {
	for _, known := range metadata {
		names = append(names, known.name)
	}
	return names
}

// holds reports whether a column of the type can hold it, but for its length.
func (m *metaRule) holds(t SQLType) bool { return !t.List && slices.Contains(m.columns, t.Base) }

// tooNarrow returns the least type of the column's kind that can hold it, "" if the column's own can.
func (m *metaRule) tooNarrow(t SQLType) (use string) {
	switch {
	case t.Base == "varchar" && t.Length < m.length:
		use = SQLType{Base: "varchar", Length: m.length}.String()
	case t.Base == "numeric" && t.Length > 0 && t.Length-t.Scale < m.length:
		use = SQLType{Base: "numeric", Length: m.length}.String()
	}
	return use
}

const dayMillis = 24 * 60 * 60 * 1000

// meta appends the value of a column that does not come from the body, or returns the reason why the
// column cannot hold it.
func (r *Reader) meta(b *batch.Batch, c *Column, msg *message.Message) message.Reason {
	switch c.Meta {
	case MetaSentAt:
		b.Int8((msg.SentMillis - batch.EpochMillis) * 1000)
	case MetaSentDate:
		b.Int4(days(msg.SentMillis - batch.EpochMillis))
	case MetaMessageID:
		id := messageUUID(msg.ID)
		b.Bytes(id[:])
	case MetaMaskKey:
		b.String(r.keyID)
	case MetaReceivedAt:
		b.Int8(r.now.UnixMicro() - batch.EpochMillis*1000)
	case MetaQueue:
		return metaText(b, c, msg.QueueName())
	case MetaMessageGroup:
		return metaText(b, c, msg.Group)
	case MetaSequenceNumber:
		if c.NewerBy && msg.SequenceNumber == "" {
			return message.ReasonMissing
		}
		if c.Type.Base == "numeric" && c.Type.Length > 0 && len(msg.SequenceNumber) > c.Type.Length-c.Type.Scale {
			return message.ReasonOutOfRange
		}
		return metaText(b, c, msg.SequenceNumber)
	case MetaReceiveCount:
		switch {
		case msg.ReceiveCount == 0:
			b.Null()
		case c.Type.Base == "bigint":
			b.Int8(int64(msg.ReceiveCount))
		default:
			b.Int4(int32(msg.ReceiveCount)) //nolint:gosec // it was read as one
		}
	case MetaRowNumber:
		if c.Type.Base == "bigint" {
			b.Int8(int64(r.number))
		} else {
			b.Int4(int32(r.number)) //nolint:gosec // up to maxRows
		}
	}
	return ""
}

// metaText appends a text of SQS, NULL if the message has none. SQS's own texts always fit: these come
// from whoever makes or forwards the events.
func metaText(b *batch.Batch, c *Column, text string) message.Reason {
	switch n := c.Type.Length; {
	case text == "":
		b.Null()
	case strings.IndexByte(text, 0) >= 0:
		return message.ReasonNUL
	case c.Type.Base == "varchar" && len(text) > n && utf8.RuneCountInString(text) > n:
		return message.ReasonTooLong
	default:
		b.String(text)
	}
	return ""
}
